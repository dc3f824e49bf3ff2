"""The predicted memory of a job in words: one line, or the whole arithmetic."""

from __future__ import annotations

from rich.text import Text

from shared.memory.cards import Fit, cards_that_fit
from shared.memory.plan import Kind, MemoryPlan
from shared.number_text import many, size
from tui.services.memory_check import MemoryNeed

_KINDS = {
    Kind.KEPT: "from the first step to the last",
    Kind.STEP: "at the fullest moment of a step",
    Kind.ALLOWANCE: "allowances, not computed",
}
_UNVERIFIED = "unverified on hardware"
FIT_STYLES = {Fit.FITS: "green", Fit.TIGHT: "yellow", Fit.TOO_LARGE: "bold red"}


def need_in_words(need: MemoryNeed) -> str:
    """`about 61.0 GB of 80.0 GB (NVIDIA H100 PCIe)`, and whether that is well."""
    room, peak = need.room, need.plan.peak_bytes
    words = need.in_words
    match need.fit:
        case Fit.TOO_LARGE:
            words += ": too much" if room.on_gpu else ": too much, it may end out of memory"
        case Fit.TIGHT:
            words += ": tight"
    if need.fit is not Fit.TOO_LARGE and peak > room.memory_bytes - room.used_bytes:
        words += f"; {size(room.used_bytes)} of it are in use now"
    return words


def arithmetic_lines(plan: MemoryPlan, *, on_gpu: bool) -> list[Text]:
    """Every part of the sum with how it was computed, and the sum."""
    width = max(len(line.name) for line in plan.lines)
    arithmetic_width = max(len(line.arithmetic) for line in plan.lines)
    lines: list[Text] = []
    for kind, heading in _KINDS.items():
        parts = [line for line in plan.lines if line.kind is kind]
        total = size(plan.bytes_of(kind))
        lines.append(
            Text.assemble(
                (f"  {heading}".ljust(width + arithmetic_width + 6), "bold"), f"{total:>10}"
            )
        )
        lines += [
            Text(
                f"    {line.name:{width}}  {line.arithmetic:{arithmetic_width}}"
                f"{size(line.size_bytes):>10}",
                "dim",
            )
            for line in parts
        ]
    told = f" ({_UNVERIFIED})" if on_gpu else ""
    heading = f"  predicted peak{told}"
    peak = size(plan.peak_bytes)
    lines.append(Text(f"{heading:{width + arithmetic_width + 6}}{peak:>10}", "bold"))
    return lines


def remedy_lines(need: MemoryNeed) -> list[Text]:
    """What would fit, ready to be typed; nothing where the job does."""
    if need.fit is Fit.FITS:
        return []
    lines = [
        Text(f"  {remedy.as_options}   about {size(remedy.peak_bytes)}; {remedy.consequence}")
        for remedy in need.remedies
    ]
    larger = cards_that_fit(need.plan.peak_bytes) if need.room.on_gpu else []
    if larger:
        lines.append(Text(f"  --gpu {larger[0]}   also {', '.join(larger[1:])}".rstrip()))
    return lines


def replicas_in_words(num_gpus: int, need: MemoryNeed) -> str:
    """Empty for one GPU."""
    if num_gpus == 1:
        return ""
    each = size(need.plan.peak_bytes)
    return f"{many(num_gpus, 'replica')}, each with a model of its own: {each} on each"
