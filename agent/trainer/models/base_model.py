"""Finds a base model by its public name and loads it in NF4, with its tokenizer.

`tiny` is built on the spot, `smollm2` converted from an installed package; anything else is a
directory or a model id of the hub. Code from a model's repository is never run, and weights are
read from safetensors only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from agent.trainer.models.smollm2 import ensure_smollm2
from agent.trainer.models.tiny_llama import ensure_tiny_llama
from shared.chat_format import RenderTemplate
from shared.chat_formats.known import TODAY
from shared.dataset.conversation import Message
from shared.errors import InvalidBaseModel, UnsupportedChatTemplate

QUANTIZATION = "nf4 with double quantisation"


def compute_dtype() -> torch.dtype:
    """bf16 on a GPU, as QLoRA has it; fp32 on a CPU.

    A CPU without bf16 instructions is ten times slower in bf16: one micro-batch of 912 tokens of
    the tiny model took 8.0 s against 0.8 s (EPYC with AVX2, one thread, torch 2.13.0, 2026-11).
    """
    return torch.bfloat16 if torch.cuda.is_available() else torch.float32


def nf4() -> BitsAndBytesConfig:
    """QLoRA's quantisation (Dettmers et al., 2023): NormalFloat4 with double quantisation."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype(),
    )


@dataclass(frozen=True, slots=True)
class BaseModelLocation:
    """Where to load from: a local directory, or a model id with its revision."""

    name_or_path: str
    revision: str | None
    copy: Path | None = None
    """The same model quantised already, with its tokenizer: see `agent.trainer.model_cache`."""

    @property
    def loaded_from(self) -> dict[str, Any]:
        """What `from_pretrained` is called with."""
        if self.copy is not None:
            return {"pretrained_model_name_or_path": str(self.copy)}
        return {"pretrained_model_name_or_path": self.name_or_path, "revision": self.revision}


def locate(base_model: str, revision: str | None, models_directory: Path) -> BaseModelLocation:
    """Build or convert the named model if it is one of ours, else take the name as it stands."""
    if base_model == "tiny":
        return BaseModelLocation(str(ensure_tiny_llama(models_directory)), None)
    if base_model == "smollm2":
        return BaseModelLocation(str(ensure_smollm2(models_directory)), None)
    return BaseModelLocation(base_model, revision)


def load_tokenizer(location: BaseModelLocation) -> PreTrainedTokenizerBase:
    """The base model's own tokenizer.

    Raises:
        InvalidBaseModel: there is none, or it has no chat template or fast tokenizer.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(**location.loaded_from, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InvalidBaseModel(_load_complaint(location, "tokenizer", error)) from error
    if not tokenizer.is_fast or not tokenizer.chat_template:
        raise InvalidBaseModel(
            f"{location.name_or_path}: its tokenizer has no chat template; "
            "choose an instruct model with a tokenizer.json"
        )
    return tokenizer


def load_config(location: BaseModelLocation) -> PreTrainedConfig:
    """The base model's `config.json`.

    Raises:
        InvalidBaseModel: it is not there, or transformers does not know the architecture.
    """
    try:
        config = AutoConfig.from_pretrained(**location.loaded_from, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidBaseModel(_load_complaint(location, "configuration", error)) from error
    if location.copy is not None:
        del config.quantization_config
        config.name_or_path = location.name_or_path
    return config


def load_quantized(location: BaseModelLocation, attention: str = "sdpa") -> PreTrainedModel:
    """The base model, linear layers in NF4, on this process's GPU or the CPU.

    Raises:
        InvalidBaseModel: it is not there, or is not a causal language model in safetensors.
        ImportError: the attention's kernels cannot be loaded.
        torch.OutOfMemoryError: it does not fit.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(
            **location.loaded_from,
            **_quantisation(location),
            dtype=compute_dtype(),
            device_map={"": torch.cuda.current_device() if torch.cuda.is_available() else "cpu"},
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError) as error:
        raise InvalidBaseModel(_load_complaint(location, "model", error)) from error
    except torch.OutOfMemoryError as error:
        raise torch.OutOfMemoryError(
            f"{location.name_or_path}: one GPU has to hold all of the model, and this one cannot. "
            "More GPUs are more replicas: the model is not spread over them. "
            f"Take a GPU with more memory, or a smaller base model. ({error})"
        ) from error
    if location.copy is not None:
        _as_if_quantised_here(model, location.name_or_path)
    model.config.use_cache = False
    return model


