"""Whether vLLM would serve the adapter, judged from its files alone; vLLM need not be installed.

What it requires is in its documentation of `vllm.lora.peft_helper`, `vllm.lora.utils`,
`vllm.lora.lora_model` and `vllm.config.lora` (docs.vllm.ai, 0.22.1; looked at 2026-11):

- of `adapter_config.json`: `r`, `lora_alpha` and `target_modules`, no bias, no `modules_to_save`,
  no DoRA, a rank within `--max-lora-rank`; it knows no rank or alpha of single modules
- of `adapter_model.safetensors`: names `base_model.model.<module>.lora_A.weight`, and the same
  with `lora_B`, each module a linear layer that the model has

We are stricter in two things: no embeddings and no head, since a vocabulary that grew fits no
other base model; and plain names as target modules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"

MAX_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes (`vllm.config.lora.MaxLoRARanks`, 0.14.0 to 0.22.1)."""

_TENSOR_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_VOCABULARY_MODULES = frozenset({"embed_tokens", "lm_head", "wte", "embed_out"})

# Each would be refused or, worse, ignored: then vLLM's answers are not those of PEFT.
_MUST_BE_OFF = (
    "modules_to_save", "use_dora", "rank_pattern", "alpha_pattern", "lora_bias",
    "fan_in_fan_out", "trainable_token_indices", "target_parameters", "layer_replication",
)  # fmt: skip


def vllm_complaints(directory: Path) -> list[str]:
    """Why vLLM would not serve the adapter in `directory` as it was trained; empty if it would."""
    try:
        config = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
        with safe_open(directory / WEIGHTS_FILE, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        return [f"cannot be read: {error}"]
    return [*_config_complaints(config), *_tensor_complaints(shapes, config)]


def max_lora_rank(rank: int) -> int:
    """The smallest `--max-lora-rank` that takes an adapter of this rank."""
    return next((most for most in MAX_LORA_RANKS if most >= rank), rank)


def _config_complaints(config: dict[str, Any]) -> Iterator[str]:
    for name in ("r", "lora_alpha", "target_modules"):
        if name not in config:
            yield f"{CONFIG_FILE}: {name} is missing"
    if config.get("bias", "none") != "none":
        yield f"{CONFIG_FILE}: bias is {config['bias']!r}, not 'none'"
    for name in _MUST_BE_OFF:
        if config.get(name):
            yield f"{CONFIG_FILE}: {name} is {config[name]!r}"
    targets = config.get("target_modules")
    if not isinstance(targets, list) or not all(str(name).isidentifier() for name in targets):
        yield f"{CONFIG_FILE}: target_modules is no list of plain names: {targets!r}"
    if config.get("r", 0) > MAX_LORA_RANKS[-1]:
        yield f"{CONFIG_FILE}: r is {config['r']}, vLLM takes up to {MAX_LORA_RANKS[-1]}"


def _tensor_complaints(shapes: dict[str, tuple[int, ...]], config: dict[str, Any]) -> Iterator[str]:
    targets, rank = config.get("target_modules") or [], config.get("r")
    sides: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        found = _TENSOR_NAME.fullmatch(name)
        if found is None:
            yield f"{WEIGHTS_FILE}: {name} is no LoRA weight of a linear layer"
            continue
        sides.setdefault(found["module"], {})[found["side"]] = shape
    if not sides:
        yield f"{WEIGHTS_FILE}: there is no LoRA weight in it"
    for module, found_sides in sides.items():
        last = module.rsplit(".", 1)[-1]
        if last in _VOCABULARY_MODULES or last not in targets:
            yield f"{WEIGHTS_FILE}: {module} is not one of the target modules"
        if set(found_sides) != {"A", "B"}:
            yield f"{WEIGHTS_FILE}: {module} lacks lora_A or lora_B"
        elif (found_sides["A"][0], found_sides["B"][-1]) != (rank, rank):
            yield f"{WEIGHTS_FILE}: {module} has another rank than r = {rank}"
