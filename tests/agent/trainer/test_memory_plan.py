"""What is predicted of a model from its configuration alone, beside the model itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from agent.trainer.models.tiny_llama import ensure_tiny_llama
from shared.memory.activations import block_bytes_per_token
from shared.memory.plan import plan_memory
from shared.memory.workload import Workload
from shared.model_shape import BUILT_SHAPES, KNOWN_TYPES, ModelShape, read_shape, shape_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SMALL = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def small_config(model_type: str, **values: Any) -> PreTrainedConfig:
    """Of a model of this type that takes no time."""
    return AutoConfig.for_model(model_type, **{**SMALL, "num_hidden_layers": 2, **values})


def shape_of_config(config: PreTrainedConfig) -> ModelShape:
    """As from the config.json that it would write."""
    return shape_of(json.loads(config.to_json_string(use_diff=False)), "config.json")


VARIANTS: list[dict[str, Any]] = [
    {"model_type": "llama"},
    {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    {"model_type": "mistral"},
    {"model_type": "qwen2"},
    {"model_type": "qwen3", "head_dim": 16},
    {"model_type": "phi3"},
]
"""Every type that is known, and its biases and head sizes."""


def test_every_known_type_is_tried() -> None:
    assert {values["model_type"] for values in VARIANTS} == set(KNOWN_TYPES)


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize("values", VARIANTS)
def test_parameters_are_counted_as_the_model_has_them(
    values: dict[str, Any], is_tied: bool
) -> None:
    config = small_config(**values, tie_word_embeddings=is_tied)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)

    shape = shape_of_config(config)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert {linear.name: (linear.out_features, linear.in_features) for linear in shape.linears} == {
        name.rpartition(".")[2]: (module.out_features, module.in_features)
        for name, module in model.get_decoder().layers[0].named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def test_a_config_file_gives_the_shape_that_we_know_of_the_tiny_model(
    models_directory: Path,
) -> None:
    assert read_shape(ensure_tiny_llama(models_directory) / "config.json") == BUILT_SHAPES["tiny"]


MakeModel = Callable[..., PeftModel]


@pytest.fixture(scope="module")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """`make_model(config, dropout, bf16)`: in NF4, with an adapter of rank 16 in fp32."""

    def make(config: PreTrainedConfig, dropout: float = 0.05, bf16: bool = False) -> PeftModel:
        folder = tmp_path_factory.mktemp("model")
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        dtype = torch.bfloat16 if bf16 else torch.float32
        base: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder,
            quantization_config=BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=dtype,
            ),
            dtype=dtype,
            device_map={"": "cpu"},
            attn_implementation="sdpa",
        )
        targets = [linear.name for linear in shape_of_config(config).linears]
        model = get_peft_model(
            base,
            LoraConfig(r=16, lora_alpha=32, lora_dropout=dropout, target_modules=targets),
        )
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        return model.train()

    return make


def test_the_base_and_the_adapter_are_predicted_to_the_byte(make_model: MakeModel) -> None:
    config = small_config("qwen2", num_hidden_layers=3)
    model = make_model(config)
    plan = plan_memory(Workload(shape_of_config(config), 64, on_gpu=False))
    predicted = {line.name: line.size_bytes for line in plan.lines}

    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    assert predicted["base model in NF4"] == sum(map(quantized_bytes, layers))
    others = [p for p in model.parameters() if p.dtype == torch.float32]
    trained = sum(parameter.nbytes for parameter in others if parameter.requires_grad)
    frozen = sum(parameter.nbytes for parameter in others if not parameter.requires_grad)
    assert (predicted["adapter"], predicted["gradients"]) == (trained, trained)
    assert predicted["embeddings and head"] + predicted["norms and biases"] == frozen


def quantized_bytes(layer: Linear4bit) -> int:
    """The weight with its scales and their scales, without what all layers share."""
    state = layer.weight.quant_state
    tensors = (layer.weight, state.absmax, state.code, state.offset, state.state2.absmax)
    return sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize(
    ("values", "dropout"), [(VARIANTS[0], 0.0), *((values, 0.05) for values in VARIANTS)]
)
def test_what_a_block_keeps_of_a_token_on_a_cpu_is_predicted_to_the_byte(
    make_model: MakeModel, values: dict[str, Any], dropout: float
) -> None:
    values = {**values, "sliding_window": None} if values["model_type"] == "mistral" else values
    kept = kept_by_a_block(make_model, values, dropout, bf16=False)
    shape = shape_of_config(small_config(**values))
    assert kept == block_bytes_per_token(Workload(shape, 64, lora_dropout=dropout, on_gpu=False))


@pytest.mark.parametrize("values", VARIANTS)
def test_and_in_bf16_as_on_a_gpu_but_for_dropout_which_works_otherwise_there(
    make_model: MakeModel, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a device it answers for CUDA, and PEFT asks it whether inputs have to be cast.
    is_enabled = torch.is_autocast_enabled
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device="cpu": is_enabled(device))
    values = {**values, "sliding_window": None} if values["model_type"] == "mistral" else values
    kept = kept_by_a_block(make_model, values, 0.0, bf16=True)
    shape = shape_of_config(small_config(**values))
    assert kept == block_bytes_per_token(Workload(shape, 64, lora_dropout=0.0, on_gpu=True))


def kept_by_a_block(
    make_model: MakeModel, values: dict[str, Any], dropout: float, bf16: bool
) -> float:
    """Bytes a token that one more layer keeps for backward: what does not grow with the tokens, and
    what lies outside the layers, cancels out.
    """
    by_layers = []
    for layers in (2, 3):
        model = make_model(small_config(**values, num_hidden_layers=layers), dropout, bf16)
        few, many = (saved_bytes(model, tokens, bf16) for tokens in (64, 128))
        by_layers.append((many - few) / 64)
    [(fewer, more)] = pairwise(by_layers)
    return more - fewer


def saved_bytes(model: PeftModel, tokens: int, bf16: bool) -> int:
    """Of every storage, but parameters, that autograd holds after a forward pass."""
    held = {tensor.untyped_storage()._cdata for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, torch.Tensor] = {}

    def hold(tensor: torch.Tensor) -> torch.Tensor:
        if (key := tensor.untyped_storage()._cdata) not in held:
            kept[key] = tensor
        return tensor

    autocast = torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor), autocast:
        ids = torch.arange(tokens)[None] % 500
        output = model.get_base_model().base_model(input_ids=ids, use_cache=False)
    assert output.last_hidden_state.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
