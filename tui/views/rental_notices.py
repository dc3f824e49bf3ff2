"""What deserves a word when it happens to a rented job: two sights of it, compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.clean_text import clean_line
from shared.rental import Machine, MachineState
from tui.services.rental_watch import RentalSight
from tui.views.rental_status import is_alarming


@dataclass(frozen=True, slots=True)
class Notice:
    """One sentence, clean."""

    words: str
    severity: Literal["information", "warning", "error"] = "information"


class RentalNotices:
    """Says everything once. What was over before the first look is not news."""

    def __init__(self) -> None:
        self._seen: dict[str, RentalSight] = {}
        self._alarmed: set[str] = set()
        """Names of machines."""

    def of(self, sight: RentalSight, now: datetime) -> list[Notice]:
        """What is new since the last sight of the same job."""
        before, self._seen[sight.job_id] = self._seen.get(sight.job_id), sight
        notices = [*_of_question(before, sight), *self._of_alarms(sight.machines, now)]
        if before is not None:
            notices += [*_of_machines(before, sight, now), *_of_interruption(before, sight)]
        return notices

    def alarms(self, now: datetime) -> Iterator[tuple[str, Notice]]:
        """(job id, notice) of machines that should have ended meanwhile: time passes unseen."""
        for job_id, sight in self._seen.items():
            for notice in self._of_alarms(sight.machines, now):
                yield job_id, notice

    def _of_alarms(self, machines: tuple[Machine, ...], now: datetime) -> list[Notice]:
        notices = []
        for machine in machines:
            if is_alarming(machine, now) and machine.name not in self._alarmed:
                self._alarmed.add(machine.name)
                why = f" ({clean_line(machine.last_error)})" if machine.last_error else ""
                words = f"{clean_line(machine.name)} does not end{why}; it is paid for until then."
                notices.append(Notice(words, "error"))
        return notices


def _of_question(before: RentalSight | None, after: RentalSight) -> list[Notice]:
    asked = "" if before is None else before.rental.question
    question = after.rental.question
    if not question or question == asked:
        return []
    return [Notice(f"asks: {clean_line(question)} (a answers)", "warning")]


def _of_machines(before: RentalSight, after: RentalSight, now: datetime) -> Iterator[Notice]:
    earlier = {machine.name: machine.state for machine in before.machines}
    for machine in after.machines:
        was = earlier.get(machine.name, MachineState.INTENDED)
        label = clean_line(machine.label)
        if machine.state is MachineState.RENTED and was is MachineState.INTENDED:
            yield Notice(f"{label} is rented, ${machine.usd_per_hour:,.2f}/h.")
        elif machine.state is MachineState.GONE and was is not MachineState.GONE:
            cost = f"${machine.cost_usd(now):,.2f}"
            yield Notice(f"{label} has ended: it is gone, and cost about {cost}.")


def _of_interruption(before: RentalSight, after: RentalSight) -> list[Notice]:
    if after.rental.interruptions <= before.rental.interruptions:
        return []
    reason = clean_line(after.rental.reason)
    most = after.stored.request.max_interruptions
    words = f"its machine is lost (interruption {after.rental.interruptions} of {most})"
    return [Notice(f"{words}: {reason}" if reason else f"{words}.", "warning")]
