"""What would be rented, for a last look at it: candidates, figures, and what may go wrong."""

from __future__ import annotations

from dataclasses import dataclass

from shared.clean_text import clean_line
from shared.machine_request import AfterInterruptions
from shared.memory.cards import Fit
from shared.number_text import many, size
from tui.services.estimate import WARN_ABOVE_HOURS, WARN_ABOVE_USD
from tui.services.rent_options import RentOption, stock_words
from tui.services.rent_plan import LOSS_RULE, RentPlan
from tui.views.forecast_lines import breakdown, usd_words
from tui.views.image_lines import image_words

CANDIDATE_HEADERS = ["#", "GPU", "CLOUD", "WHERE", "$/H", "STOCK", "MEMORY", "HOURS", "COST"]
_UNKNOWN = "–"
_AFTER = {
    AfterInterruptions.ASK: "it asks",
    AfterInterruptions.NEXT_GPU: "it goes on with the next GPU type",
    AfterInterruptions.STOP: "it ends",
}


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """One line of the table; "–" for what nobody knows."""

    gpu: str
    cloud: str
    where: str
    usd_per_hour: str
    stock: str
    memory: str
    hours: str
    cost: str


def candidate_row(option: RentOption) -> CandidateRow:
    """The option in words."""
    candidate = option.candidate
    count = f"{candidate.gpu_count} x " if candidate.gpu_count > 1 else ""
    return CandidateRow(
        gpu=f"{count}{candidate.gpu_type}",
        cloud=candidate.cloud.value,
        where=clean_line(candidate.data_center or "anywhere"),
        usd_per_hour=f"{candidate.usd_per_hour:.2f}",
        stock=candidate.stock.value,
        memory=memory_verdict(option),
        hours=_span(option.hours, ".1f"),
        cost=_span(option.cost_usd, ",.2f", "$"),
    )


def memory_verdict(option: RentOption) -> str:
    """`fits (61.0 of 80.0 GB)`."""
    need = option.memory.need
    if need is None:
        return "unknown"
    verdict = {Fit.FITS: "fits", Fit.TIGHT: "tight", Fit.TOO_LARGE: "too small"}[need.fit]
    return f"{verdict} ({size(need.plan.peak_bytes)} of {size(need.room.memory_bytes)})"


def rent_pairs(plan: RentPlan) -> list[tuple[str, str]]:
    """Everything that is agreed to, but for the candidates."""
    wanted, first = plan.wanted, plan.options[0]
    pairs = [
        ("expected hours", _hours_words(first)),
        ("expected cost", _cost_words(first)),
        *forecast_pairs(first),
        ("budget", _budget_words(plan)),
        ("longest", f"{wanted.max_duration_hours:g} h from the first machine's start"),
        ("interruptions", _interruption_words(plan)),
        ("no stock", _wait_words(plan)),
        ("network volume", volume_words(plan)),
        ("machine's disk", f"{plan.container_disk_gb} GB, gone with the machine"),
        ("image", image_words(wanted)),
    ]
    if len({option.candidate.gpu_type for option in plan.options}) > 1:
        pairs.insert(0, ("figures", f"of {first.candidate.gpu_type}, which is tried first"))
    return pairs


def forecast_pairs(option: RentOption) -> list[tuple[str, str]]:
    """What the hours are made of, and where the figures come from."""
    return breakdown(option.forecast)


def volume_words(plan: RentPlan) -> str:
    """The disk that outlives machines, with its price."""
    volume = plan.new_volume or plan.volume
    if volume is None:
        return "none"
    price = "" if volume.usd_per_month is None else f", ${volume.usd_per_month:,.2f} a month"
    new = ", to be made" if plan.new_volume else ""
    name = clean_line(volume.name)
    return f"{name}, {volume.size_gb} GB in {clean_line(volume.data_center)}{price}{new}"


def warnings_of(plan: RentPlan) -> list[str]:
    """What the user has to know before agreeing, each a sentence or two; clean."""
    found = [
        "" if plan.keeps_results else LOSS_RULE,
        *_amounts(plan),
        *_fit(plan),
        _disk(plan),
        _sold_out(plan),
    ]
    return [clean_line(line) for line in found if line]


def left_out_lines(plan: RentPlan) -> list[str]:
    """Offers that will not be tried, and why; one line for each reason and GPU type."""
    lines = [
        f"{left.option.candidate.gpu_type} {left.option.candidate.cloud} is left out: {left.reason}"
        for left in plan.left_out
    ]
    return [clean_line(line) for line in dict.fromkeys(lines)]


