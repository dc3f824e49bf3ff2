"""Writes the adapter down: safetensors, PEFT's configuration, tokenizer, README, manifest.

The directory is everything another person needs: it loads with plain PEFT, and its manifest says
what it was made of and the hash of every file.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from transformers import PreTrainedTokenizerBase

from agent.run_directory import AttemptSpec
from agent.trainer.checkpoints import Progress
from agent.trainer.tensor_files import write_tensors
from shared import events, manifest

ADAPTER_DTYPE = torch.bfloat16
"""Trained in fp32, published in bf16: the base computes in bf16, and the file is half as large."""

_PACKAGES = (
    "torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets", "tokenizers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunResult:
    """What the trainer knows at the end of a run."""

    facts: events.RunFacts
    progress: Progress
    chat_format: str
    chat_template_sha256: str


def save_adapter(
    directory: Path,
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    spec: AttemptSpec,
    result: RunResult,
) -> dict[str, Any]:
    """Commit the adapter to `directory`; returns its manifest.

    Raises:
        OSError: the disk is full or gone; nothing half written stays.
    """

    def write_files(partial: Path) -> dict[str, Any]:
        tensors = {
            name: tensor.detach().to("cpu", ADAPTER_DTYPE).contiguous()
            for name, tensor in get_peft_model_state_dict(model).items()
        }
        write_tensors(tensors, partial / "adapter_model.safetensors")
        config = model.peft_config["default"]
        config.inference_mode = True
        # A set inside PEFT: sorted, so that the same run gives the same file.
        config.target_modules = sorted(config.target_modules)
        # The public name, never a path of this machine: whoever loads it brings the base model.
        config.base_model_name_or_path = spec.job.base_model
        config.revision = spec.job.base_model_revision
        config.save_pretrained(str(partial))
        tokenizer.save_pretrained(partial)
        (partial / "README.md").write_text(model_card(spec, result), encoding="utf-8")
        return manifest_facts(spec, result)

    return manifest.commit(directory, write_files)


def manifest_facts(spec: AttemptSpec, result: RunResult) -> dict[str, Any]:
    """What the adapter was made of; the file hashes are added by the commit."""
    job = spec.job
    return {
        "job_id": job.job_id,
        "attempt": spec.attempt,
        "dataset": job.dataset.model_dump(),
        "base_model": job.base_model,
        "base_model_revision": job.base_model_revision,
        "chat_format": result.chat_format,
        "chat_template_sha256": result.chat_template_sha256,
        "hyperparameters": job.hyperparameters.model_dump(mode="json"),
        "seed": job.hyperparameters.seed,
        "quantization": result.facts.quantization,
        "optim": result.facts.optim,
        "device": result.facts.device,
        "total_steps": result.facts.total_steps,
        **asdict(result.progress),
        "versions": result.facts.versions,
    }


def model_card(spec: AttemptSpec, result: RunResult) -> str:
    """README.md of the adapter: the facts of the run, and how to load it."""
    job, facts = spec.job, result.facts
    rows = {
        "base model": f"{job.base_model} ({job.base_model_revision or 'no revision given'})",
        "dataset": f"{job.dataset.file_name}, sha256 {job.dataset.sha256}",
        "conversations": f"{facts.conversations} trained, {facts.held_out_conversations} held out",
        "targets": f"{facts.targets} assistant turns",
        "tokens an epoch": f"{facts.tokens_per_epoch}, {facts.supervised_tokens_per_epoch} trained",
        "optimizer steps": str(facts.total_steps),
        "device": facts.device,
        "quantisation": facts.quantization,
        "final training loss": _number(result.progress.final_loss),
        "held-out loss, base": _number(result.progress.base_eval_loss),
        "held-out loss, adapter": _number(result.progress.eval_loss),
    }
    hyperparameters = job.hyperparameters.model_dump(mode="json")
    return "\n".join(
        [
            "---",
            "library_name: peft",
            "tags: [lora, qlora, brightrun]",
            "---",
            f"# LoRA adapter of job {job.job_id}",
            "",
            "| fact | value |",
            "|---|---|",
            *(f"| {name} | {_cell(value)} |" for name, value in rows.items()),
            "",
            "| hyperparameter | value |",
            "|---|---|",
            *(f"| {name} | {_cell(value)} |" for name, value in hyperparameters.items()),
            "",
            "Held-out loss is the mean over supervised tokens of conversations that were not",
            "trained, in nats. `manifest.json` holds the versions and the hash of every file.",
            "",
            "```python",
            "from peft import PeftModel",
            "model = PeftModel.from_pretrained(base_model, ADAPTER_DIRECTORY)",
            "```",
            "",
        ]
    )


def package_versions() -> dict[str, str]:
    """Installed versions of the training stack."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def text_sha256(text: str) -> str:
    """Hex SHA-256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
