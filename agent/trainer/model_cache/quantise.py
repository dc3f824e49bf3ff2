"""One file of weights quantised to NF4, tensor for tensor as `from_pretrained` would do it.

The files that come out have the names and the form that transformers 5.23 loads as a model that is
quantised already (2026-11). It knows no downloads and no folders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from bitsandbytes.nn import Linear4bit, Params4bit
from safetensors import safe_open
from transformers import BitsAndBytesConfig, PreTrainedConfig
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer

from agent.trainer.models.target_modules import skeleton
from agent.trainer.tensor_files import system_errors, write_tensors

BITS_PER_WEIGHT = 4 + 8 / 64 + 32 / (64 * 256)
"""NF4 with 8 bits for every 64 weights, and 32 for every 256 of those (QLoRA, 2023)."""


class NotCacheable(Exception):
    """No copy can be made of this model; it is loaded as it is."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Which tensors are quantised."""

    names: frozenset[str]
    parameters: int


@dataclass(frozen=True, slots=True)
class Written:
    """A file of quantised weights."""

    tensors: tuple[str, ...]
    is_exact_in_bf16: bool


def quantised_layers(config: PreTrainedConfig, quantization: BitsAndBytesConfig) -> Layers:
    """The weights that transformers itself would quantise, by asking its own quantiser.

    Raises:
        NotCacheable: layers that are stored in another way than they are used.
        InvalidBaseModel: it is no causal language model.
    """
    model = skeleton(config)
    quantizer = Bnb4BitHfQuantizer(quantization, pre_quantized=False)
    quantizer.preprocess_model(model, device_map=None)
    linear = {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if isinstance(module, Linear4bit)
    }
    if any(module.source_cls is not torch.nn.Linear for module in linear.values()):
        raise NotCacheable(f"{config.model_type}: its linear layers are stored transposed")
    parameters = sum(module.in_features * module.out_features for module in linear.values())
    return Layers(frozenset(linear), parameters)


def copy_bytes(layers: Layers, weights_bytes: int, bytes_per_parameter: float = 2) -> int:
    """About what the quantised copy of so many bytes of weights takes."""
    others = max(weights_bytes - layers.parameters * bytes_per_parameter, 0)
    return round(layers.parameters * BITS_PER_WEIGHT / 8 + others)


def quantise_file(
    source: Path,
    target: Path,
    layers: Layers,
    quantization: BitsAndBytesConfig,
    dtype: torch.dtype,
    told: Callable[[int], None],
) -> Written:
    """Write the tensors of `source` to `target`; `told` gets the bytes that are done.

    One tensor at a time is in the memory as it was; what comes out stays until it is written.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    written: dict[str, torch.Tensor] = {}
    is_exact = True
    with system_errors(source), safe_open(source, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  It is no mapping.
            tensor = file.get_tensor(name)
            if name in layers.names:
                is_exact = is_exact and tensor.dtype is torch.bfloat16
                written.update(_quantised(name, tensor.to(device, dtype), quantization))
            else:
                # A copy: the original is a window into the file.
                written[name] = tensor.clone()
            told(tensor.nbytes)
    write_tensors(written, target)
    return Written(tuple(written), is_exact)


def _quantised(
    name: str, tensor: torch.Tensor, quantization: BitsAndBytesConfig
) -> dict[str, torch.Tensor]:
    weight = Params4bit(
        tensor,
        requires_grad=False,
        compress_statistics=quantization.bnb_4bit_use_double_quant,
        quant_type=quantization.bnb_4bit_quant_type,
        quant_storage=quantization.bnb_4bit_quant_storage,
    ).to(tensor.device)
    state = weight.quant_state.as_dict(packed=True)
    parts = {name: weight.data, **{f"{name}.{key}": part for key, part in state.items()}}
    return {key: part.detach().cpu().contiguous() for key, part in parts.items()}