def _span(span: tuple[float, float] | None, spec: str, unit: str = "") -> str:
    if span is None:
        return _UNKNOWN
    least, most = (f"{unit}{value:{spec}}" for value in span)
    return least if least == most else f"{least}-{most.removeprefix(unit)}"


def _hours_words(option: RentOption) -> str:
    hours = option.forecast.hours
    if hours is None:
        return "unknown until the first steps"
    return f"{hours.expected:.1f} ({hours.best:.1f} to {hours.worst:.1f}), a forecast of all parts"


def _cost_words(option: RentOption) -> str:
    price = f"${option.candidate.usd_per_hour:,.2f}/h"
    cost = option.forecast.cost_usd
    if cost is None:
        return f"unknown, at {price}"
    storage = "" if option.forecast.storage_usd is None else ", the volume's share included"
    return f"{usd_words(cost)} at {price}, without interruptions{storage}"


def _budget_words(plan: RentPlan) -> str:
    budget = plan.wanted.budget_usd
    if budget is None:
        return "not given"
    return f"${budget:,.2f} for all machines of the job together; the machine itself holds to it"


def _interruption_words(plan: RentPlan) -> str:
    wanted = plan.wanted
    count = many(wanted.max_interruptions, "lost machine")
    begins = "the last checkpoint" if plan.keeps_results else "the beginning"
    after = _AFTER[wanted.after_interruptions]
    return f"a new machine goes on from {begins}; after {count} {after}"


def _wait_words(plan: RentPlan) -> str:
    hours = plan.wanted.wait_for_stock_hours
    if not hours:
        return "it gives up at once"
    price = plan.volume_usd_per_month
    cost = "costs nothing" if price is None else f"costs the volume only (${price:,.2f} a month)"
    return f"it waits up to {hours:g} h, which {cost}"


def _amounts(plan: RentPlan) -> list[str]:
    """Much money, many hours, or fewer than it may need."""
    wanted, first = plan.wanted, plan.options[0]
    budget, longest_h, gpu = wanted.budget_usd, wanted.max_duration_hours, first.candidate.gpu_type
    lines = []
    if budget is not None and budget > WARN_ABOVE_USD:
        lines.append(f"It may cost up to ${budget:,.2f}: more than ${WARN_ABOVE_USD:,.0f}.")
    if longest_h > WARN_ABOVE_HOURS:
        lines.append(f"It may run for {longest_h:g} h: more than {WARN_ABOVE_HOURS:g} h.")
    if first.hours and first.hours[1] > longest_h:
        lines.append(
            f"It may need {first.hours[1]:,.1f} h on {gpu}, and is ended after {longest_h:g} h."
        )
    if first.cost_usd and budget is not None and first.cost_usd[1] > budget:
        lines.append(
            f"It may need ${first.cost_usd[1]:,.2f} on {gpu}, and is ended at ${budget:,.2f}."
        )
    return lines


def _fit(plan: RentPlan) -> list[str]:
    """GPUs that are too small, only just large enough, or paid for in vain."""
    lines = []
    too_small = dict.fromkeys(each.candidate.gpu_type for each in plan.options if each.is_too_small)
    tight = dict.fromkeys(each.candidate.gpu_type for each in plan.options if each.is_tight)
    if too_small:
        lines.append(f"By the prediction the job does not fit into {', '.join(too_small)}.")
    if tight:
        lines.append(f"By the prediction it only just fits into {', '.join(tight)}.")
    count, used = plan.options[0].candidate.gpu_count, plan.work.spec.num_gpus
    if count > used:
        lines.append(f"{many(count, 'GPU')} are paid for, and the job uses {used} (num_gpus).")
    return lines


def _disk(plan: RentPlan) -> str:
    """A disk that may be too small; one that is too small for certain is refused before."""
    need, disk = plan.disk_need, plan.disk
    if disk.size_gb >= need.size_gb:
        return ""
    place = "machine's disk" if disk.kind == "container" else "network volume"
    return f"The {place} has {disk.size_gb} GB; {need.size_gb} GB are advised ({need.in_words})."


def _sold_out(plan: RentPlan) -> str:
    if not plan.is_sold_out:
        return ""
    return f"Nothing is in stock now ({stock_words(plan.options)}): the job would wait for it."
