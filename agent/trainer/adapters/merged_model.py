"""Merges an adapter into its base model in bf16: plain safetensors that need no PEFT.

The merged weights are rounded to bf16, so the result is not quite base plus adapter. By how much
its logits differ on the adapter's own prompts is measured, and stands in card and manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from transformers import PreTrainedTokenizerBase

from agent.trainer.adapters.adapter import package_versions
from agent.trainer.adapters.model_card import MODEL_CARD_FILE, code, front_matter, section
from agent.trainer.adapters.portability import (
    PORTABILITY_FILE,
    Answer,
    answer,
    distances,
    neutral_prompts,
    next_token_logits,
    read_answers,
)
from agent.trainer.adapters.vllm_layout import WEIGHTS_FILE
from agent.trainer.models.base_model import (
    BaseModelLocation,
    backend,
    load_config,
    load_plain,
    load_tokenizer,
    template_renderer,
)
from agent.trainer.models.target_modules import skeleton
from agent.trainer.tensor_files import system_errors
from shared import manifest
from shared.chat_format import choose_chat_format
from shared.errors import AdapterRejected, InvalidBaseModel

Say = Callable[[str], None]

_BYTES_OF_BF16 = 2
_SHARD_SIZE = "5GB"
MEMORY_BESIDE_BYTES = 2 * 10**9
"""Interpreter and libraries (0.7 GB), logits of the prompts, one float32 product of A and B."""


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """How near the merged model is to what it was made of, on the adapter's prompts."""

    prompts: int
    positions: int
    logit_difference: float
    """Largest absolute difference from base plus adapter, both in bf16."""
    same_tokens: int
    """Positions at which both choose the same token."""
    trainer_logit_difference: float | None
    """The same from the trainer's logits, whose base model was in NF4; None where not recorded."""


def merged_size_bytes(location: BaseModelLocation) -> int:
    """Bytes of the merged weights, counted from the configuration alone.

    Raises:
        InvalidBaseModel: there is no configuration, or not of a causal language model.
    """
    config = load_config(location)
    try:
        model = skeleton(config)
    except InvalidBaseModel as error:
        raise InvalidBaseModel(f"{location.name_or_path}: {error}") from error
    # Tied weights count once, here and in the files.
    return _BYTES_OF_BF16 * sum(parameter.numel() for parameter in model.parameters())


def merge(
    adapter: Path, location: BaseModelLocation, directory: Path, facts: dict[str, Any], say: Say
) -> dict[str, Any]:
    """Commit the merged model to `directory`; returns its manifest, which holds `facts` too.

    Raises:
        InvalidBaseModel: the base model cannot be loaded, or the adapter does not fit it.
        AdapterRejected: the merged model's logits are not finite.
        OSError: the disk is full or gone; nothing half written stays.
    """
    tokenizer = load_tokenizer(BaseModelLocation(str(adapter), None))
    say(f"loading {location.name_or_path} in bf16")
    model = load_adapted(location, adapter)
    known = _answers(model, tokenizer, adapter)
    say("asking the prompts before and after the merge")
    expected = [next_token_logits(model, item.prompt.input_ids, item.new_ids) for item in known]
    merged = model.merge_and_unload(safe_merge=False)
    found = [next_token_logits(merged, item.prompt.input_ids, item.new_ids) for item in known]
    is_recorded = (adapter / PORTABILITY_FILE).is_file()
    measured = _measure(known, expected, found, is_recorded=is_recorded)
    say(f"writing {directory}")
    every_fact = {**facts, "dtype": "bfloat16", **asdict(measured), "versions": package_versions()}

    def write_files(partial: Path) -> dict[str, Any]:
        with system_errors(partial):
            merged.save_pretrained(partial, max_shard_size=_SHARD_SIZE)
        tokenizer.save_pretrained(partial)
        (partial / MODEL_CARD_FILE).write_text(_card(every_fact), encoding="utf-8")
        return every_fact

    return manifest.commit(directory, write_files)


def load_adapted(location: BaseModelLocation, adapter: Path) -> PeftModel:
    """Base model and adapter, both as published.

    Raises:
        InvalidBaseModel: the adapter belongs to a model of another shape.
    """
    base = load_plain(location)
    try:
        model = PeftModel.from_pretrained(base, str(adapter))
    except (RuntimeError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InvalidBaseModel(
            f"{location.name_or_path}: the adapter does not fit this base model: {first_line}"
        ) from error
    with safe_open(adapter / WEIGHTS_FILE, framework="pt") as file:
        # PEFT only warns of layers for which the file has nothing.
        if set(file.keys()) != set(get_peft_model_state_dict(model)):
            raise InvalidBaseModel(
                f"{location.name_or_path}: has other layers than the adapter's base model"
            )
    model.eval()
    return model


def _answers(model: PeftModel, tokenizer: PreTrainedTokenizerBase, adapter: Path) -> list[Answer]:
    """The trainer's, where they came along; else this model's own to the same prompts."""
    path = adapter / PORTABILITY_FILE
    if path.is_file():
        return read_answers(path)
    encoder = choose_chat_format(backend(tokenizer), template_renderer(tokenizer))
    return answer(model, tokenizer, neutral_prompts(encoder))


def _measure(
    known: list[Answer],
    expected: list[torch.Tensor],
    found: list[torch.Tensor],
    *,
    is_recorded: bool,
) -> Faithfulness:
    if not all(torch.isfinite(logits).all() for logits in found):
        raise AdapterRejected("the merged model's logits are not finite")
    pairs = list(zip(expected, found, strict=True))
    from_trainer = [
        distances(item, logits).max().item() for item, logits in zip(known, found, strict=True)
    ]
    return Faithfulness(
        prompts=len(known),
        positions=sum(len(logits) for logits in found),
        logit_difference=max((before - after).abs().max().item() for before, after in pairs),
        same_tokens=sum(
            int((before.argmax(-1) == after.argmax(-1)).sum()) for before, after in pairs
        ),
        trainer_logit_difference=max(from_trainer) if is_recorded else None,
    )


def _card(facts: dict[str, Any]) -> str:
    """README.md of the merged model; the adapter's own README says how it was trained."""
    from_trainer = facts["trainer_logit_difference"]
    return "\n".join(
        [
            *front_matter(str(facts["base_model"]), "transformers", relation="merge"),
            f"# {code(facts['base_model'])} with a LoRA adapter merged into it",
            "",
            "Plain bf16 weights: they load with transformers or vLLM, without PEFT.",
            "",
            *section(
                "Made of",
                {
                    "base model": facts["base_model"],
                    "revision": facts["base_model_revision"] or "none given",
                    "adapter of job": facts["job_id"],
                    "sha256 of the adapter's manifest": facts["adapter_manifest_sha256"],
                },
            ),
            *section(
                "Faithfulness",
                {
                    "prompts, new tokens": f"{facts['prompts']}, {facts['positions']}",
                    "largest difference of a logit from base plus adapter in bf16": (
                        f"{facts['logit_difference']:.4g}"
                    ),
                    "tokens chosen alike": f"{facts['same_tokens']} of {facts['positions']}",
                    "largest difference of a logit from the trainer, on the base in NF4": (
                        "not recorded" if from_trainer is None else f"{from_trainer:.4g}"
                    ),
                },
            ),
            "`manifest.json` was written last and has size and sha256 of every file.",
            "",
            *section("Versions", facts["versions"]),
        ]
    )
