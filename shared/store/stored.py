"""What the store hands out: frozen values, free of SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from shared.agent_protocol import MachineFacts
from shared.events import JournalRecord
from shared.job_spec import JobSpec
from shared.job_state import JobState
from shared.lifecycle import JobStatus
from shared.store.cursor import Cursor


@dataclass(frozen=True, slots=True)
class StoredJob:
    """One job as the console knows it."""

    spec: JobSpec
    state: JobState
    host: str
    retry_of: str | None
    error_message: str | None
    """Why the job failed, or was never accepted; None while all is well."""
    created_at: datetime
    updated_at: datetime
    queue_place: float | None = None
    """Smaller is earlier; None stands for the moment of creation, in seconds since 1970."""
    waits_for_turn: bool = False
    """On a host of the user's own, which has not heard of the job yet."""
    sweep_id: str | None = None
    created_by: str | None = None
    """UUID of the user of the web application for whom it runs; None for this console's own."""
    training_file_id: str | None = None
    """UUID of the web application's training file that it was started with; None for a file of
    this machine."""

    @property
    def job_id(self) -> str:
        return self.spec.job_id

    @property
    def place(self) -> float:
        """By which jobs that wait are ordered."""
        return self.created_at.timestamp() if self.queue_place is None else self.queue_place

    @property
    def status(self) -> JobStatus:
        return self.state.status

    @property
    def cursor(self) -> Cursor:
        return Cursor(*self.state.cursor)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "job_id": self.job_id,
            "name": self.spec.name,
            "status": self.status.value,
            "activity": self.state.activity,
            "error_message": self.error_message,
            "host": self.host,
            "retry_of": self.retry_of,
            "sweep_id": self.sweep_id,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
            "job": self.spec.model_dump(mode="json"),
            "state": self.state.model_dump(mode="json"),
        }


@dataclass(frozen=True, slots=True)
class Applied:
    """A batch of records, and the job once they are in the store."""

    job: StoredJob
    records: tuple[JournalRecord, ...]


@dataclass(frozen=True, slots=True)
class MetricsPoint:
    """What was measured at one step; None where nothing was, or the number was not finite."""

    attempt: int
    step: int
    time: datetime
    epoch: float
    loss: float | None
    grad_norm: float | None
    learning_rate: float | None
    tokens: int | None
    """None on a point that holds only an evaluation."""
    supervised_tokens: int | None
    step_s: float | None
    memory_bytes: int | None
    eval_loss: float | None
    eval_supervised_tokens: int | None
    """None on a point without an evaluation."""


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """An adapter that was proved to load and to generate."""

    training_job_id: str
    attempt: int
    path: str
    """On the host, as the agent reported it."""
    manifest_sha256: str
    size_bytes: int
    base_model: str
    base_model_revision: str | None
    lora_config: dict[str, Any]
    eval_loss: float | None
    perplexity: float | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class MergedSource:
    """A file that went into a merged training set."""

    sha256: str
    name: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A training file as it was when it was last checked, named by its content.

    Fields with a default are unknown where an earlier version wrote them down.
    """

    sha256: str
    name: str
    path: str
    size_bytes: int
    conversations: int
    turns: int
    trained_targets: int
    tokens: int | None
    errors: int
    warnings: int
    checked_at: datetime
    shape: str = ""
    targets: int | None = None
    longest_tokens: int | None = None
    base_model: str = ""
    """Whose tokens were counted."""
    tokens_are_estimated: bool = False
    finding_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    """Severity -> code -> how many."""
    merged_from: tuple[MergedSource, ...] = ()
    """Empty for a file that is no merged set."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "checked_at": self.checked_at.isoformat()}


@dataclass(frozen=True, slots=True)
class FileUse:
    """A job that was given a training file."""

    job_id: str
    name: str
    status: JobStatus


@dataclass(frozen=True, slots=True)
class StoredHost:
    """A machine as it was when it was last reached; None where it never was."""

    name: str
    agent_version: str | None = None
    agent_id: str | None = None
    agent_started_at: datetime | None = None
    root: str | None = None
    facts: MachineFacts | None = None
    """None also where the agent is too old to tell."""
    last_contact_at: datetime | None = None
    last_error: str | None = None
    last_error_at: datetime | None = None
    unreachable_since: datetime | None = None
    """When it was first not reached after the last contact; None while it is."""


def latest_by_step(points: Iterable[MetricsPoint]) -> list[MetricsPoint]:
    """One point for each step, in order: what the latest attempt measured there.

    `points` come ordered by (step, attempt). The step's metrics and its evaluation are taken apart:
    an attempt that only evaluated step 40 does not hide the loss that an earlier one had there.
    """
    latest: dict[int, MetricsPoint] = {}
    for point in points:
        earlier = latest.get(point.step)
        latest[point.step] = point if earlier is None else _laid_over(earlier, point)
    return list(latest.values())


def _laid_over(earlier: MetricsPoint, later: MetricsPoint) -> MetricsPoint:
    measured = later if later.tokens is not None else earlier
    evaluated = later if later.eval_supervised_tokens is not None else earlier
    return MetricsPoint(
        attempt=later.attempt,
        step=later.step,
        time=later.time,
        epoch=later.epoch,
        loss=measured.loss,
        grad_norm=measured.grad_norm,
        learning_rate=measured.learning_rate,
        tokens=measured.tokens,
        supervised_tokens=measured.supervised_tokens,
        step_s=measured.step_s,
        memory_bytes=measured.memory_bytes,
        eval_loss=evaluated.eval_loss,
        eval_supervised_tokens=evaluated.eval_supervised_tokens,
    )
