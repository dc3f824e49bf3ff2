"""What a rent would be, beside the table of candidates and in the last review."""

from __future__ import annotations

from tui.services.rent_plan import RentPlan
from tui.views.job_summary import Line
from tui.views.rent_choice import RentChoice
from tui.views.rent_review import (
    candidate_row,
    forecast_pairs,
    rent_pairs,
    volume_words,
    warnings_of,
)

NOTHING_CHOSEN = "every machine is switched off: space switches one on."
ESTIMATE = ("expected hours", "expected cost", "network volume")


def estimate_lines(choice: RentChoice) -> list[Line]:
    """Hours, cost and what to know, of what is tried first."""
    if not choice.chosen:
        return [Line("", NOTHING_CHOSEN, "error")]
    plan = choice.chosen_plan
    pairs = {name: value for name, value in rent_pairs(plan) if name in ESTIMATE}
    first = candidate_row(plan.options[0])
    lines = [
        Line("tried first", f"{first.gpu} {first.cloud} {first.where}, ${first.usd_per_hour}/h"),
        *(Line(name, value) for name, value in pairs.items()),
        *(Line("note", warning, "warning") for warning in warnings_of(plan)),
        # Last: what has to be known must not be scrolled to.
        *(Line(name, value, "dim") for name, value in forecast_pairs(plan.options[0])),
    ]
    return [line for line in lines if line.value]


def agreement_lines(plan: RentPlan) -> list[Line]:
    """All of it, for the review: candidates in order, figures, what may go wrong."""
    lines = []
    for number, option in enumerate(plan.options, start=1):
        row = candidate_row(option)
        words = f"{row.gpu} {row.cloud} {row.where}, ${row.usd_per_hour}/h, stock {row.stock}"
        lines.append(Line(f"{number}. machine", f"{words}, {row.memory}, {row.cost}"))
    lines += [Line(name, value) for name, value in rent_pairs(plan)]
    return lines + [Line("note", warning, "warning") for warning in warnings_of(plan)]


def volume_question(plan: RentPlan) -> tuple[str, str]:
    """Asked before a network volume is made: it is paid for until somebody deletes it."""
    return (
        "Make a network volume?",
        f"{volume_words(plan)}.\nIt is paid for, with or without a machine, until you delete it "
        "in RunPod's console.",
    )
