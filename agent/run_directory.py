"""Where everything of a job lies on the host's disk.

    ROOT/
      agent.lock  agent.id  agent.token             one agent for each root
      agent.json  agent.log                         where it answers; output of a detached one
      trainer.json                                  what starts the trainer, if not our Python
      datasets/<sha256>.json|.jsonl                 training files, named by their content
      models/                                       base models that were built or converted here
      jobs/<job id>/
        job.json                                    the job spec, written once
        cancel.json                                 there once somebody asked to cancel
        attempts/<n>/                               owned by attempt n, and by nobody else
          attempt.json                              what the trainer reads: an `AttemptSpec`
          journal.jsonl                             the agent's, append-only, one line an event
          trainer.jsonl  trainer.log                the trainer's events; its stdout and stderr
          shim.lock  shim.json  exit.json           who runs, and how it ended
          checkpoints/step-00000012/                committed by a manifest
          adapter/                                  committed by a manifest

This module knows names and shapes only; it starts nothing and decides nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from shared.job_spec import JobSpec, is_job_id


class AttemptSpec(BaseModel):
    """What the trainer is told, as `attempt.json`; absolute paths only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: JobSpec
    attempt: int
    dataset_path: Path
    models_directory: Path


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
    def checkpoints_path(self) -> Path:
        return self.path / "checkpoints"

    @property
    def adapter_path(self) -> Path:
        return self.path / "adapter"

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
    def datasets_path(self) -> Path:
        return self.path / "datasets"

    @property
    def models_path(self) -> Path:
        return self.path / "models"

    def job(self, job_id: str) -> JobDirectory:
        return JobDirectory(self.path / "jobs" / job_id)

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
