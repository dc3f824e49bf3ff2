"""Lifecycle as data: statuses, activities, and why an attempt stops.

One table says for every stop reason which status it leads to, whether a new attempt may follow,
and what to tell the user. There is no other place that decides this.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class JobStatus(StrEnum):
    """What the job is, for the public contract. It only ever moves forward."""

    QUEUED = "queued"
    PREPROCESSING = "preprocessing"
    MODEL_LOADED = "model_loaded"
    TRAINING = "training"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """A final status never changes again."""
        return self in FINAL_STATUSES

    @property
    def rank(self) -> int:
        """Order of progress; all final statuses share the highest rank."""
        return _RANKS[self]


FINAL_STATUSES = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})

_RANKS = {
    JobStatus.QUEUED: 0,
    JobStatus.PREPROCESSING: 1,
    JobStatus.MODEL_LOADED: 2,
    JobStatus.TRAINING: 3,
    JobStatus.COMPLETED: 4,
    JobStatus.FAILED: 4,
    JobStatus.CANCELLED: 4,
}


class Activity(StrEnum):
    """What is happening right now, in finer grain than the status."""

    WAITING_FOR_TURN = "waiting for its turn"
    PROVISIONING = "provisioning"
    WAITING_FOR_MACHINE = "waiting for a machine"
    WAITING_FOR_ANSWER = "waiting for an answer"
    CONNECTING = "connecting"
    CHECKING_MACHINE = "checking the machine"
    INSTALLING = "installing"
    STARTING_TRAINER = "starting trainer"
    CHECKING_DATASET = "checking dataset"
    PREPARING_MODEL = "preparing model"
    DOWNLOADING_MODEL = "downloading model"
    LOADING_MODEL = "loading model"
    RESUMING = "resuming"
    TRAINING = "training"
    EVALUATING = "evaluating"
    SAVING_ADAPTER = "saving adapter"
    VERIFYING_ADAPTER = "verifying adapter"
    UPLOADING = "uploading"
    SECURING_RESULTS = "bringing results to safety"
    ENDING_MACHINE = "ending the machine"
    RECOVERING = "recovering"
    UNREACHABLE = "unreachable"
    CANCELLING = "cancelling"


BETWEEN_MACHINES = frozenset(
    {
        Activity.WAITING_FOR_TURN,
        Activity.PROVISIONING,
        Activity.WAITING_FOR_MACHINE,
        Activity.WAITING_FOR_ANSWER,
        Activity.CONNECTING,
        Activity.CHECKING_MACHINE,
        Activity.INSTALLING,
        Activity.SECURING_RESULTS,
        Activity.ENDING_MACHINE,
    }
)
"""Nothing trains meanwhile, so no speed of before says when the job will end."""


FETCHING_MODEL = frozenset(
    {Activity.PREPARING_MODEL, Activity.DOWNLOADING_MODEL, Activity.LOADING_MODEL}
)
"""The base model is on its way to the memory."""


class StopReason(StrEnum):
    """Why an attempt ended. Every reason has a row in `STOP_REASONS`."""

    COMPLETED = "completed"
    DRY_RUN_PASSED = "dry_run_passed"
    REPLICAS_FINISHED = "replicas_finished"
    CANCELLED = "cancelled"
    INVALID_DATASET = "invalid_dataset"
    DATASET_CHANGED = "dataset_changed"
    INVALID_BASE_MODEL = "invalid_base_model"
    INVALID_JOB_SPEC = "invalid_job_spec"
    OUT_OF_MEMORY = "out_of_memory"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    NON_FINITE = "non_finite"
    DISK_FULL = "disk_full"
    DOWNLOAD_FAILED = "download_failed"
    CHECKPOINT_MISMATCH = "checkpoint_mismatch"
    ADAPTER_REJECTED = "adapter_rejected"
    TRAINER_CRASHED = "trainer_crashed"
    TRAINER_KILLED = "trainer_killed"
    TRAINER_LOST = "trainer_lost"
    TRAINER_HUNG = "trainer_hung"
    HARDWARE_FAULT = "hardware_fault"
    RESTARTS_EXHAUSTED = "restarts_exhausted"
    DEADLINE_REACHED = "deadline_reached"
    BUDGET_EXHAUSTED = "budget_exhausted"
    MACHINE_LOST = "machine_lost"
    NO_MACHINE = "no_machine"
    PROVIDER_REFUSED = "provider_refused"
    RESULTS_LOST = "results_lost"


@dataclass(frozen=True, slots=True)
class StopRow:
    """What a stop reason means for the job."""

    status: JobStatus
    retry: bool
    """True for an interruption: a new attempt may resume from the last committed checkpoint."""
    advice: str
    idle_retries: int | None = None
    """How often in a row it is tried again where that brings no step that no attempt before had
    taken; None is as often as `max_restarts` says. What always fails at the same place is no
    interruption."""


STOP_REASONS: dict[StopReason, StopRow] = {
    StopReason.COMPLETED: StopRow(
        JobStatus.COMPLETED, False, "Fetch the adapter with `brightrun fetch`."
    ),
    StopReason.DRY_RUN_PASSED: StopRow(
        JobStatus.COMPLETED, False, "The dry run passed; start the job without --dry-run."
    ),
    StopReason.REPLICAS_FINISHED: StopRow(
        JobStatus.COMPLETED, False, "The adapter is on the machine of node rank 0."
    ),
    StopReason.CANCELLED: StopRow(
        JobStatus.CANCELLED,
        False,
        "The last committed checkpoint is kept; `brightrun resume` goes on from it.",
    ),
    StopReason.INVALID_DATASET: StopRow(
        JobStatus.FAILED, False, "Run `brightrun dataset check` on the file and mend what it says."
    ),
    StopReason.DATASET_CHANGED: StopRow(
        JobStatus.FAILED, False, "The file is not the one that was checked; start a new job."
    ),
    StopReason.INVALID_BASE_MODEL: StopRow(
        JobStatus.FAILED, False, "Check the base model's name, revision and files."
    ),
    StopReason.INVALID_JOB_SPEC: StopRow(
        JobStatus.FAILED, False, "Change the option that the message names, and start again."
    ),
    StopReason.OUT_OF_MEMORY: StopRow(
        JobStatus.FAILED, False, "Lower max_seq_length or lora_r, or take a larger GPU."
    ),
    StopReason.HOST_OUT_OF_MEMORY: StopRow(
        JobStatus.FAILED, False, "The machine ran out of memory; take one with more RAM."
    ),
    StopReason.NON_FINITE: StopRow(
        JobStatus.FAILED,
        False,
        "Lower learning_rate, or look at the base model if already the first step failed.",
    ),
    StopReason.DISK_FULL: StopRow(
        JobStatus.FAILED,
        False,
        "Free disk space or keep fewer checkpoints; `brightrun resume` goes on from the last one.",
    ),
    StopReason.DOWNLOAD_FAILED: StopRow(
        JobStatus.FAILED,
        True,
        "The base model did not come; `brightrun retry` goes on where the download ended.",
        idle_retries=2,
    ),
    StopReason.CHECKPOINT_MISMATCH: StopRow(
        JobStatus.FAILED,
        False,
        "`brightrun retry` begins anew; `brightrun resume --force` uses the checkpoint as it is.",
    ),
    StopReason.ADAPTER_REJECTED: StopRow(
        JobStatus.FAILED, False, "The saved adapter did not load again; see the trainer's log."
    ),
    StopReason.TRAINER_CRASHED: StopRow(
        JobStatus.FAILED, True, "See the traceback in the trainer's log.", idle_retries=0
    ),
    StopReason.TRAINER_KILLED: StopRow(
        JobStatus.FAILED, True, "Something killed the trainer; it resumes from its checkpoint."
    ),
    StopReason.TRAINER_LOST: StopRow(
        JobStatus.FAILED, True, "The trainer vanished with its machine or session; it resumes."
    ),
    StopReason.TRAINER_HUNG: StopRow(
        JobStatus.FAILED,
        True,
        "It said nothing for too long; where it stood is told by its stacks in the trainer's log.",
        idle_retries=1,
    ),
    StopReason.HARDWARE_FAULT: StopRow(
        JobStatus.FAILED,
        True,
        "The GPU failed; resume the job on another machine.",
        idle_retries=1,
    ),
    StopReason.RESTARTS_EXHAUSTED: StopRow(
        JobStatus.FAILED,
        False,
        "See the trainer's log; `brightrun resume` goes on from the last checkpoint.",
    ),
    StopReason.DEADLINE_REACHED: StopRow(
        JobStatus.FAILED,
        False,
        "It took longer than max_duration_hours; `brightrun resume` goes on from the checkpoint.",
    ),
    StopReason.BUDGET_EXHAUSTED: StopRow(
        JobStatus.FAILED,
        False,
        "The budget is used up; `brightrun resume --budget USD` goes on from the checkpoint.",
    ),
    StopReason.MACHINE_LOST: StopRow(
        JobStatus.FAILED,
        False,
        "Machines were lost too often; `brightrun resume` tries it on another one.",
    ),
    StopReason.NO_MACHINE: StopRow(
        JobStatus.FAILED, False, "Try later, or with another GPU type, cloud or data centre."
    ),
    StopReason.PROVIDER_REFUSED: StopRow(
        JobStatus.FAILED, False, "Mend what the provider says, then `brightrun retry`."
    ),
    StopReason.RESULTS_LOST: StopRow(
        JobStatus.FAILED,
        False,
        "The machine went with what was on it; a network volume would have kept it.",
    ),
}


def status_after(current: JobStatus, proposed: JobStatus) -> JobStatus:
    """The status that holds once `proposed` is reported: never backward, final stays final."""
    if current.is_final or proposed.rank < current.rank:
        return current
    return proposed
