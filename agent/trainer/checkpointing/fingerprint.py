"""What must be equal in the run that wrote a checkpoint and in the run that goes on from it.

Two kinds: the fingerprint, without which the result would be another run's, is refused where it
differs; the conditions, such as the device, change only how sums are rounded, and are told.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from agent.run_directory import AttemptSpec
from agent.trainer.batches import Example, TrainingData
from agent.trainer.checkpointing.checkpoints import FORMAT_VERSION
from agent.trainer.models.base_model import BaseModelLocation
from shared.errors import CheckpointRejected

Fingerprint = dict[str, Any]

_SAMPLE_BYTES = 1 << 20
"""Of each weight file; the first of them hold its names and shapes. 141 GB take an hour to hash."""

_SHOWN_HASH_LENGTH = 12


def fingerprint_of(
    spec: AttemptSpec,
    data: TrainingData,
    location: BaseModelLocation,
    *,
    tokenizer_json: str,
    chat_template: str,
    optim: str,
    versions: dict[str, str],
) -> Fingerprint:
    """Everything that decides what the steps of this run compute."""
    job = spec.job
    return {
        "checkpoint_format": FORMAT_VERSION,
        "dataset_sha256": job.dataset.sha256,
        "base_model": job.base_model,
        "base_model_revision": job.base_model_revision,
        "base_model_files_sha256": model_files_sha256(Path(location.name_or_path)),
        "tokenizer_sha256": _text_sha256(tokenizer_json),
        "chat_template_sha256": _text_sha256(chat_template),
        "hyperparameters": job.hyperparameters.model_dump(mode="json"),
        "cut_targets": job.cut_targets,
        "over_long": job.over_long,
        "optim": optim,
        "held_out_sha256": _sha256(_encoded(data.held_out)),
        "steps_sha256": _sha256([*_encoded(data.train), repr(data.steps).encode()]),
        "versions": versions,
    }


def model_files_sha256(directory: Path) -> str | None:
    """Names, sizes and beginnings of a local model's files; None for a model id of the hub."""
    if not directory.is_dir():
        return None
    paths = [directory / "config.json", *sorted(directory.glob("*.safetensors"))]
    return _sha256(part for path in paths if path.is_file() for part in _sample(path))


def differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    """A line for each value that differs: `versions.torch: 2.12.0 there, 2.13.0 here`."""
    lines = []
    for name in sorted({*there, *here}):
        theirs, ours = there.get(name), here.get(name)
        if isinstance(theirs, dict) and isinstance(ours, dict):
            lines += differences(theirs, ours, f"{prefix}{name}.")
        elif theirs != ours:
            lines.append(f"{prefix}{name}: {_shown(theirs)} there, {_shown(ours)} here")
    return lines


def require_same_run(directory: Path, there: object, here: Fingerprint, *, force: bool) -> str:
    """Nothing if the run is the same; with `force` what differs, as a warning.

    Raises:
        CheckpointRejected: it is another run, and nobody said to go on all the same.
    """
    lines = differences(there if isinstance(there, dict) else {}, here)
    if not lines:
        return ""
    diff = "\n".join(f"  {line}" for line in lines)
    if force:
        return f"{directory} belongs to another run, and is resumed as asked:\n{diff}"
    raise CheckpointRejected(
        f"{directory} belongs to another run:\n{diff}\n"
        "Start a new job, or go on all the same with `brightrun resume JOB --force` "
        "(force_resume = true in a job file)."
    )


def _encoded(examples: list[Example]) -> Iterator[bytes]:
    for example in examples:
        yield example.conversation_id.encode()
        yield array("q", example.input_ids).tobytes()
        yield array("q", example.labels).tobytes()


def _sample(path: Path) -> Iterator[bytes]:
    yield f"{path.name} {path.stat().st_size}".encode()
    with path.open("rb") as file:
        yield file.read(_SAMPLE_BYTES)


def _sha256(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        # With its length, so that no two lists of parts are the same bytes.
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _text_sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _shown(value: object) -> str:
    if value is None:
        return "none"
    text = str(value)
    is_hash = len(text) == 64 and all(letter in "0123456789abcdef" for letter in text)
    return f"{text[:_SHOWN_HASH_LENGTH]}..." if is_hash else text
