"""What rented machines and volumes cost on which day: the lines that every report is made of.

From the store alone. A machine that runs over midnight (UTC) is a line on each of its days.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from shared.events import utc_now
from shared.money.machine_cost import gpus_of, paid_span
from shared.money.periods import Span
from shared.money.records import KeptVolume, MachineBill
from shared.rental import Machine
from shared.store.store import Store
from shared.store.stored import StoredJob


@dataclass(frozen=True, slots=True)
class CostLine:
    """One machine, or one volume, on one day."""

    day: date
    """UTC."""
    job_id: str
    """"" for storage."""
    job_name: str
    """Of storage, the volume's name."""
    gpu_label: str
    """`H100_PCIE`; `CPU` for a machine without one, "" for storage."""
    tags: tuple[str, ...]
    kind: Literal["machine", "storage"]
    hours: float
    gpu_hours: float
    usd: float
    """By our own ledger."""
    billed_usd: float | None
    """By the provider's bill, spread over the machine's days as our figure is; None where it is
    not known."""


async def cost_lines(store: Store, since: datetime, until: datetime) -> list[CostLine]:
    """All that was paid for in this span, oldest day first; up to now where `until` is later."""
    now = utc_now()
    span = Span(since, min(until, now))
    jobs = {job.job_id: job for job in await store.list_jobs()}
    bills = await store.spending.bills()
    lines = [
        line
        for machine in await store.rentals.machines()
        for line in _machine_lines(machine, span, now, jobs.get(machine.job_id), bills)
    ]
    for volume in await store.spending.volumes():
        lines += _volume_lines(volume, span)
    return sorted(lines, key=lambda line: (line.day, line.kind, line.job_name, line.job_id))


def _machine_lines(
    machine: Machine,
    span: Span,
    now: datetime,
    job: StoredJob | None,
    bills: Mapping[str, MachineBill],
) -> Iterator[CostLine]:
    whole = paid_span(machine, now)
    gpu_label, gpu_count = gpus_of(machine)
    bill = bills.get(machine.name)
    billed_usd = None if bill is None else bill.billed_usd
    for day, part in whole.within(span).days():
        yield CostLine(
            day=day,
            job_id=machine.job_id,
            job_name=machine.job_id if job is None else job.spec.name,
            gpu_label=gpu_label,
            tags=() if job is None else job.spec.tags,
            kind="machine",
            hours=part.hours,
            gpu_hours=part.hours * gpu_count,
            usd=part.hours * machine.usd_per_hour,
            billed_usd=None if billed_usd is None else billed_usd * part.hours / whole.hours,
        )


def _volume_lines(volume: KeptVolume, span: Span) -> Iterator[CostLine]:
    for day, part in Span(volume.first_seen_at, volume.last_seen_at).within(span).days():
        yield CostLine(
            day=day,
            job_id="",
            job_name=volume.name,
            gpu_label="",
            tags=(),
            kind="storage",
            hours=part.hours,
            gpu_hours=0.0,
            usd=part.hours * volume.usd_per_hour,
            billed_usd=None,
        )