def _quantisation(location: BaseModelLocation) -> dict[str, Any]:
    """Quantised while it is loaded; a copy says the same of itself, with its machine's dtype."""
    if location.copy is None:
        return {"quantization_config": nf4()}
    config = load_config(location)
    config.quantization_config = nf4().to_dict()
    return {"config": config}


def _as_if_quantised_here(model: PreTrainedModel, name: str) -> None:
    """A copy remembers the dtype of the machine that made it, and goes by its own path.

    Transformers leaves the other weights of a quantised model as its files have them.
    """
    dtype = compute_dtype()
    other_dtypes = model._get_dtype_plan(dtype)
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.weight.quant_state.dtype = dtype
    for path, parameter in model.named_parameters():
        if parameter.is_floating_point():
            kept = [kind for part, kind in other_dtypes.items() if re.search(part, path)]
            parameter.data = parameter.data.to(kept[0] if kept else dtype)
    model.config.name_or_path = name
    model.name_or_path = name


def load_plain(location: BaseModelLocation) -> PreTrainedModel:
    """The base model in bf16, not quantised, in main memory.

    Raises:
        InvalidBaseModel: it is not there, is not a causal language model in safetensors, or its
            files hold quantised weights.
    """
    if getattr(load_config(location), "quantization_config", None) is not None:
        raise InvalidBaseModel(
            f"{location.name_or_path}: its weights are quantised; name the base model in bf16"
        )
    try:
        return AutoModelForCausalLM.from_pretrained(
            location.name_or_path,
            revision=location.revision,
            dtype=torch.bfloat16,
            attn_implementation="sdpa",
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError) as error:
        raise InvalidBaseModel(_load_complaint(location, "model", error)) from error


class TemplateRenderer:
    """The tokenizer's own `apply_chat_template`, to compare with.

    Nothing in it may change from day to day or depend on a default of a newer template: the date is
    fixed, and Qwen 3 is asked to answer without thinking.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.source = str(tokenizer.get_chat_template())
        self._dated = _CLOCK.sub(_fixed_date, self.source)

    def __call__(self, messages: Sequence[Message], *, is_prompt: bool = False) -> list[int]:
        chat: list[dict[str, Any]] = [
            {"role": message.role, "content": message.content} for message in messages
        ]
        try:
            encoding: Any = self._tokenizer.apply_chat_template(
                chat,
                chat_template=self._dated,
                tokenize=True,
                return_dict=True,
                add_generation_prompt=is_prompt,
                date_string=TODAY,
                enable_thinking=False,
            )
        except TemplateError as error:
            raise UnsupportedChatTemplate(
                f"the base model's chat template refuses the conversation: {error}"
            ) from error
        return list(encoding["input_ids"])


def template_renderer(tokenizer: PreTrainedTokenizerBase) -> RenderTemplate:
    """The tokenizer's own template."""
    return TemplateRenderer(tokenizer)


_CLOCK = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")
"""A template's look at the clock. No function of ours can take its place: transformers hands plain
data to templates, and nothing else."""


def _fixed_date(call: re.Match[str]) -> str:
    return json.dumps(datetime.strptime(TODAY, "%d %b %Y").strftime(call[2]))


def backend(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """The `tokenizers` object inside a fast tokenizer."""
    return tokenizer.backend_tokenizer


def _load_complaint(location: BaseModelLocation, what: str, error: Exception) -> str:
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    at = f" at revision {location.revision}" if location.revision else ""
    return f"{location.name_or_path}{at}: the {what} cannot be loaded: {first_line}"
