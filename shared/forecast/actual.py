"""What a job took in the end, part by part: a pure fold over its own records.

The counterpart of a forecast. Times are those of the journal, which the job's machine wrote; what
lies before and after it (coming up, installing, bringing the adapter home) is told by whoever
rented the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from shared import events
from shared.forecast.forecast import ModelSource, PartName
from shared.lifecycle import Activity, JobStatus
from shared.rental import RentalPhase

_PART_OF_ACTIVITY = {
    Activity.CHECKING_DATASET: PartName.LOAD,
    Activity.PREPARING_MODEL: PartName.MODEL,
    Activity.DOWNLOADING_MODEL: PartName.MODEL,
    Activity.LOADING_MODEL: PartName.LOAD,
    Activity.EVALUATING: PartName.EVALUATION,
    Activity.SAVING_ADAPTER: PartName.SAVING,
    Activity.VERIFYING_ADAPTER: PartName.SAVING,
    Activity.UPLOADING: PartName.HOME,
}
"""Of those that the trainer reports; TRAINING belongs to several, and others change nothing."""

PART_OF_PHASE = {
    RentalPhase.PROVISIONING: PartName.MACHINE,
    RentalPhase.CONNECTING: PartName.MACHINE,
    RentalPhase.CHECKING: PartName.MACHINE,
    RentalPhase.INSTALLING: PartName.INSTALL,
    RentalPhase.STARTING: PartName.INSTALL,
    RentalPhase.SECURING: PartName.HOME,
    RentalPhase.ENDING: PartName.HOME,
}
"""Phases in which a rented machine is paid for, and its journal says nothing."""


class Actual(BaseModel):
    """What was measured; None and nothing for what was not."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    machine: str
    """As in a forecast's place: a GPU type, or a host's name."""
    status: JobStatus
    attempts: int = 1
    seconds: Mapping[PartName, float] = {}
    total_s: float = 0.0
    """All of it; of a rented job as long as machines were paid for."""
    tokens: int = 0
    """Trained, in steps whose time was measured."""
    tokens_per_s: float | None = None
    """Of all GPUs of the job together, over its steps alone."""
    cost_usd: float | None = None
    """For its machines; None where nothing was rented."""
    peak_bytes: int | None = None
    model_source: ModelSource | None = None
    """None where the records do not tell."""

    @property
    def corrects(self) -> bool:
        """True if later forecasts go by it: an unbroken job that did all of its work."""
        return self.status is JobStatus.COMPLETED and self.attempts == 1

    def part_s(self, name: PartName) -> float | None:
        """None where the job never came to it."""
        return self.seconds.get(name)


class PartClock:
    """Adds up the time between records, part by part."""

    def __init__(self) -> None:
        self.seconds: dict[PartName, float] = {}
        self.step_s = 0.0
        self.tokens = 0
        self.peak_bytes: int | None = None
        self.quantized_copy = ""
        self._total_steps: int | None = None
        self._part: PartName | None = None
        self._since: datetime | None = None
        self._has_begun = False
        """True once there was a step or an evaluation: what came before was setting up."""
        self._is_past_last_step = False

    def add(self, records: Iterable[events.JournalRecord]) -> PartClock:
        """Go on with later records."""
        for record in records:
            self._take(record.event, record.time)
        return self

    def _take(self, event: events.Event, moment: datetime) -> None:
        match event:
            case events.AttemptStarted():
                self._has_begun = self._is_past_last_step = False
                self._enter(PartName.LOAD, moment)
            case events.RunFacts():
                self._total_steps = event.total_steps
                self.quantized_copy = event.quantized_copy
            case events.StageEntered():
                self._stage(event.activity, moment)
            case events.Metrics():
                self._step(event, moment)
            case events.AttemptEnded():
                self._enter(None, moment)

    def _stage(self, activity: Activity, moment: datetime) -> None:
        if activity is Activity.EVALUATING:
            self._has_begun = True
        if activity is Activity.TRAINING:
            self._enter(self._part_of_training(), moment)
        elif (part := _PART_OF_ACTIVITY.get(activity)) is not None:
            self._enter(part, moment)

    def _part_of_training(self) -> PartName:
        """The trainer says so from when the model is there to when the adapter is saved."""
        if not self._has_begun:
            return PartName.LOAD
        return PartName.SAVING if self._is_past_last_step else PartName.TRAINING

    def _step(self, event: events.Metrics, moment: datetime) -> None:
        self.step_s += event.step_s
        self.tokens += event.tokens
        if event.memory_bytes is not None:
            self.peak_bytes = max(self.peak_bytes or 0, event.memory_bytes)
        if self._part is PartName.LOAD:  # Nothing was evaluated before the first step.
            self._enter(PartName.LOAD, moment)
            earlier = self.seconds.get(PartName.LOAD, 0.0)
            self.seconds[PartName.LOAD] = max(earlier - event.step_s, 0.0)
            self.spend(PartName.TRAINING, min(event.step_s, earlier))
            self._has_begun = True
            self._enter(PartName.TRAINING, moment)
        if event.step == self._total_steps:
            self._is_past_last_step = True
            self._enter(PartName.SAVING, moment)

    def _enter(self, part: PartName | None, moment: datetime) -> None:
        if self._part is not None and self._since is not None:
            # A clock may be set back meanwhile: no part takes less than nothing.
            self.spend(self._part, max((moment - self._since).total_seconds(), 0.0))
        self._part, self._since = part, moment

    def spend(self, part: PartName, seconds: float) -> None:
        """Add to a part what the journal does not tell."""
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds


def measured(
    records: Iterable[events.JournalRecord],
    *,
    machine: str,
    status: JobStatus,
    phase_s: Mapping[RentalPhase, float] | None = None,
    paid_s: float | None = None,
    cost_usd: float | None = None,
    machines: int = 1,
) -> Actual:
    """What a job took, from its journal and, of a rented one, from the ledger.

    `phase_s` is how long the job was in each phase of its rental; `paid_s` is how long its machines
    were paid for; `machines` is how many there were.
    """
    records = list(records)
    clock = PartClock().add(records)
    for phase, seconds in (phase_s or {}).items():
        if (part := PART_OF_PHASE.get(phase)) is not None:
            clock.spend(part, seconds)
    return Actual(
        machine=machine,
        status=status,
        attempts=max(len({record.attempt for record in records}), machines, 1),
        seconds=clock.seconds,
        total_s=sum(clock.seconds.values()) if paid_s is None else paid_s,
        tokens=clock.tokens,
        tokens_per_s=clock.tokens / clock.step_s if clock.step_s > 0 else None,
        cost_usd=cost_usd,
        peak_bytes=clock.peak_bytes,
        model_source="cache" if clock.quantized_copy else None,
    )
