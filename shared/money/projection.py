"""What a rented job has cost, and what it will have cost at its end: best, expected and worst.

Pure: machines, the rental, the job's own figures and a moment in, dollars out. A projection says
what the job needs; that it is stopped at its budget is another matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.forecast.forecast import Span
from shared.job_state import JobState
from shared.machine_request import MachineRequest
from shared.money.machine_cost import gpu_hours
from shared.rental import Machine, MachineState, Rental, RentalPhase

SPEED_SPREAD = (0.9, 1.25)
"""Of what is left at the observed speed, best and worst: assumed (2026-11), not measured on rented
machines. Steps differ in length, and saving and evaluating come on top."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """Seconds that the parts of a job take on its machine, as they were forecast."""

    start_up: Span
    """Until the first step."""
    training: Span
    """All of its steps, with their evaluations."""
    closing: Span
    """Saving, verifying and bringing home."""


USUAL_START_UP = Span(best=240.0, expected=900.0, worst=2700.0)
USUAL_CLOSING = Span(best=60.0, expected=300.0, worst=900.0)
"""Seconds, where nobody has forecast them: assumed (2026-11), unverified on hardware."""


@dataclass(frozen=True, slots=True)
class Money:
    """What a job costs as of a moment; dollars."""

    usd_per_hour: float
    """Of all its machines that may be paid for."""
    spent_usd: float
    gpu_hours: float
    budget_usd: float
    stops_at_usd: float
    """Where the training is stopped: the rest of the budget brings the results home."""
    training_ends_at_usd: float | None
    """What will be spent when the last step is done, as expected; None where nobody can say."""
    projected: Span | None
    """Of the whole job; None where nothing is left to project, or nobody can say."""

    @property
    def is_beyond_budget(self) -> bool:
        """True if the job will be stopped before its last step, as it looks now."""
        return (
            self.training_ends_at_usd is not None and self.training_ends_at_usd > self.stops_at_usd
        )

    @property
    def left_usd(self) -> float | None:
        """What it is expected to cost from now on, within its budget; None where nobody can say."""
        if self.projected is None:
            return None
        return min(max(self.projected.expected - self.spent_usd, 0.0), self.most_left_usd)

    @property
    def most_left_usd(self) -> float:
        """What is left of the budget."""
        return max(self.budget_usd - self.spent_usd, 0.0)


def money_of(
    machines: Sequence[Machine],
    rental: Rental,
    request: MachineRequest,
    state: JobState,
    outlook: Outlook | None,
    now: datetime,
    *,
    reserve_usd: float,
) -> Money:
    """The job's money as of now; `reserve_usd` is kept back of its budget."""
    spent = sum(machine.cost_usd(now) for machine in machines)
    price = price_ahead(machines, rental, request)
    training, projected = None, None
    if not _is_over(rental):
        before_end = _seconds_to_last_step(machines, rental, state, outlook, now)
        if before_end is not None:
            closing = USUAL_CLOSING if outlook is None else outlook.closing
            training = spent + before_end.expected / 3600 * price
            projected = Span.exactly(spent) + (before_end + closing).times(price / 3600)
    return Money(
        usd_per_hour=paid_per_hour(machines),
        spent_usd=spent,
        gpu_hours=gpu_hours(machines, now),
        budget_usd=request.budget_usd,
        stops_at_usd=request.budget_usd - reserve_usd,
        training_ends_at_usd=training,
        projected=projected,
    )


def paid_per_hour(machines: Sequence[Machine]) -> float:
    """Of all that may be paid for now."""
    return sum(
        machine.usd_per_hour
        for machine in machines
        if machine.state.may_exist and machine.rented_at is not None
    )


def price_ahead(machines: Sequence[Machine], rental: Rental, request: MachineRequest) -> float:
    """Dollars an hour of the machine that serves the job, or of the one that is tried next."""
    for machine in machines:
        if machine.name == rental.machine and machine.state is MachineState.RENTED:
            return machine.usd_per_hour
    number = min(rental.next_candidate, len(request.candidates) - 1)
    return request.candidates[number].usd_per_hour


def _seconds_to_last_step(
    machines: Sequence[Machine],
    rental: Rental,
    state: JobState,
    outlook: Outlook | None,
    now: datetime,
) -> Span | None:
    """From now; None where neither a speed nor a forecast is known."""
    if rental.phase is RentalPhase.SECURING or state.outcome is not None:
        return Span.exactly(0.0)
    trains = rental.phase is RentalPhase.RUNNING and state.step_s is not None
    training = _training_left(rental, state, outlook, trains=trains)
    if training is None or trains:
        return training
    start_up = USUAL_START_UP if outlook is None else outlook.start_up
    serving = next((m for m in machines if m.name == rental.machine), None)
    if serving is None or not serving.state.may_exist:
        return start_up + training
    return _left(start_up, (now - serving.created_at).total_seconds()) + training


def _training_left(
    rental: Rental, state: JobState, outlook: Outlook | None, *, trains: bool
) -> Span | None:
    # A machine that comes next goes on from the checkpoint, unless that was lost.
    is_kept = state.attempt > rental.attempts_lost
    reached = state.step if trains else (state.last_checkpoint_step or 0) * is_kept
    if state.total_steps is not None and state.step_s is not None:
        seconds = max(state.total_steps - reached, 0) * state.step_s
        best, worst = SPEED_SPREAD
        return Span(best=best * seconds, expected=seconds, worst=worst * seconds)
    if outlook is None:
        return None
    share = 1 - reached / state.total_steps if state.total_steps else 1.0
    return outlook.training.times(max(share, 0.0))


def _left(span: Span, passed: float) -> Span:
    """What is left of each; never below 0."""
    return Span(
        best=max(span.best - passed, 0.0),
        expected=max(span.expected - passed, 0.0),
        worst=max(span.worst - passed, 0.0),
    )


def _is_over(rental: Rental) -> bool:
    """Nothing will be rented any more."""
    ends = rental.phase is RentalPhase.ENDING and rental.then is RentalPhase.DONE
    return ends or rental.phase is RentalPhase.DONE
