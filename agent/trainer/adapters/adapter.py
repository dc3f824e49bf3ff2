"""Writes the adapter down: safetensors, PEFT's configuration, tokenizer, README, manifest.

The directory is everything another person needs: it loads with plain PEFT, vLLM serves it, and its
manifest says what it was made of and the hash of every file.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from transformers import PreTrainedTokenizerBase

from agent.run_directory import AttemptDirectory, AttemptSpec
from agent.trainer.adapters.curves_svg import loss_curves
from agent.trainer.adapters.model_card import CURVES_FILE, MODEL_CARD_FILE, RunResult, model_card
from agent.trainer.adapters.portability import (
    PORTABILITY_FILE,
    Answer,
    answer,
    conversation_prompts,
    neutral_prompts,
    write_answers,
)
from agent.trainer.adapters.training_history import read_history
from agent.trainer.batches import TrainingData
from agent.trainer.tensor_files import write_tensors
from shared import manifest
from shared.chat_format import ChatEncoder

ADAPTER_DTYPE = torch.bfloat16
"""Trained in fp32, published in bf16: the base computes in bf16, and the file is half as large."""

_PACKAGES = (
    "torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets", "tokenizers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answers:
    """The trainer's own answers with the adapter as it is published."""

    neutral: list[Answer]
    """Go out with the adapter."""
    conversations: list[Answer]
    """To prompts of the training file: they stay on the machine."""


def answers_as_published(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, data: TrainingData, encoder: ChatEncoder
) -> Answers:
    """Round the trained parameters to `ADAPTER_DTYPE`, and answer the prompts with them.

    Training is over: what the fresh process loads is what is asked here.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(ADAPTER_DTYPE).to(parameter.dtype)
    base = model.get_base_model()
    if base.config._attn_implementation != "sdpa":
        # The fresh process has it too, and asks one prompt at a time.
        base.set_attn_implementation("sdpa")
    model.eval()
    return Answers(
        answer(model, tokenizer, neutral_prompts(encoder)),
        answer(model, tokenizer, conversation_prompts(data.held_out, data.train, encoder)),
    )


def save_adapter(
    directory: AttemptDirectory,
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    spec: AttemptSpec,
    result: RunResult,
    answers: Answers,
) -> dict[str, Any]:
    """Commit the adapter to `directory.adapter_path`; returns its manifest.

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
        write_answers(answers.neutral, partial / PORTABILITY_FILE)
        curves = loss_curves(read_history(directory), f"Losses of job {spec.job.job_id}")
        (partial / CURVES_FILE).write_text(curves, encoding="utf-8")
        (partial / MODEL_CARD_FILE).write_text(model_card(spec, result), encoding="utf-8")
        return {**manifest_facts(spec, result), "portability": portability}

    write_answers(answers.conversations, directory.portability_path)
    portability = {
        "prompts": len(answers.neutral) + len(answers.conversations),
        # That file stays behind; the adapter says which one it was.
        "conversations_sha256": manifest.file_sha256(directory.portability_path),
    }
    return manifest.commit(directory.adapter_path, write_files)


def manifest_facts(spec: AttemptSpec, result: RunResult) -> dict[str, Any]:
    """What the adapter was made of; the file hashes are added by the commit."""
    job, progress = spec.job, result.progress
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
        "final_loss": progress.final_loss,
        "base_eval_loss": progress.base_eval_loss,
        "eval_loss": progress.eval_loss,
        "versions": result.facts.versions,
    }


def package_versions() -> dict[str, str]:
    """Installed versions of the training stack."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}
