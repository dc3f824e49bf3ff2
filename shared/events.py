"""Everything that can happen to a job, as one typed union with a codec.

The trainer appends `TrainerRecord` lines to its file; the agent copies each into the attempt's
journal as a `JournalRecord`, in which the line number is the sequence number and `trainer_offset`
says how far into the trainer's file it had read. Decoding is apart from I/O.

Non-finite numbers travel as null, and their names stand in `non_finite`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.errors import ProtocolError
from shared.lifecycle import Activity, JobStatus, StopReason


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


# --- written by the agent ---------------------------------------------------------------------


class AttemptStarted(_Event):
    """First line of every journal. A new `journal_id` means that the journal was wiped."""

    kind: Literal["attempt_started"] = "attempt_started"
    journal_id: str
    agent_version: str
    detail: str = ""
    rental: int = 0
    """Number of the rented machine among the job's; 0 on a machine that is not rented."""


class TrainerStarted(_Event):
    """The shim has started the trainer; both outlive the agent."""

    kind: Literal["trainer_started"] = "trainer_started"
    shim_pid: int
    trainer_pid: int


class TrainerAdopted(_Event):
    """A new agent found the trainer of an earlier agent alive and follows it."""

    kind: Literal["trainer_adopted"] = "trainer_adopted"
    trainer_pid: int


class CancelRequested(_Event):
    """Somebody asked for the job to stop."""

    kind: Literal["cancel_requested"] = "cancel_requested"
    reason: str = ""


class AttemptEnded(_Event):
    """Last line of a journal. With `will_retry` the next attempt follows at once."""

    kind: Literal["attempt_ended"] = "attempt_ended"
    stop_reason: StopReason
    detail: str = ""
    exit_code: int | None = None
    signal: int | None = None
    will_retry: bool = False


class GpuReading(BaseModel):
    """One GPU at one moment; None stands for what its driver does not tell."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    index: int
    utilisation_percent: int | None = None
    """Share of the last moments, a second at most, in which it computed anything at all."""
    memory_used_mib: int | None = None
    memory_total_mib: int | None = None
    temperature_c: int | None = None
    power_w: int | None = None
    power_limit_w: int | None = None
    held_back_by: tuple[str, ...] = ()
    """Why its clocks are lower than they could be, such as `power cap` and `heat`."""


class GpuSample(_Event):
    """All GPUs of the machine while a trainer runs; about once a minute, oftener as they change."""

    kind: Literal["gpu_sample"] = "gpu_sample"
    gpus: tuple[GpuReading, ...]


# --- written by the trainer -------------------------------------------------------------------


class StageEntered(_Event):
    """The trainer moves on. `status` is the job's; `activity` the finer word for it."""

    kind: Literal["stage"] = "stage"
    status: JobStatus
    activity: Activity
    detail: str = ""


class ModelProgress(_Event):
    """How far the base model is on its way to the memory; said every few seconds while it moves."""

    kind: Literal["model_progress"] = "model_progress"
    what: Literal["downloading", "quantising", "verifying", "loading"]
    done_bytes: int
    total_bytes: int
    """Of the whole model; 0 where it is not known."""
    bytes_per_s: float | None = None
    """Over the last minute; None before it can be told."""
    eta_s: float | None = None
    file: str = ""
    """What is at work now."""


class RunFacts(_Event):
    """What will be trained, on what; counted by the trainer itself before the first step."""

    kind: Literal["run_facts"] = "run_facts"
    conversations: int
    held_out_conversations: int
    targets: int
    tokens_per_epoch: int
    supervised_tokens_per_epoch: int
    total_steps: int
    trainable_parameters: int
    base_model: str
    base_model_revision: str | None = None
    device: str
    optim: str
    quantization: str
    versions: dict[str, str] = {}
    attention: str = ""
    """The implementation, and why: `sdpa (no flash attention on a CPU)`."""
    target_modules: str = ""
    """The linear layers that carry the adapter, and why these."""
    quantized_copy: str = ""
    """The commit of the quantised copy that was loaded, which then lies where the job's machine
    keeps its base models; empty where the model was quantised while it was loaded."""
    separate_rows: int = 0
    """Rows beyond one a conversation, where histories branch and cannot be folded."""
    processes: int = 1
    micro_batch_tokens: int = 0
    """Tokens of the longest micro-batch."""


class Metrics(_Event):
    """One optimizer step, as it happened. `loss` is the mean over supervised tokens, in nats."""

    kind: Literal["metrics"] = "metrics"
    step: int
    epoch: float
    loss: float | None
    grad_norm: float | None
    learning_rate: float | None
    tokens: int
    supervised_tokens: int
    step_s: float
    memory_bytes: int | None = None
    """Peak memory of the device where there is one, else resident memory of the process."""
    non_finite: tuple[str, ...] = ()


class Evaluation(_Event):
    """Held-out loss: mean over the supervised tokens of the held-out conversations, in nats."""

    kind: Literal["evaluation"] = "evaluation"
    step: int
    epoch: float
    loss: float | None
    supervised_tokens: int
    non_finite: tuple[str, ...] = ()

    @property
    def perplexity(self) -> float | None:
        """exp(loss); None where the loss is not finite."""
        return perplexity_of(self.loss)


