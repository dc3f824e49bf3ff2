"""Costs as they are shown: grouped, added up, and said in words. From values alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from shared.clean_text import clean_line
from shared.number_text import many, usd

if TYPE_CHECKING:
    from shared.forecast.accuracy import Accuracy
    from shared.money.bills import BillDifference
    from tui.services.cost_report import MonthCosts
    from tui.services.spending.costs import CostLine

Grouping = Literal["day", "job", "gpu", "tag"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)
PERIODS = (7, 30, 90)

NONE = "(none)"
STORAGE = "storage"
SUMS_EXCEED = "a job with several tags counts in each of them: together they may exceed the total"

_NEAR_LIMIT = 0.8
_NOTABLE_BIAS = 0.05
_CENT = 0.01


@dataclass(frozen=True, slots=True)
class CostSum:
    """What some lines come to."""

    machine_usd: float
    storage_usd: float
    hours: float
    gpu_hours: float
    jobs: int
    billed_usd: float
    """By the provider's bill, as far as it is known."""
    billed_of_usd: float
    """What the same machines cost by our own ledger."""

    @property
    def usd(self) -> float:
        """Machines and storage."""
        return self.machine_usd + self.storage_usd

    @property
    def is_billed(self) -> bool:
        """True where the bill is known for any of it."""
        return self.billed_of_usd > 0 or self.billed_usd > 0

    @property
    def difference_usd(self) -> float:
        """How much more the provider has billed than we have counted."""
        return self.billed_usd - self.billed_of_usd


@dataclass(frozen=True, slots=True)
class CostGroup:
    """One row: a day, a job, a GPU type or a tag."""

    key: str
    """Unique among the rows; a job's id."""
    label: str
    """Cleaned, on one line."""
    sum: CostSum


def added_up(lines: Iterable[CostLine]) -> CostSum:
    """All of them together."""
    machine_usd = storage_usd = hours = gpu_hours = billed = billed_of = 0.0
    jobs: set[str] = set()
    for line in lines:
        if line.kind == "storage":
            storage_usd += line.usd
            continue
        machine_usd += line.usd
        hours += line.hours
        gpu_hours += line.gpu_hours
        jobs.add(line.job_id)
        if line.billed_usd is not None:
            billed += line.billed_usd
            billed_of += line.usd
    return CostSum(machine_usd, storage_usd, hours, gpu_hours, len(jobs), billed, billed_of)


def grouped(lines: Iterable[CostLine], by: Grouping) -> list[CostGroup]:
    """One row for each; days newest first, everything else dearest first."""
    found: dict[str, list[CostLine]] = {}
    labels: dict[str, str] = {}
    for line in lines:
        for key, label in _keys(line, by):
            found.setdefault(key, []).append(line)
            labels[key] = label  # Cleaned below: once for a group, not once for a line.
    groups = [
        CostGroup(key, clean_line(labels[key]) or NONE, added_up(some))
        for key, some in found.items()
    ]
    if by == "day":
        return sorted(groups, key=lambda group: group.key, reverse=True)
    return sorted(groups, key=lambda group: (-group.sum.usd, group.label, group.key))


def _keys(line: CostLine, by: Grouping) -> Iterator[tuple[str, str]]:
    """The rows in which the line counts: (key, label as it came)."""
    if by == "day":
        day = f"{line.day:%Y-%m-%d}"
        yield day, day
    elif line.kind == "storage":
        # No job's id, GPU or tag begins with a space.
        if by == "job":
            yield f" {line.job_name}", f"{STORAGE}: {line.job_name}"
        else:
            yield f" {STORAGE}", STORAGE
    elif by == "job":
        yield line.job_id, line.job_name
    elif by == "gpu":
        yield line.gpu_label, line.gpu_label
    else:
        for tag in dict.fromkeys(line.tags):
            yield f"#{tag}", tag
        if not line.tags:
            yield "", NONE


