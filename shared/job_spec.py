"""What the user asked for: the job spec, and the job file in which it is written down.

A spec is complete and frozen before anything starts. The dataset is named by its content hash, so
a file that changes afterwards cannot be trained by mistake.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import InvalidDataset, InvalidJobSpec
from shared.hyperparameters import Hyperparameters, Preset

JOB_ID_PATTERN = r"^[a-z0-9][a-z0-9-]{2,62}$"


class DatasetReference(BaseModel):
    """The training file, frozen by its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file_name: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=0)]

    @classmethod
    def of(cls, path: Path) -> Self:
        """Hash the file at `path`.

        Raises:
            InvalidDataset: the file cannot be read.
        """
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(file_name=path.name, sha256=digest, size_bytes=path.stat().st_size)
        except OSError as error:
            raise InvalidDataset(f"{path}: cannot be read ({error.strerror}).") from error

    @property
    def stored_name(self) -> str:
        """Name under which a host keeps the bytes: content hash and the original suffix."""
        return self.sha256 + Path(self.file_name).suffix.lower()


class CheckpointReference(BaseModel):
    """A committed checkpoint of another job, frozen by the hash of its manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_id: Annotated[str, Field(pattern=JOB_ID_PATTERN)]
    step: Annotated[int, Field(ge=1)]
    manifest_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class JobSpec(BaseModel):
    """One job, complete. The same spec on the same bytes gives the same adapter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_id: Annotated[str, Field(pattern=JOB_ID_PATTERN)]
    name: Annotated[str, Field(min_length=3, max_length=100)]
    notes: str = ""
    tags: tuple[str, ...] = ()
    dataset: DatasetReference
    base_model: str = "tiny"
    """`tiny` (built on the spot), `smollm2`, a directory, or a model id of the hub."""
    base_model_revision: str | None = None
    preset: Preset = Preset.BALANCED
    hyperparameters: Hyperparameters = Hyperparameters()
    cut_targets: Literal["exclude", "train"] = "exclude"
    """Targets that end in mid-sentence: keep them as context only, or train them all the same."""
    over_long: Literal["refuse", "exclude"] = "refuse"
    """Conversations longer than max_seq_length: refuse the job, or leave them out."""
    checkpoint_interval_steps: Annotated[int, Field(ge=1)] | None = None
    """None: as often as the measured cost of saving stays under 2 % of the training time."""
    optim: Literal["auto", "adamw_torch", "adamw_8bit", "paged_adamw_8bit"] = "auto"
    """`auto` is paged 8-bit AdamW on CUDA and torch's AdamW elsewhere."""
    attention: Literal["auto", "sdpa", "sdpa_rows", "flash_attention_2", "flash_attention_3"] = (
        "auto"
    )
    """`auto` is the fastest that this machine has; the run's facts say which it was."""
    pack_tokens: Annotated[int, Field(ge=256, le=131_072)] = 8192
    """Most tokens of a micro-batch of several rows; they are packed only where the attention can
    tell rows apart without a mask. A longer row is a micro-batch of its own."""
    model_cache: Literal["auto", "on", "off"] = "auto"
    """Whether a quantised copy of the base model is kept beside the job and loaded the next time.
    `auto`: of models of the hub whose weights are 1 GB and more."""
    num_gpus: Annotated[int, Field(ge=1, le=64)] = 1
    """Replicas, one process each; on a CPU as many processes."""
    max_non_finite_steps: Annotated[int, Field(ge=1, le=100)] = 3
    """So many steps in a row with a NaN or infinite loss or gradient end the run; none of them is
    applied."""
    early_stopping_patience: Annotated[int, Field(ge=1, le=100)] | None = None
    """Evaluations without a better held-out loss after which the run ends; None: never."""
    checkpoints_kept: Annotated[int, Field(ge=1, le=100)] = 3
    disk_floor_bytes: Annotated[int, Field(ge=0)] = 2 * 2**30
    """Free space below which older checkpoints go, and then no new one is written."""
    resume_from: CheckpointReference | None = None
    """A checkpoint on the same host to begin with; None: from the base model."""
    force_resume: bool = False
    """Resume even where dataset, template, base model or versions differ from the checkpoint's."""
    max_restarts: Annotated[int, Field(ge=0, le=20)] = 3
    dry_run: bool = False
    """Everything up to and with the first optimizer step, on ten examples; no adapter."""

    def optimizer(self, *, on_cuda: bool) -> str:
        """Upstream's name of the optimizer on such a machine: `auto` is settled."""
        if self.optim != "auto":
            return self.optim
        return "paged_adamw_8bit" if on_cuda else "adamw_torch"

    def same_work_as(self, other: JobSpec) -> bool:
        """True if both describe the same job, so that starting twice changes nothing."""
        return self == other


def new_job_id(now: datetime | None = None) -> str:
    """A fresh id that sorts by time: `20261122-1531-9f3a2c`."""
    moment = now or datetime.now(UTC)
    return f"{moment:%Y%m%d-%H%M}-{secrets.token_hex(3)}"


def load_job_file(path: Path) -> tuple[JobSpec, Path]:
    """Read a `JOB.toml`; returns the spec and the dataset's path (relative to the job file).

    Keys are those of `JobSpec`, with `dataset` a path and `hyperparameters` a table laid over the
    preset; `job_id` and `name` default to a fresh id and the file's name.

    Raises:
        InvalidJobSpec: not TOML, or a key that is missing, unknown or out of range.
        InvalidHyperparameter: a hyperparameter out of its range.
        InvalidDataset: the dataset cannot be read.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidJobSpec(f"{path}: cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and others are ValueErrors
        raise InvalidJobSpec(f"{path}: is not valid TOML: {error}.") from error
    if not isinstance(values.get("dataset"), str):
        raise InvalidJobSpec(f'{path}: needs a line `dataset = "FILE"` with the training file.')
    dataset_path = path.parent / values.pop("dataset")
    spec = build_job_spec(
        dataset=DatasetReference.of(dataset_path),
        values={"name": path.stem.ljust(3, "-"), **values},
        where=str(path),
    )
    return spec, dataset_path


def build_job_spec(dataset: DatasetReference, values: dict[str, Any], where: str) -> JobSpec:
    """A complete spec from loose values.

    Raises:
        InvalidJobSpec: a value that is missing, unknown or wrong; the message names `where`.
        InvalidHyperparameter: a hyperparameter out of its range.
    """
    loose = dict(values)
    preset_name = loose.get("preset", Preset.BALANCED)
    if preset_name not in list(Preset):
        raise InvalidJobSpec(
            f"{where}: preset = {preset_name!r} is unknown: choose {', '.join(Preset)}."
        )
    preset = Preset(preset_name)
    overrides = loose.pop("hyperparameters", {})
    if not isinstance(overrides, dict):
        raise InvalidJobSpec(f"{where}: hyperparameters = {overrides!r} must be a table.")
    hyperparameters = Hyperparameters.from_values(overrides, preset)
    loose.setdefault("job_id", new_job_id())
    try:
        return JobSpec(**{**loose, "dataset": dataset, "hyperparameters": hyperparameters})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InvalidJobSpec(f"{where}: {key} = {first.get('input')!r}: {first['msg']}.") from error


def is_job_id(text: str) -> bool:
    """True for text that can stand in a path as a job's id."""
    return re.fullmatch(JOB_ID_PATTERN, text) is not None
