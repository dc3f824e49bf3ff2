"""What console and agent say to each other over HTTP and websocket, written once for both ends.

Bodies only, apart from I/O; events have their own codec in `shared.events`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import ProtocolError
from shared.job_spec import JobSpec
from shared.job_state import JobState

PROTOCOL_VERSION = 4
"""2 since an agent keeps the limits of a rented machine: one of 1 would ignore them in silence.
3 since its journal tells of GPUs: a console of 2 cannot read such a line.
4 since it sends webhooks and uploads artifacts: one of 3 would not, and say nothing."""

CLOSED_COMPLETELY = 1000
"""Close code of an event stream that has sent the last record of a job."""
CLOSED_NO_TOKEN = 4401
CLOSED_UNKNOWN_JOB = 4404


class MachineLimits(BaseModel):
    """What the agent of a rented machine enforces with nobody watching.

    Spans, not moments: the machine's clock may be wrong. They count from when the agent reads them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rental: int = Field(ge=1)
    """Number of this machine among those of the job; the highest alone may write."""
    usd_per_hour: float = Field(ge=0, allow_inf_nan=False)
    spent_usd: float = Field(ge=0, allow_inf_nan=False)
    """By the whole job so far: earlier machines, and this one since it was rented."""
    budget_usd: float = Field(gt=0, allow_inf_nan=False)
    reserve_usd: float = Field(ge=0, allow_inf_nan=False)
    """Of the budget, kept back for bringing results home once the training has stopped."""
    deadline_s: float = Field(gt=0, allow_inf_nan=False)
    """Left of the job's longest duration."""
    results_survive: bool
    """True if the agent's root outlives the machine."""
    idle_end_s: float = Field(gt=0, allow_inf_nan=False)
    """So long after the job's end, with nobody asking, the machine ends itself."""


class StartRequest(BaseModel):
    """Body of `POST /training/start`. An agent that does not know a field refuses the request:
    limits that it ignored would cost money."""

    model_config = ConfigDict(extra="forbid")

    job: JobSpec
    first_attempt: int = Field(default=1, ge=1)
    """Above 1 where earlier attempts are on a machine that is lost with its disk."""
    limits: MachineLimits | None = None
    """None on a machine that nobody pays for by the hour. Sent again, newer ones replace older."""


class CancelRequest(BaseModel):
    """Body of `POST /training/jobs/{id}/cancel`."""

    reason: str = ""


class Answer(BaseModel):
    """A newer agent may say more; what we do not know is left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Health(Answer):
    """Who answers, and what it is doing."""

    version: str
    protocol: int
    agent_id: str
    """Stable for the root, whichever process serves it."""
    pid: int
    started_at: datetime
    running: tuple[str, ...]
    """Jobs that are not final."""
    root: str


class StartAnswer(Answer):
    """`created` is False when the same job had been started before."""

    job_id: str
    created: bool


class JobAnswer(Answer):
    """A job as the agent's own fold has it."""

    job: JobSpec
    state: JobState


class JobsAnswer(Answer):
    """All jobs under the agent's root."""

    jobs: tuple[JobAnswer, ...]


class LogSlice(Answer):
    """Part of a trainer's log, in bytes; `next_offset` is where to go on."""

    attempt: int
    offset: int
    next_offset: int
    size: int
    text: str


class ArtifactFile(Answer):
    """One file of an adapter; `path` begins with the adapter directory's name."""

    path: str
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ArtifactList(Answer):
    """The files of the committed adapter, its manifest included."""

    attempt: int
    files: tuple[ArtifactFile, ...] = Field(min_length=1)


class GpuFacts(Answer):
    """One GPU; None stands for what the driver does not tell."""

    index: int
    name: str
    memory_total_mib: int | None = None
    memory_used_mib: int | None = None
    utilisation_percent: int | None = None
    driver: str | None = None
    cuda: str | None = None
    """The newest CUDA that the driver can run, such as 12.8; not the one torch was built for."""


class MachineFacts(Answer):
    """What the machine has, and what of it is free; 0 and None stand for what is not told."""

    gpus: tuple[GpuFacts, ...] = ()
    gpu_trouble: str = ""
    """Why the GPUs could not be asked; "" also on a machine that simply has none."""
    disk_free_bytes: int = 0
    """For the agent's user, where the agent's root lies."""
    disk_total_bytes: int = 0
    cpus: int = 0
    """Those that this process may run on."""
    memory_total_bytes: int = 0
    """Of the container, where it has a limit below the machine's."""
    memory_available_bytes: int = 0
    load_1min: float | None = Field(default=None, allow_inf_nan=False)


class SelfEndAnswer(Answer):
    """Whether a rented machine can end itself, as far as that shows without doing so."""

    can_end: bool
    how: Literal["terminate", "stop", ""]
    """What is proved; "" where nothing is."""
    detail: str


class ErrorAnswer(Answer):
    """Body of every status of 400 and above."""

    detail: str


AnswerT = TypeVar("AnswerT", bound=Answer)


def decode_answer(kind: type[AnswerT], content: bytes) -> AnswerT:
    """Raises ProtocolError for anything that is not such an answer."""
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise ProtocolError(
            f"the agent's answer is not a {kind.__name__}: {place}: {first['msg']}. "
            "Console and agent may be of different versions."
        ) from error
