"""Where everything of a job lies on the host's disk.

    ROOT/
      agent.lock  agent.id  agent.token             one agent for each root
      agent.json  agent.log                         where it answers; output of a detached one
      trainer.json                                  what starts the trainer, if not our Python
      machine.json                                  which of several machines may write here
      machine-end.json                              why and how a rented machine ended itself
      datasets/<sha256>.json|.jsonl                 training files, named by their content
      models/                                       base models that were built, converted or
                                                    quantised here; see `shared.model_cache`
      jobs/<job id>/
        job.json                                    the job spec, written once
        cancel.json                                 there once somebody asked to cancel
        limits.json                                 on a rented machine: a `Usage` (`agent.limits`)
        webhooks.jsonl                              what is told to the web application, and what
                                                    became of it (`agent.webhook_outbox`)
        uploads.json                                where uploads to Supabase Storage go on
        attempts/<n>/                               owned by attempt n, and by nobody else
          attempt.json                              what the trainer reads: an `AttemptSpec`
          journal.jsonl                             the agent's, append-only, one line an event
          trainer.jsonl  trainer.log                the trainer's events; its stdout and stderr
          replica-1.jsonl                           events of further trainer processes; not copied
          shim.lock  shim.json  exit.json           who runs, and how it ended
          hang.json                                 there once the trainer was found to hang
          limit.json                                there once it is stopped for a limit
          checkpoints/step-00000012/                committed by a manifest
          best/                                     the adapter of the lowest held-out loss, where
                                                    the run may stop early
          adapter/                                  committed by a manifest
          base-model.json                           which copy of the base model is loaded
          portability.json                          the trainer's answers to prompts of the file

This module knows names and shapes only; it starts nothing and decides nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.job_spec import JobSpec, is_job_id


class Nodes(BaseModel):
    """This machine among those that train one job together; the names are torchrun's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: Annotated[int, Field(ge=2, le=64)]
    rank: Annotated[int, Field(ge=0)]
    """The adapter comes to be on the machine of rank 0."""
    rdzv_endpoint: Annotated[str, Field(pattern=r"^.+:[0-9]{1,5}$")]
    """HOST:PORT, where the machine of rank 0 can be reached by all of them."""

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.rank >= self.count:
            raise ValueError(f"node rank {self.rank} of {self.count} nodes: ranks begin at 0")
        return self


class AttemptSpec(BaseModel):
    """What the trainer is told, as `attempt.json`; absolute paths only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: JobSpec
    attempt: int
    dataset_path: Path
    models_directory: Path
    nodes: Nodes | None = None
    """None: this machine alone."""


@dataclass(frozen=True, slots=True)
class AttemptDirectory:
    """The files of one attempt."""

    path: Path

    @property
    def number(self) -> int:
        """1 for the first attempt."""
        return int(self.path.name)

    @property
    def spec_path(self) -> Path:
        return self.path / "attempt.json"

    @property
    def journal_path(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def trainer_events_path(self) -> Path:
        return self.path / "trainer.jsonl"

    def replica_events_path(self, local_rank: int) -> Path:
        """Where a further process of the same attempt reports; nobody reads it while it runs."""
        return self.path / f"replica-{local_rank}.jsonl"

    @property
    def log_path(self) -> Path:
        return self.path / "trainer.log"

    @property
    def shim_path(self) -> Path:
        return self.path / "shim.json"

    @property
    def exit_path(self) -> Path:
        return self.path / "exit.json"

    @property
    def hang_path(self) -> Path:
        return self.path / "hang.json"

    @property
    def limit_path(self) -> Path:
        return self.path / "limit.json"

    @property
    def checkpoints_path(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best_path(self) -> Path:
        return self.path / "best"

    @property
    def adapter_path(self) -> Path:
        return self.path / "adapter"

    @property
    def base_model_path(self) -> Path:
        return self.path / "base-model.json"

    @property
    def portability_path(self) -> Path:
        return self.path / "portability.json"

    @property
    def root(self) -> AgentRoot:
        """The agent's, to which the job belongs."""
        return AgentRoot(self.path.parents[3])

    def earlier(self) -> list[AttemptDirectory]:
        """The attempts before this one, newest first."""
        siblings = JobDirectory(self.path.parent.parent).attempts()
        return [attempt for attempt in reversed(siblings) if attempt.number < self.number]

    def read_spec(self) -> AttemptSpec:
        return AttemptSpec.model_validate_json(self.spec_path.read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class JobDirectory:
    """The files of one job."""

    path: Path

    @property
    def job_id(self) -> str:
        return self.path.name

    @property
    def spec_path(self) -> Path:
        return self.path / "job.json"

    @property
    def cancel_path(self) -> Path:
        return self.path / "cancel.json"

    @property
    def limits_path(self) -> Path:
        return self.path / "limits.json"

    @property
    def webhooks_path(self) -> Path:
        return self.path / "webhooks.jsonl"

    @property
    def uploads_path(self) -> Path:
        return self.path / "uploads.json"

    def attempt(self, number: int) -> AttemptDirectory:
        return AttemptDirectory(self.path / "attempts" / str(number))

    def attempts(self) -> list[AttemptDirectory]:
        """Attempts that exist, oldest first."""
        folder = self.path / "attempts"
        if not folder.is_dir():
            return []
        numbers = sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit())
        return [self.attempt(number) for number in numbers]

    def read_spec(self) -> JobSpec:
        return JobSpec.model_validate_json(self.spec_path.read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class AgentRoot:
    """The directory that one agent owns."""

    path: Path

    @property
    def lock_path(self) -> Path:
        return self.path / "agent.lock"

    @property
    def token_path(self) -> Path:
        return self.path / "agent.token"

    @property
    def id_path(self) -> Path:
        return self.path / "agent.id"

    @property
    def log_path(self) -> Path:
        return self.path / "agent.log"

    @property
    def address_path(self) -> Path:
        return self.path / "agent.json"

    @property
    def trainer_path(self) -> Path:
        return self.path / "trainer.json"

    @property
    def machine_end_path(self) -> Path:
        return self.path / "machine-end.json"

    @property
    def hub_path(self) -> Path:
        """Base models from the hub on a rented machine: beside the root, on its volume."""
        return self.path.parent / "hub"

    @property
    def datasets_path(self) -> Path:
        return self.path / "datasets"

    @property
    def models_path(self) -> Path:
        return self.path / "models"

    @property
    def volume_models_path(self) -> Path:
        """Base models on a rented machine: beside the root, for all jobs of its volume."""
        return self.path.parent / "models"

    def job(self, job_id: str) -> JobDirectory:
        return JobDirectory(self.path / "jobs" / job_id)

    def of_sibling(self, job_id: str) -> AgentRoot:
        """The root of another job where each has its own: `jobs/<job id>/agent` on a volume."""
        return AgentRoot(self.path.parent.parent / job_id / self.path.name)

    def jobs(self) -> list[JobDirectory]:
        """Jobs with a written spec, oldest id first."""
        folder = self.path / "jobs"
        if not folder.is_dir():
            return []
        found = (JobDirectory(entry) for entry in sorted(folder.iterdir()))
        return [job for job in found if is_job_id(job.job_id) and job.spec_path.is_file()]


def checkpoint_name(step: int) -> str:
    """`step-00000012`: sorts by step as text."""
    return f"step-{step:08d}"


def checkpoint_step(name: str) -> int | None:
    """The step of a checkpoint's name; None for any other name."""
    match = re.fullmatch(r"step-(\d{8,})", name)
    return int(match.group(1)) if match else None