class CheckpointCommitted(_Event):
    """A checkpoint whose manifest is on the disk, synced.

    `seconds` is what it took to write, in a thread beside the training; `stall_s` is what the
    training itself lost to it.
    """

    kind: Literal["checkpoint_committed"] = "checkpoint_committed"
    step: int
    path: str
    manifest_sha256: str
    size_bytes: int
    seconds: float
    stall_s: float = 0.0


class CheckpointRefused(_Event):
    """A checkpoint that did not verify; it was moved aside and an older one is used."""

    kind: Literal["checkpoint_refused"] = "checkpoint_refused"
    path: str
    reason: str


class Resumed(_Event):
    """Training goes on after `step`, from the checkpoint at `path`."""

    kind: Literal["resumed"] = "resumed"
    step: int
    path: str


class AdapterSaved(_Event):
    """The adapter is committed by its manifest; not yet proved to load."""

    kind: Literal["adapter_saved"] = "adapter_saved"
    path: str
    manifest_sha256: str
    size_bytes: int


class AdapterVerified(_Event):
    """A fresh process loaded the adapter from its files with PEFT and generated with it."""

    kind: Literal["adapter_verified"] = "adapter_verified"
    manifest_sha256: str
    prompt: str
    generated: str
    generated_tokens: int
    prompts: int = 1
    """Prompts that were decoded greedily."""
    logit_difference: float | None = None
    """Largest absolute difference from the trainer's own logits; None where it was not compared."""


class LogLine(_Event):
    """A sentence for the event log."""

    kind: Literal["log"] = "log"
    level: Literal["info", "warning", "error"] = "info"
    message: str


class TrainerFinished(_Event):
    """The trainer's own last word, just before it exits."""

    kind: Literal["trainer_finished"] = "trainer_finished"
    stop_reason: StopReason
    detail: str = ""


Event = Annotated[
    AttemptStarted
    | TrainerStarted
    | TrainerAdopted
    | CancelRequested
    | AttemptEnded
    | GpuSample
    | StageEntered
    | ModelProgress
    | RunFacts
    | Metrics
    | Evaluation
    | CheckpointCommitted
    | CheckpointRefused
    | Resumed
    | AdapterSaved
    | AdapterVerified
    | LogLine
    | TrainerFinished,
    Field(discriminator="kind"),
]


MEASUREMENTS = (Metrics, GpuSample, ModelProgress)
"""Kinds that come all the time; a list of what happened leaves them out."""


class TrainerRecord(BaseModel):
    """One line of the trainer's file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    time: AwareDatetime
    event: Event


class JournalRecord(BaseModel):
    """One line of an attempt's journal; `seq` is its line number, from 1."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    job_id: str
    attempt: int
    seq: int
    time: AwareDatetime
    trainer_offset: int
    """Bytes of the trainer's file that this and all earlier lines account for."""
    event: Event


_TRAINER_RECORD: TypeAdapter[TrainerRecord] = TypeAdapter(TrainerRecord)
_JOURNAL_RECORD: TypeAdapter[JournalRecord] = TypeAdapter(JournalRecord)
_JOURNAL_RECORDS: TypeAdapter[list[JournalRecord]] = TypeAdapter(list[JournalRecord])


def encode(record: TrainerRecord | JournalRecord) -> str:
    """One line of JSON, without its line break."""
    return record.model_dump_json()


def decode_trainer_record(line: str | bytes) -> TrainerRecord:
    """Raises ProtocolError for anything that is not a trainer's line."""
    try:
        return _TRAINER_RECORD.validate_json(line)
    except ValidationError as error:
        raise ProtocolError(f"not a trainer record: {_first_complaint(error)}") from error


def decode_journal_record(line: str | bytes) -> JournalRecord:
    """Raises ProtocolError for anything that is not a journal line."""
    try:
        return _JOURNAL_RECORD.validate_json(line)
    except ValidationError as error:
        raise ProtocolError(f"not a journal record: {_first_complaint(error)}") from error


def decode_journal_records(lines: bytes) -> list[JournalRecord]:
    """Many journal lines at once, which takes half the time of one after the other.

    Raises ProtocolError for anything that is not a journal line.
    """
    try:
        return _JOURNAL_RECORDS.validate_json(b"[" + lines.replace(b"\n", b",") + b"]")
    except ValidationError:  # One by one it turns out which line it is.
        return [decode_journal_record(line) for line in lines.splitlines()]


def finite(**numbers: float | None) -> dict[str, Any]:
    """Keyword arguments for an event: non-finite values as None, their names in `non_finite`."""
    broken = tuple(
        name for name, value in numbers.items() if value is not None and not math.isfinite(value)
    )
    kept = {name: None if name in broken else value for name, value in numbers.items()}
    return {**kept, "non_finite": broken}


def perplexity_of(loss: float | None) -> float | None:
    """exp(loss) of a loss in nats, bounded where a float would overflow; None stays None."""
    return None if loss is None else math.exp(min(loss, 700.0))


def utc_now() -> datetime:
    """The wall clock, aware."""
    return datetime.now(UTC)


def _first_complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']} (got {str(first.get('input'))[:80]!r})"
