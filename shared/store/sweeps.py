"""Sweeps: jobs that are written down together, and share one budget if they are rented.

Knows tables and values. A share of the budget is given in one transaction that locks the sweep, so
that jobs which begin at once never get the same money, whoever drives them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import InvalidJobSpec, StoreError, UnknownJob
from shared.lifecycle import JobStatus
from shared.machine_request import MachineRequest
from shared.rental import Rental, RentalPhase, Wish
from shared.store import rows
from shared.store.database import Database
from shared.store.rentals import machine_of, rental_row
from shared.store.schema import machines, rentals, sweeps, training_jobs
from shared.store.stored import StoredJob
from shared.store.uninterrupted import uninterrupted
from shared.store.upsert import insert_into
from shared.sweep import JobMoney, Sweep, share_usd


@dataclass(frozen=True, slots=True)
class Share:
    """What a job may spend of its sweep's budget."""

    usd: float
    budget_usd: float
    """Of the whole sweep."""


class Sweeps:
    """Reads and writes of sweeps; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def add(
        self,
        sweep: Sweep,
        jobs: Sequence[StoredJob],
        requests: Mapping[str, MachineRequest] | None = None,
    ) -> int:
        """Write down the sweep with all its jobs, or none of it; returns how many were new.

        `requests` say by job id what is to be rented; None for machines that are there.

        Raises:
            InvalidJobSpec: an id belongs to another sweep, or to a job with another spec.
        """
        async with self._database.writing() as connection:
            await self._add_sweep(connection, sweep)
            fresh = [job for job in jobs if not await _is_there(connection, job)]
            for job in fresh:
                await connection.execute(insert(training_jobs), rows.job_row(job))
                if requests is not None:
                    rental = Rental(since=job.created_at)
                    row = rental_row(job.job_id, requests[job.job_id], rental)
                    await connection.execute(insert(rentals), row)
        return len(fresh)

    @uninterrupted
    async def find(self, sweep_id: str) -> Sweep:
        """The sweep with this id, the only one whose id begins so, or the only one of that name.

        Raises:
            UnknownJob: none, or several.
        """
        known = await self._all()
        exact = [sweep for sweep in known if sweep.sweep_id == sweep_id]
        begun = [sweep for sweep in known if sweep_id and sweep.sweep_id.startswith(sweep_id)]
        named = [sweep for sweep in known if sweep.name == sweep_id]
        found = exact or begun or named
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(sweep.sweep_id for sweep in found[:5])
            raise UnknownJob(f"{sweep_id!r} fits several sweeps: {several}. Type an id.")
        raise UnknownJob(f"there is no sweep {sweep_id!r}. `brightrun sweep list` lists them.")

    @uninterrupted
    async def get(self, sweep_id: str) -> Sweep | None:
        """The sweep with exactly this id."""
        query = select(sweeps).where(sweeps.c.id == sweep_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else _sweep_of(row)

    async def all(self) -> list[Sweep]:
        """Newest first."""
        return await self._all()

    @uninterrupted
    async def _all(self) -> list[Sweep]:
        query = select(sweeps).order_by(sweeps.c.created_at.desc(), sweeps.c.id)
        async with self._database.reading() as connection:
            return [_sweep_of(row) for row in (await connection.execute(query)).mappings()]

    @uninterrupted
    async def jobs(self, sweep_id: str) -> list[StoredJob]:
        """Those of the sweep, in the order in which it lists them."""
        query = select(training_jobs).where(training_jobs.c.sweep_id == sweep_id)
        async with self._database.reading() as connection:
            found = (await connection.execute(query.order_by(training_jobs.c.id))).mappings()
            return [rows.job_of(row) for row in found]

    @uninterrupted
    async def take_share(self, job_id: str, now: datetime) -> Share | None:
        """Give a rented job its share of the sweep's budget, which its request then names.

        Asked again, it is the same share. None for a job of no sweep that has a budget.
        """
        async with self._database.writing() as connection:
            sweep_id = await connection.scalar(
                select(training_jobs.c.sweep_id).where(training_jobs.c.id == job_id)
            )
            # SQLite leaves the lock out: there the whole transaction has its turn.
            query = select(sweeps).where(sweeps.c.id == sweep_id).with_for_update()
            row = (await connection.execute(query)).mappings().one_or_none()
            if row is None or row["budget_usd"] is None:
                return None
            budget_usd, caps = float(row["budget_usd"]), dict(row["caps_usd"])
            if job_id not in caps:
                money = await _money_of(connection, row["id"], caps, now)
                caps[job_id] = share_usd(budget_usd, money)
                changed = update(sweeps).where(sweeps.c.id == row["id"]).values(caps_usd=caps)
                await connection.execute(changed)
                await _change_budget(connection, job_id, caps[job_id])
            return Share(caps[job_id], budget_usd)

    @uninterrupted
    async def money(self, sweep_id: str, now: datetime) -> dict[str, JobMoney]:
        """What each rented job of the sweep may cost and has cost, by its id."""
        query = select(sweeps.c.caps_usd).where(sweeps.c.id == sweep_id)
        async with self._database.reading() as connection:
            caps = dict(await connection.scalar(query) or {})
            ids = await _rented_ids(connection, sweep_id)
            money = await _money_of(connection, sweep_id, caps, now)
        return dict(zip(ids, money, strict=True))

    async def _add_sweep(self, connection: AsyncConnection, sweep: Sweep) -> None:
        row = {
            "id": sweep.sweep_id,
            "name": sweep.name,
            "definition": json.loads(sweep.model_dump_json()),
            "budget_usd": sweep.budget_usd,
            "caps_usd": {},
            "created_at": sweep.created_at,
        }
        statement = insert_into(sweeps, self._database.dialect).on_conflict_do_nothing()
        await connection.execute(statement, [row])
        query = select(sweeps).where(sweeps.c.id == sweep.sweep_id)
        known = _sweep_of((await connection.execute(query)).mappings().one())
        if not known.same_work_as(sweep):
            raise InvalidJobSpec(
                f"sweep {sweep.sweep_id} exists with other values, another name or another "
                "budget: choose another --sweep-id."
            )


async def _is_there(connection: AsyncConnection, job: StoredJob) -> bool:
    query = select(training_jobs).where(training_jobs.c.id == job.job_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        return False
    known = rows.job_of(row)
    if known.sweep_id != job.sweep_id or not known.spec.same_work_as(job.spec):
        raise InvalidJobSpec(
            f"job {job.job_id} exists with other settings or another dataset: "
            "choose another --sweep-id."
        )
    return True


async def _rented_ids(connection: AsyncConnection, sweep_id: str) -> list[str]:
    of_sweep = select(training_jobs.c.id).where(training_jobs.c.sweep_id == sweep_id)
    query = select(rentals.c.training_job_id).where(rentals.c.training_job_id.in_(of_sweep))
    return list(await connection.scalars(query.order_by(rentals.c.training_job_id)))


async def _money_of(
    connection: AsyncConnection, sweep_id: str, caps: Mapping[str, float], now: datetime
) -> list[JobMoney]:
    """Of each rented job of the sweep, by the order of their ids."""
    ids = await _rented_ids(connection, sweep_id)
    query = (
        select(rentals, training_jobs.c.status)
        .join(training_jobs, training_jobs.c.id == rentals.c.training_job_id)
        .where(rentals.c.training_job_id.in_(ids))
    )
    known = {row["training_job_id"]: row for row in (await connection.execute(query)).mappings()}
    bought = select(machines).where(machines.c.training_job_id.in_(ids))
    spent = dict.fromkeys(ids, 0.0)
    paid = set()
    for row in (await connection.execute(bought)).mappings():
        machine = machine_of(row)
        spent[machine.job_id] += machine.cost_usd(now)
        if machine.state.may_exist:
            paid.add(machine.job_id)
    return [_job_money(known[each], spent[each], each in paid, caps.get(each)) for each in ids]


def _job_money(row: RowMapping, spent: float, is_paid: bool, cap: float | None) -> JobMoney:
    is_done = row["phase"] == RentalPhase.DONE.value and not is_paid
    # Whoever is called off in the queue will not begin; a final job has nothing to begin.
    is_off = row["wish"] == Wish.CANCEL.value or JobStatus(row["status"]).is_final
    if cap:  # As it stands in the request: the user may have agreed to more meanwhile.
        cap = float(row["request"]["budget_usd"])
    return JobMoney(spent, cap, is_done or (is_off and cap is None and not is_paid))


async def _change_budget(connection: AsyncConnection, job_id: str, budget_usd: float) -> None:
    """What the pod and the controller hold the job to; a share of nothing is never rented for."""
    if budget_usd <= 0:
        return
    query = select(rentals.c.request).where(rentals.c.training_job_id == job_id)
    request = {**(await connection.scalar(query) or {}), "budget_usd": budget_usd}
    where = rentals.c.training_job_id == job_id
    await connection.execute(update(rentals).where(where).values(request=request))


def _sweep_of(row: RowMapping) -> Sweep:
    definition: dict[str, Any] = row["definition"]
    try:
        return Sweep.model_validate_json(json.dumps(definition))
    except ValidationError as error:
        raise StoreError(
            f"sweep {row['id']} was written by another version of brightrun: update this one."
        ) from error
