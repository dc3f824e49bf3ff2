"""Finds settings with which a run that is too large would fit, the smallest change first.

Nothing here changes what is learned without saying so: a shorter pack and the 8-bit optimizer leave
the training as it is, a lower rank makes a smaller adapter, a shorter length leaves rows out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from shared.memory.cards import Fit, judge
from shared.memory.plan import plan_memory
from shared.memory.workload import Workload

SMALLEST_PACK = 256
"""The lowest that `pack_tokens` allows."""
SMALLEST_RANK = 8
"""The rank of the conservative preset; below it, an adapter of all linear layers saves little more
(16 bytes a parameter)."""
_LENGTH_STEP = 256
_SMALLEST_LENGTH = 256


@dataclass(frozen=True, slots=True)
class Remedy:
    """Settings to change, as they are typed; what they cost; and the peak that is left."""

    settings: dict[str, str]
    consequence: str
    peak_bytes: int

    @property
    def as_options(self) -> str:
        """`--set pack_tokens=4096`, ready to be typed."""
        return " ".join(f"--set {name}={value}" for name, value in self.settings.items())


@dataclass(frozen=True, slots=True)
class _Change:
    workload: Workload
    settings: dict[str, str]
    consequence: str


def remedies(workload: Workload, memory_bytes: int) -> list[Remedy]:
    """Each smallest change that is enough alone; else all of them together, if that is enough."""
    found = [_first_that_fits(list(kind(workload)), memory_bytes) for kind in _KINDS]
    alone = [remedy for remedy in found if remedy is not None]
    if alone:
        return alone
    together = _first_that_fits(list(_all_together(workload)), memory_bytes)
    return [together] if together else []


def _first_that_fits(changes: Sequence[_Change], memory_bytes: int) -> Remedy | None:
    """Each of the changes leaves less than the one before, so the place is searched by halves."""

    def fits(change: _Change) -> bool:
        return judge(plan_memory(change.workload).peak_bytes, memory_bytes) is Fit.FITS

    place = bisect_left(changes, True, key=fits)
    if place == len(changes):
        return None
    first = changes[place]
    peak_bytes = plan_memory(first.workload).peak_bytes
    return Remedy(first.settings, first.consequence, peak_bytes)


def _shorter_packs(workload: Workload) -> Iterator[_Change]:
    tokens = min(workload.pack_tokens, workload.micro_batch_tokens)
    while tokens > max(workload.longest_row_tokens, SMALLEST_PACK):
        tokens = max(tokens // 2, workload.longest_row_tokens, SMALLEST_PACK)
        changed = replace(workload, pack_tokens=tokens)
        yield _Change(changed, {"pack_tokens": str(tokens)}, "the same training, a little slower")


def _optimizer(workload: Workload) -> Iterator[_Change]:
    if "8bit" not in workload.optim:
        changed = replace(workload, optim="paged_adamw_8bit")
        yield _Change(changed, {"optim": changed.optim}, "optimizer state in 8 bits")


def _lower_ranks(workload: Workload) -> Iterator[_Change]:
    rank = workload.lora_r
    while rank > SMALLEST_RANK:
        rank = max(rank // 2, SMALLEST_RANK)
        yield _Change(replace(workload, lora_r=rank), {"lora_r": str(rank)}, "a smaller adapter")


def _shorter_rows(workload: Workload) -> Iterator[_Change]:
    """Packs shrink with the rows, where they are longer."""
    length = (workload.longest_row_tokens - 1) // _LENGTH_STEP * _LENGTH_STEP
    while length >= _SMALLEST_LENGTH:
        changed = workload.with_rows_up_to(length)
        settings = {"max_seq_length": str(length), "over_long": "exclude"}
        if changed.pack_tokens > length:
            changed = replace(changed, pack_tokens=length)
            settings["pack_tokens"] = str(length)
        yield _Change(changed, settings, "longer conversations are left out")
        length -= _LENGTH_STEP


_KINDS: tuple[Callable[[Workload], Iterator[_Change]], ...] = (
    _shorter_packs,
    _optimizer,
    _lower_ranks,
    _shorter_rows,
)
"""What costs least first."""


def _all_together(workload: Workload) -> Iterator[_Change]:
    """Each kind is changed as far as it goes before the next is touched."""
    changed, settings, consequences = workload, dict[str, str](), list[str]()
    for kind in _KINDS:
        last = None
        for last in kind(changed):
            yield _Change(
                last.workload,
                {**settings, **last.settings},
                "; ".join([*consequences, last.consequence]),
            )
        if last is not None:
            changed, settings = last.workload, {**settings, **last.settings}
            consequences.append(last.consequence)
