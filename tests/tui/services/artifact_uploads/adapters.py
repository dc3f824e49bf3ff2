"""A small adapter on disk, committed by a manifest as the trainer does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared import manifest

WEIGHTS = bytes(range(256)) * 800
FACTS: dict[str, Any] = {
    "base_model": "meta-llama/Llama-3.3-70B",
    "base_model_revision": "0123abcd",
    "chat_format": "llama3",
    "dataset": {"file_name": "train.json", "sha256": "d" * 64, "size_bytes": 10},
    "hyperparameters": {"lora_r": 16, "lora_alpha": 32},
    "base_eval_loss": 3.0,
    "eval_loss": 1.5,
}


def make_adapter(directory: Path, weights: bytes = WEIGHTS, **facts: Any) -> str:
    """Commit it there; returns the sha256 of its manifest."""

    def write(partial: Path) -> dict[str, Any]:
        (partial / "adapter_model.safetensors").write_bytes(weights)
        (partial / "adapter_config.json").write_text('{"r": 16}')
        (partial / "tokenizer.json").write_text("{}")
        (partial / "README.md").write_text("# The model card\n")
        return {**FACTS, **facts}

    directory.parent.mkdir(parents=True, exist_ok=True)
    manifest.commit(directory, write)
    return manifest.manifest_sha256(directory)
