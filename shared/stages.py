"""The four stages of a job, and how long each took: a pure fold over its journal records.

A stage is coarser than an activity and finer than a status; a job that resumes goes through its
stages again, and the times add up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared import events
from shared.lifecycle import Activity


class Stage(StrEnum):
    """In the order in which a job goes through them."""

    PREPARE = "prepare"
    LOAD = "load model"
    TRAIN = "train"
    FINISH = "finish"


STAGE_OF: dict[Activity, Stage | None] = {
    Activity.WAITING_FOR_TURN: None,
    Activity.PROVISIONING: Stage.PREPARE,
    Activity.WAITING_FOR_MACHINE: Stage.PREPARE,
    Activity.CONNECTING: Stage.PREPARE,
    Activity.CHECKING_MACHINE: Stage.PREPARE,
    Activity.INSTALLING: Stage.PREPARE,
    Activity.STARTING_TRAINER: Stage.PREPARE,
    Activity.CHECKING_DATASET: Stage.PREPARE,
    Activity.PREPARING_MODEL: Stage.LOAD,
    Activity.DOWNLOADING_MODEL: Stage.LOAD,
    Activity.LOADING_MODEL: Stage.LOAD,
    Activity.RESUMING: Stage.LOAD,
    Activity.TRAINING: Stage.TRAIN,
    Activity.EVALUATING: Stage.TRAIN,
    Activity.SAVING_ADAPTER: Stage.FINISH,
    Activity.VERIFYING_ADAPTER: Stage.FINISH,
    Activity.UPLOADING: Stage.FINISH,
    Activity.SECURING_RESULTS: Stage.FINISH,
    Activity.ENDING_MACHINE: None,
    Activity.WAITING_FOR_ANSWER: None,
    Activity.RECOVERING: None,
    Activity.UNREACHABLE: None,
    Activity.CANCELLING: None,
}
"""None: the stage stays what it was."""


@dataclass(frozen=True, slots=True)
class StageTime:
    """One stage so far; `seconds` is None before it began."""

    stage: Stage
    seconds: float | None
    is_current: bool


class StageClock:
    """Adds up the time between the records that enter stages."""

    def __init__(self) -> None:
        self._seconds: dict[Stage, float] = {}
        self._current: Stage | None = None
        self._entered_at: datetime | None = None

    def add(self, records: Iterable[events.JournalRecord]) -> None:
        """Go on with later records."""
        for record in records:
            match record.event:
                case events.AttemptStarted():
                    self._enter(Stage.PREPARE, record.time)
                case events.StageEntered() as event:
                    stage = STAGE_OF[event.activity]
                    if stage is not None:
                        self._enter(stage, record.time)
                case events.AttemptEnded():
                    self._enter(None, record.time)

    def times(self, now: datetime) -> list[StageTime]:
        """All four stages in order; the current one counts up to `now`."""
        return [
            StageTime(stage, self._so_far(stage, now), is_current=stage is self._current)
            for stage in Stage
        ]

    def _enter(self, stage: Stage | None, moment: datetime) -> None:
        if self._current is not None:
            self._seconds[self._current] = self._so_far(self._current, moment) or 0.0
        self._current, self._entered_at = stage, moment

    def _so_far(self, stage: Stage, now: datetime) -> float | None:
        seconds = self._seconds.get(stage)
        if stage is not self._current or self._entered_at is None:
            return seconds
        # Clocks of two machines may differ: no stage takes less than nothing.
        return (seconds or 0.0) + max((now - self._entered_at).total_seconds(), 0.0)
