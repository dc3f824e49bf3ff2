"""One line of the machines table. Imports nothing heavy; all foreign text in it is clean."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from shared.clean_text import clean_line
from shared.number_text import date_and_clock, many, size

if TYPE_CHECKING:
    from shared.agent_protocol import GpuFacts, MachineFacts
    from tui.services.machines import MachineSight

_UNKNOWN = "–"
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class MachineRow:
    """What the table shows of a machine."""

    name: str
    state: str
    agent_version: str
    up: str
    gpus: str
    disk_free: str
    running: str
    last_contact: str


def machine_row(sight: MachineSight, now: datetime) -> MachineRow:
    """The machine in words; figures of one that is not reached are those of its last contact."""
    known = sight.known
    is_up = sight.state == "reachable" and known.agent_started_at is not None
    return MachineRow(
        name=clean_line(sight.name),
        state=state_words(sight),
        agent_version=clean_line(known.agent_version or _UNKNOWN),
        up=_age(known.agent_started_at, now) if is_up else _UNKNOWN,
        gpus=gpu_words(known.facts),
        disk_free=disk_words(known.facts),
        running=clean_line(", ".join(job.job_id for job in sight.running)) or _UNKNOWN,
        last_contact=date_and_clock(known.last_contact_at),
    )


def state_words(sight: MachineSight) -> str:
    """`unreachable since 2026-11-22 15:04`; the reason is told apart."""
    since = sight.known.unreachable_since
    if sight.state == "unreachable" and since is not None:
        return f"unreachable since {date_and_clock(since)}"
    return str(sight.state)


def gpu_words(facts: MachineFacts | None) -> str:
    """`2 × H100 80GB HBM3, 80 GiB`; memory is that of each."""
    if facts is None or (facts.gpu_trouble and not facts.gpus):
        return _UNKNOWN
    counted = Counter(map(_gpu, facts.gpus))
    return "; ".join(f"{count} × {gpu}" for gpu, count in counted.items()) or "none"


def disk_words(facts: MachineFacts | None) -> str:
    """Free disk space, where it is known."""
    return size(facts.disk_free_bytes) if facts and facts.disk_total_bytes else _UNKNOWN


def _gpu(gpu: GpuFacts) -> str:
    name = clean_line(gpu.name).removeprefix("NVIDIA ")
    memory = gpu.memory_total_mib
    return name if memory is None else f"{name}, {memory / 1024:.0f} GiB"


def _age(moment: datetime | None, now: datetime) -> str:
    """`5 minutes`, `3 hours`, `12 days`; a clock that runs ahead makes 0 minutes."""
    if moment is None:
        return _UNKNOWN
    seconds = max(0.0, (now - moment).total_seconds())
    if seconds >= 2 * _DAY_S:
        return many(int(seconds // _DAY_S), "day")
    if seconds >= 2 * 3600:
        return many(int(seconds // 3600), "hour")
    return many(int(seconds // 60), "minute")
