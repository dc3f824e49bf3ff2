"""The answers that a rented job's question takes, and what each of them does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.rental import RentalPhase
from tui.services.rental_watch import RentalSight
from tui.services.rented_jobs import GO_ON, MOVE, STOP
from tui.views.rental_status import interruptions, money


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` is what the controller is told; STOP is a wish to cancel the job."""

    text: str
    effect: str


_STOP = Answer(STOP, "Cancel the job and end its machine. A network volume stays as it is.")
_FORWARD = {
    RentalPhase.ASKING: Answer(GO_ON, "Rent another machine and go on, within the budget."),
    RentalPhase.STARTING: Answer(GO_ON, "Train on this machine all the same."),
    RentalPhase.WAITING: Answer(
        MOVE, "Go on in another data centre from the newest checkpoint, without a volume."
    ),
}


def answers_to(sight: RentalSight) -> list[Answer]:
    """Those that can be chosen; see `typed_answer` for the others."""
    if typed_answer(sight):
        return [_STOP]
    return [_FORWARD.get(sight.rental.phase, Answer(GO_ON, "Go on.")), _STOP]


def typed_answer(sight: RentalSight) -> str:
    """What has to be typed, such as a fingerprint; "" where the answers are to be chosen from."""
    if sight.rental.over_limit:
        return f"{GO_ON}: REASON"
    return "SHA256:..." if sight.rental.phase is RentalPhase.CONNECTING else ""


def question_detail(sight: RentalSight, now: datetime) -> str:
    """What has happened and been paid so far."""
    parts = [money(sight, now), interruptions(sight)]
    return "  ·  ".join(part for part in parts if part)


def how_to_answer(sight: RentalSight) -> str:
    """`Answer with `brightrun answer JOB "go on"`, or "stop"`, for whoever has no screen."""
    typed = typed_answer(sight)
    quoted = f'"{typed}"' if " " in typed else typed
    choices = [quoted, *(f'"{answer.text}"' for answer in answers_to(sight))]
    first, *others = [choice for choice in choices if choice]
    return f"Answer with `brightrun answer {sight.job_id} {first}`, or {' or '.join(others)}."
