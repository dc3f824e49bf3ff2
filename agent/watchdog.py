"""Tells when a trainer hangs, from what it has said so far and how long it has been silent.

A stopped process cannot watch itself, so the agent does. Values in, verdict out: this module reads
no clock, no file and no process.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from shared import events
from shared.lifecycle import Activity

STEPS_REMEMBERED = 101
"""The usual step is the median of so many; a single slow one does not move it."""

LONGEST_LOOK_S = 1.0
"""What one look may add to the silence. An agent that was stopped, starved or asleep with its
machine did not watch in the meantime, and what it did not watch does not count."""


@dataclass(frozen=True, slots=True)
class HangLimits:
    """How long a trainer may be silent."""

    factor: float = 10.0
    """Times the usual step, or the longest evaluation so far."""
    floor_s: float = 120.0
    """Never less than this, however short a step is; 0 is no watchdog at all."""
    unmeasured_s: float = 7200.0
    """Where nothing was measured yet: before the first step, or while a model is loaded. The 141 GB
    of a Llama 70B take just under two hours at 20 MB/s, and nothing is said meanwhile."""


@dataclass(frozen=True, slots=True)
class Hang:
    """The trainer has been silent for longer than it may."""

    silent_s: float
    limit_s: float
    basis: str
    """Where the limit comes from, in words."""
    activity: str
    step: int

    def __str__(self) -> str:
        return (
            f"The trainer said nothing for {self.silent_s:,.1f} s ({self.activity}, after step "
            f"{self.step}); at most {self.limit_s:,.1f} s was expected, {self.basis}."
        )


class Watchdog:
    """Hears one attempt's events and is asked, as often as one likes, whether its trainer hangs."""

    def __init__(self, limits: HangLimits) -> None:
        self._limits = limits
        self._looked_at_s: float | None = None
        self._silent_s = 0.0
        self._activity: Activity | None = None
        self._step = 0
        self._steps_s: deque[float] = deque(maxlen=STEPS_REMEMBERED)
        self._longest_evaluation_s: float | None = None
        self._evaluating_since: datetime | None = None
        self._has_finished = False

    def heard(self, event: events.Event, at: datetime | None = None) -> None:
        """Take in what the trainer said, and when by its own clock; None if that is not known.

        Log lines are no sign of life: a loop that leads nowhere may write them for ever.
        """
        if isinstance(event, events.LogLine):
            return
        self._silent_s = 0.0
        if at is not None and self._evaluating_since is not None:
            lasted_s = (at - self._evaluating_since).total_seconds()
            self._longest_evaluation_s = max(self._longest_evaluation_s or 0.0, lasted_s)
        self._evaluating_since = None
        match event:
            case events.StageEntered():
                self._activity = event.activity
                if event.activity is Activity.EVALUATING:
                    self._evaluating_since = at
            case events.Metrics():
                self._activity = Activity.TRAINING
                self._step = event.step
                self._steps_s.append(event.step_s)
            case events.TrainerFinished():
                self._has_finished = True

    def look(self, now_s: float) -> Hang | None:
        """Whether the trainer hangs at `now_s`, in seconds of a monotonic clock."""
        if self._looked_at_s is not None:
            self._silent_s += min(now_s - self._looked_at_s, LONGEST_LOOK_S)
        self._looked_at_s = now_s
        limit_s, basis = self._limit()
        if not self._limits.floor_s or self._silent_s <= limit_s:
            return None
        activity = str(self._activity or Activity.STARTING_TRAINER)
        return Hang(self._silent_s, limit_s, basis, activity, self._step)

    def _limit(self) -> tuple[float, str]:
        """Seconds, and in words where they come from."""
        if self._has_finished:
            return self._limits.floor_s, "for a process that has only to end"
        if self._activity is Activity.TRAINING and self._steps_s:
            return self._times(median(self._steps_s), "usual step")
        if self._activity is Activity.EVALUATING and self._longest_evaluation_s is not None:
            return self._times(self._longest_evaluation_s, "longest evaluation")
        return self._limits.unmeasured_s, "since nothing like it was measured yet"

    def _times(self, usual_s: float, what: str) -> tuple[float, str]:
        limit_s, floor_s = self._limits.factor * usual_s, self._limits.floor_s
        basis = f"{self._limits.factor:g} times the {what} of {usual_s:.1f} s"
        return (limit_s, basis) if limit_s >= floor_s else (floor_s, f"which is more than {basis}")
