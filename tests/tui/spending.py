"""A store in which money was spent on days that are always the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.money.records import KeptVolume, MachineBill, SpendingOverride
from shared.rental import Machine, MachineState, RentalPhase
from shared.store.store import Store
from tests.shared.store.journal import job_spec
from tests.tui.rented import machine, put, request
from tui.services.hosts.names import RUNPOD_PREFIX

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
"""A Friday noon; the month began 19.5 days ago."""


async def add_job(store: Store, job_id: str, name: str, *tags: str, budget_usd: float = 40) -> None:
    """A rented job; nothing was paid for it yet."""
    spec = job_spec(job_id, name=name, tags=tags)
    await store.add_job(spec, RUNPOD_PREFIX + job_id, None, request(budget_usd=budget_usd))


async def add_machine(
    store: Store, job_id: str, begin: datetime, hours: float, number: int = 1, **values: Any
) -> Machine:
    """A machine of the job that has ended; 2.39 dollars an hour unless `usd_per_hour` is given."""
    end = begin + timedelta(hours=hours)
    used = machine(
        job_id,
        MachineState.GONE,
        number,
        **{
            "created_at": begin,
            "rented_at": begin,
            "ending_at": end,
            "gone_at": end,
            **values,
        },
    )
    await store.rentals.intend(used)
    return used


async def spend(store: Store) -> None:
    """Three jobs, four machines, a volume, two bills and an override, in three weeks."""
    await add_job(store, "job-elena", "Elena Morales, empathy v4", "elena", "empathy")
    await add_job(store, "job-pension", "pension anxiety", "elena")
    await add_job(store, "job-plain", "no tag at all")
    at = datetime(2026, 11, 2, 20, 0, tzinfo=UTC)
    first = await add_machine(store, "job-elena", at, 8.0)
    later = at + timedelta(days=9)
    second = await add_machine(
        store, "job-elena", later, 10.0, 2, label="2x A100_80GB secure US-KS-2", usd_per_hour=3.28
    )
    await add_machine(store, "job-pension", datetime(2026, 11, 18, 9, 0, tzinfo=UTC), 5.5)
    await add_machine(store, "job-plain", datetime(2026, 10, 12, 9, 0, tzinfo=UTC), 2.0)
    billed_late = NOW - timedelta(days=1)
    await store.spending.save_bill(MachineBill(first.name, 19.12, billed_late))
    await store.spending.save_bill(MachineBill(second.name, 36.40, NOW))
    volume = KeptVolume(
        "runpod", "vol-1", "llama cache", 200, "US-KS-2", 14.0, at, NOW - timedelta(hours=1)
    )
    await store.spending.saw_volume(volume)
    for job_id in ("job-elena", "job-plain"):
        await put(store, job_id, phase=RentalPhase.DONE, since=NOW)
    override = SpendingOverride(NOW, "2026-11", "job-elena", 60.0, 75.5, "the client pays for it")
    await store.spending.record_override(override)
