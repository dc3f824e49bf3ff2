"""What a copy holds beside its weights: configuration, index and manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoConfig, BitsAndBytesConfig, PreTrainedConfig

from agent.trainer.model_cache.quantise import NotCacheable
from agent.trainer.model_cache.sources import CONFIG_FILE, first_line
from shared.errors import InvalidBaseModel
from shared.manifest import MANIFEST_NAME, file_sha256, write_atomic
from shared.model_cache import INDEX_FILE, CacheFacts

Files = dict[str, dict[str, Any]]
"""The manifest's: name -> `size_bytes` and `sha256`."""


def read_config(directory: Path, base_model: str) -> PreTrainedConfig:
    """The source's configuration.

    Raises:
        NotCacheable: the weights are quantised already.
        InvalidBaseModel: it cannot be read.
    """
    try:
        raw = json.loads((directory / CONFIG_FILE).read_bytes())
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidBaseModel(
            f"{base_model}: the configuration cannot be read ({first_line(error)})"
        ) from error
    if "quantization_config" in raw:
        raise NotCacheable(f"{base_model}: its weights are quantised already")
    return config


def write_config(directory: Path, quantization: BitsAndBytesConfig) -> None:
    """Say in the source's configuration how the weights are quantised."""
    path = directory / CONFIG_FILE
    config = json.loads(path.read_bytes())
    config["quantization_config"] = quantization.to_dict()
    write_atomic(path, json.dumps(config, indent=2, sort_keys=True))


def write_index(directory: Path, facts: CacheFacts) -> None:
    """Which tensor lies in which file."""
    shards = sorted(facts.shards.items())
    where = {tensor: name for name, shard in shards for tensor in shard.tensors}
    total = sum(shard.size_bytes for _, shard in shards)
    index = {"metadata": {"total_size": total}, "weight_map": where}
    write_atomic(directory / INDEX_FILE, json.dumps(index, indent=2))


def write_manifest(directory: Path, facts: CacheFacts, files: Files) -> None:
    """From here on the directory counts."""
    manifest = {**facts.model_dump(mode="json"), "files": files}
    write_atomic(directory / MANIFEST_NAME, json.dumps(manifest, indent=2, sort_keys=True))


def described(path: Path) -> dict[str, Any]:
    """A file's entry in the manifest."""
    return {"size_bytes": path.stat().st_size, "sha256": file_sha256(path)}


def of_shards(facts: CacheFacts) -> Files:
    """The entries of the weights, whose hashes are known."""
    return {
        name: {"size_bytes": shard.size_bytes, "sha256": shard.sha256}
        for name, shard in facts.shards.items()
    }