def share_bar(share: float, width: int) -> str:
    """`━━━━━╸` for a share of the longest bar; what is not nothing is seen."""
    halves = round(min(max(share, 0.0), 1.0) * width * 2)
    if share > 0:
        halves = max(halves, 1)
    return "━" * (halves // 2) + "╸" * (halves % 2)


def total_words(total: CostSum) -> list[str]:
    """Parts of the line above everything."""
    return [
        usd(total.usd, 12),
        f"machines {usd(total.machine_usd, 12)}",
        f"storage {usd(total.storage_usd, 12)}",
        f"{total.gpu_hours:,.1f} GPU hours",
        many(total.jobs, "job"),
    ]


# --- the month --------------------------------------------------------------------------------


def month_words(month: MonthCosts) -> str:
    """`November 2026: $123.45 of $500.00`."""
    limit = usd(month.limit_usd, 12)
    return f"{month.begin:%B %Y}: {usd(month.spent_usd, 12)} of {limit}"


def month_share(month: MonthCosts) -> float:
    """Of the limit; may be above 1."""
    return month.spent_usd / month.limit_usd if month.limit_usd > 0 else 0.0


def month_style(share: float) -> str:
    """Of a share of the limit."""
    if share >= 1:
        return "bold red"
    return "yellow" if share >= _NEAR_LIMIT else "green"


def outlook_words(month: MonthCosts) -> str:
    """What may still come in this month."""
    words = ["no job is open"]
    if month.open_most_usd > 0:
        expected, most = usd(month.open_usd, 12), usd(month.open_most_usd, 12)
        words = [f"open jobs may cost ~{expected} more, {most} at most"]
        if expected == most:  # Nothing was forecast for them.
            words = [f"open jobs may cost {most} more at most"]
    if month.projected_usd is not None and month.spent_usd > 0:
        words.append(
            f"at this pace {usd(month.projected_usd, 12)} by {month.days} {month.begin:%b}"
        )
    return ", ".join(words)


def is_beyond(month: MonthCosts) -> bool:
    """True if what is open, or the pace, would lead beyond the limit."""
    ends = [month.spent_usd + month.open_usd, month.projected_usd or 0.0]
    return max(ends) > month.limit_usd


# --- how good estimates and ledger were -------------------------------------------------------


def accuracy_words(accuracy: Accuracy) -> str:
    """`past estimates: 7 jobs, hours off by 12 % in the median, 6 of 7 inside the range`."""
    if not accuracy.n_jobs:
        return "past estimates: no completed job of these days to compare with"
    parts = [many(accuracy.n_jobs, "job")]
    if accuracy.hours_error is not None:
        parts.append(f"hours off by {_percent(accuracy.hours_error)} in the median")
    parts.append(f"{accuracy.n_inside} of {accuracy.n_jobs} inside the range")
    if accuracy.dollars_error is not None:
        parts.append(f"dollars off by {_percent(accuracy.dollars_error)}")
    if accuracy.bias is not None and abs(accuracy.bias) >= _NOTABLE_BIAS:
        direction = "longer" if accuracy.bias > 0 else "shorter"
        parts.append(f"jobs take {_percent(abs(accuracy.bias))} {direction}")
    return f"past estimates: {', '.join(parts)}"


def bill_words(total: CostSum, *, may_grow: bool = False) -> str:
    """`the bill: $11.20 for what we count as $11.00, $0.20 (1.8 %) more`."""
    if not total.is_billed:
        return "the bill: nothing is known of it yet"
    words = f"the bill: {usd(total.billed_usd, 12)} for what we count as "
    words += f"{usd(total.billed_of_usd, 12)}, "
    words += difference_words(total.difference_usd, total.billed_of_usd)
    return f"{words}; some of it may still come" if may_grow else words


def difference_words(difference_usd: float, ours_usd: float) -> str:
    """`$0.20 (1.8 %) more`: what the provider wants, beside what we count."""
    if abs(difference_usd) < _CENT / 2:
        return "no difference"
    share = f" ({_percent(abs(difference_usd) / ours_usd)})" if ours_usd > 0 else ""
    return f"{usd(abs(difference_usd), 12)}{share} {'more' if difference_usd > 0 else 'less'}"


def notable(differences: Iterable[BillDifference]) -> list[BillDifference]:
    """Those that somebody should look into, the largest first."""
    found = [difference for difference in differences if difference.is_notable]
    return sorted(found, key=lambda difference: -abs(difference.usd))


def notable_words(differences: Sequence[BillDifference], most: int = 3) -> list[str]:
    """A line for each of the first, and one for the rest."""
    words = [
        f"{each.machine.job_id}, machine {each.machine.number}: billed {usd(each.billed_usd, 12)}, "
        f"{difference_words(each.usd, each.ours_usd)} than we count"
        for each in differences[:most]
    ]
    if len(differences) > most:
        words.append(f"and {many(len(differences) - most, 'more machine')} with a difference")
    return words


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %" if share < 0.1 else f"{share * 100:.0f} %"
