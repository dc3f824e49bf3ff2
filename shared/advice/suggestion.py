"""A changed job that may do better than one that has ended, and what is known of the ended one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.dataset.report import DatasetReport
from shared.events import RunFacts
from shared.job_options import setting_text
from shared.job_spec import JobSpec
from shared.job_state import JobState
from shared.lifecycle import StopReason
from shared.store.stored import MetricsPoint

Way = Literal["retry", "resume", "none"]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One sentence with its figures, and the changes that follow from it."""

    reason: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Hyperparameters and fields of the job spec -> new values."""
    way: Way = "retry"
    """`resume` begins at the ended job's last checkpoint; `none`: no job can do it."""

    @property
    def can_be_launched(self) -> bool:
        return self.way != "none"

    def command(self, job_id: str) -> str:
        """What to type; empty where there is nothing to start."""
        if not self.can_be_launched:
            return ""
        typed = dict(self.changes)
        words = ["brightrun", self.way, job_id]
        if self.way == "resume" and typed.pop("force_resume", False):
            words.append("--force")
        for name, value in typed.items():
            words += ["--set", f"{name}={setting_text(value)}"]
        return shlex.join(words)

    def to_dict(self, job_id: str) -> dict[str, Any]:
        """Plain values, for JSON."""
        command = self.command(job_id) or None
        changes = {name: setting_text(value) for name, value in self.changes.items()}
        return {"reason": self.reason, "changes": changes, "command": command}


@dataclass(frozen=True, slots=True)
class EndedJob:
    """What is known of a job once it has ended; plain values."""

    spec: JobSpec
    state: JobState
    points: Sequence[MetricsPoint] = ()
    """One for each step, in order."""
    facts: RunFacts | None = None
    """None: it never came to count, or its model did not load."""
    report: DatasetReport | None = None
    """The check of its training file, where this console has one."""
    warnings: Sequence[str] = ()
    """What the trainer warned of."""
    checkpoint_bytes: int | None = None
    """Size of its last checkpoint."""

    @property
    def stop_reason(self) -> StopReason | None:
        return self.state.stop_reason

    @property
    def losses(self) -> list[tuple[float, float]]:
        """(epoch, loss) of each step with a finite loss."""
        return [
            (point.epoch, point.loss)
            for point in self.points
            if point.tokens is not None and point.loss is not None
        ]

    @property
    def held_out(self) -> list[tuple[float, float]]:
        """(epoch, held-out loss) of each evaluation; the first may be the base model's."""
        return [
            (point.epoch, point.eval_loss)
            for point in self.points
            if point.eval_supervised_tokens is not None and point.eval_loss is not None
        ]
