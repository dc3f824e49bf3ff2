"""The controller's ledger: rented jobs, machines, what was done about them, and who may do it.

Knows tables and values, and neither a provider nor a clock of its own. Whoever leads replaces a
job's rental as a whole and names the version that it saw, so that two can never both go on from the
same place; what users wish stands in columns of its own and is never overwritten by that.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, Select, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import StoreError, UnknownJob
from shared.machine_request import MachineRequest
from shared.rental import (
    NOT_AT_WORK,
    Lease,
    LedgerEntry,
    Machine,
    MachinePurpose,
    MachineState,
    Rental,
    RentalPhase,
    Wish,
)
from shared.store.database import Database
from shared.store.schema import (
    leases,
    machines,
    rental_ledger,
    rentals,
    store_marks,
    training_jobs,
)
from shared.store.uninterrupted import uninterrupted
from shared.store.upsert import insert_into

CONTROLLER_LEASE = "controller"
OUTWARD_LEASE = "outward"
"""Whoever holds it sends to the web application, to webhooks and to people."""
_STATES = list(MachineState)


@dataclass(frozen=True, slots=True)
class StoredRental:
    """A rented job as the ledger has it."""

    job_id: str
    request: MachineRequest
    rental: Rental
    version: int
    wish: Wish
    wish_reason: str
    answer: str
    """To the rental's question; "" while there is none."""


class RentalConflict(StoreError):
    """Somebody else has moved the job meanwhile; look again."""


class Rentals:
    """Reads and writes of the ledger; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def mark(self) -> str:
        """What the names of this store's machines begin with; made once, the same ever after."""
        async with self._database.writing() as connection:
            row = {"id": 1, "mark": secrets.token_hex(4)}
            statement = insert_into(store_marks, self._database.dialect).on_conflict_do_nothing()
            await connection.execute(statement, [row])
            return str(await connection.scalar(select(store_marks.c.mark)))

    @uninterrupted
    async def get(self, job_id: str) -> StoredRental | None:
        """None for a job that runs on a machine of the user's own."""
        query = select(rentals).where(rentals.c.training_job_id == job_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else _rental_of(row)

    @uninterrupted
    async def open_ones(self) -> list[StoredRental]:
        """Those that are not done, oldest job first."""
        query = select(rentals).where(rentals.c.phase != RentalPhase.DONE.value)
        async with self._database.reading() as connection:
            found = (await connection.execute(query.order_by(rentals.c.training_job_id))).mappings()
            return [_rental_of(row) for row in found]

    @uninterrupted
    async def replace(
        self, before: StoredRental, rental: Rental, *, beside_at_most: int | None = None
    ) -> StoredRental:
        """Go on from `before`; with `beside_at_most`, only where no more others are at work.

        Raises:
            RentalConflict: it is not the latest any more, or too many are at work; nothing was
                written.
        """
        statement = (
            update(rentals)
            .where(rentals.c.training_job_id == before.job_id)
            .where(rentals.c.version == before.version)
            .values(version=before.version + 1, **_rental_columns(rental))
        )
        async with self._database.writing() as connection:
            if beside_at_most is not None:
                await _require_place(connection, before.job_id, beside_at_most)
            if (await connection.execute(statement)).rowcount != 1:
                raise RentalConflict(f"{before.job_id}: another controller has gone on with it.")
            query = select(rentals).where(rentals.c.training_job_id == before.job_id)
            return _rental_of((await connection.execute(query)).mappings().one())

    @uninterrupted
    async def wish(self, job_id: str, wish: Wish, reason: str = "") -> None:
        """Write down what the user wants; the first wish to cancel keeps its reason.

        Raises:
            UnknownJob: it is no rented job.
        """
        statement = (
            update(rentals)
            .where(rentals.c.training_job_id == job_id)
            .where(or_(rentals.c.wish != wish.value, rentals.c.wish_reason == ""))
            .values(wish=wish.value, wish_reason=reason)
        )
        async with self._database.writing() as connection:
            await connection.execute(statement)
            await _require(connection, job_id)

    @uninterrupted
    async def answer(self, job_id: str, answer: str) -> None:
        """Answer the question that the job asks; "" takes the answer back.

        Raises:
            UnknownJob: it is no rented job.
        """
        statement = update(rentals).where(rentals.c.training_job_id == job_id).values(answer=answer)
        async with self._database.writing() as connection:
            await connection.execute(statement)
            await _require(connection, job_id)

    @uninterrupted
    async def change_request(self, job_id: str, request: MachineRequest) -> None:
        """Let the user agree to something else: another budget, other candidates.

        Raises:
            UnknownJob: it is no rented job.
        """
        values = {"request": json.loads(request.model_dump_json())}
        statement = update(rentals).where(rentals.c.training_job_id == job_id).values(values)
        async with self._database.writing() as connection:
            await connection.execute(statement)
            await _require(connection, job_id)

    @uninterrupted
    async def intend(self, machine: Machine) -> None:
        """Write a machine down before the provider is asked for it.

        Raises:
            RentalConflict: the name is taken: another controller has asked for it.
        """
        async with self._database.writing() as connection:
            try:
                await connection.execute(insert(machines), _machine_row(machine))
            except IntegrityError as error:
                raise RentalConflict(f"{machine.name}: is written down already.") from error

    @uninterrupted
    async def save_machine(self, machine: Machine) -> Machine:
        """Write down what is known by now; a state never goes back, and an id stays."""
        row = _machine_row(machine)
        name = row.pop("name")
        later = _STATES.index(machine.state)
        allowed = [state.value for state in _STATES[: later + 1]]
        statement = (
            update(machines)
            .where(machines.c.name == name)
            .where(machines.c.state.in_(allowed))
            .values({**row, "machine_id": func.coalesce(machines.c.machine_id, row["machine_id"])})
        )
        query = select(machines).where(machines.c.name == name)
        async with self._database.writing() as connection:
            await connection.execute(statement)
            return machine_of((await connection.execute(query)).mappings().one())

    @uninterrupted
    async def machine(self, name: str) -> Machine | None:
        """The machine of that name."""
        query = select(machines).where(machines.c.name == name)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else machine_of(row)

    @uninterrupted
    async def machines(
        self, job_id: str | None = None, *, states: Iterable[MachineState] = ()
    ) -> list[Machine]:
        """In the order in which they were asked for; of one job, or in these states only."""
        query = select(machines).order_by(machines.c.created_at, machines.c.name)
        if job_id is not None:
            query = query.where(machines.c.training_job_id == job_id)
        if wanted := [state.value for state in states]:
            query = query.where(machines.c.state.in_(wanted))
        async with self._database.reading() as connection:
            return [machine_of(row) for row in (await connection.execute(query)).mappings()]

    @uninterrupted
    async def note(self, job_id: str, now: datetime, message: str, level: str = "info") -> None:
        """Add a line to the job's ledger; the same line as the last one is not repeated.

        A machine that looks after a volume belongs to no job, and has no ledger.
        """
        columns = rental_ledger.c
        last = (
            select(columns.seq, columns.message)
            .where(columns.training_job_id == job_id)
            .order_by(columns.seq.desc())
            .limit(1)
        )
        job = select(training_jobs.c.id).where(training_jobs.c.id == job_id)
        async with self._database.writing() as connection:
            row = (await connection.execute(last)).one_or_none()
            if row is not None and row.message == message:
                return
            if row is None and await connection.scalar(job) is None:
                return
            values = {
                "training_job_id": job_id,
                "seq": 1 if row is None else row.seq + 1,
                "time": now,
                "level": level,
                "message": message,
            }
            await connection.execute(insert(rental_ledger), values)

    @uninterrupted
    async def ledger(self, job_id: str, after: int = 0) -> list[LedgerEntry]:
        """The job's lines after this number, in order."""
        columns = rental_ledger.c
        query = (
            select(rental_ledger)
            .where(columns.training_job_id == job_id)
            .where(columns.seq > after)
            .order_by(columns.seq)
        )
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [
            LedgerEntry(
                row["training_job_id"], row["seq"], row["time"], row["level"], row["message"]
            )
            for row in found
        ]

    @uninterrupted
    async def take_lease(
        self,
        owner: str,
        label: str,
        now: datetime,
        lasting: timedelta,
        name: str = CONTROLLER_LEASE,
    ) -> Lease:
        """Lead, or go on leading, unless somebody else does; returns the lease that holds now."""
        expires_at = now + lasting
        row = {"name": name, "owner": owner, "label": label, "expires_at": expires_at}
        statement = insert_into(leases, self._database.dialect)
        statement = statement.on_conflict_do_update(
            index_elements=["name"],
            set_={"owner": owner, "label": label, "expires_at": expires_at},
            where=or_(leases.c.owner == owner, leases.c.expires_at <= now),
        )
        async with self._database.writing() as connection:
            await connection.execute(statement, [row])
            found = (await connection.execute(_lease_named(name))).mappings().one()
        return Lease(found["owner"], found["label"], found["expires_at"])

    @uninterrupted
    async def drop_lease(self, owner: str, now: datetime) -> None:
        """Let another lead at once; nothing happens where this owner does not lead."""
        statement = update(leases).where(leases.c.owner == owner).values(expires_at=now)
        async with self._database.writing() as connection:
            await connection.execute(statement)

    @uninterrupted
    async def lease(self, name: str = CONTROLLER_LEASE) -> Lease | None:
        """The last one that was given, over or not."""
        async with self._database.reading() as connection:
            row = (await connection.execute(_lease_named(name))).mappings().one_or_none()
        return None if row is None else Lease(row["owner"], row["label"], row["expires_at"])


def _lease_named(name: str) -> Select[Any]:
    return select(leases).where(leases.c.name == name)


def rental_row(job_id: str, request: MachineRequest, rental: Rental) -> dict[str, Any]:
    """All columns of `rentals`, for a job that is new."""
    return {
        "training_job_id": job_id,
        "request": json.loads(request.model_dump_json()),
        "wish": Wish.RUN.value,
        "wish_reason": "",
        "answer": "",
        "version": 1,
        **_rental_columns(rental),
    }


async def _require(connection: AsyncConnection, job_id: str) -> None:
    query = select(rentals.c.training_job_id).where(rentals.c.training_job_id == job_id)
    if await connection.scalar(query) is None:
        raise UnknownJob(f"{job_id} runs on no rented machine.")


async def _require_place(connection: AsyncConnection, job_id: str, beside_at_most: int) -> None:
    # All that are open, since on PostgreSQL only rows that are read make others wait.
    query = (
        select(rentals.c.training_job_id, rentals.c.phase)
        .where(rentals.c.phase != RentalPhase.DONE.value)
        .order_by(rentals.c.training_job_id)
        .with_for_update()
    )
    idle = {phase.value for phase in NOT_AT_WORK}
    found = (await connection.execute(query)).all()
    others = [row for row in found if row.training_job_id != job_id and row.phase not in idle]
    if len(others) > beside_at_most:
        raise RentalConflict(f"{job_id}: another job has taken the place.")


def _rental_columns(rental: Rental) -> dict[str, Any]:
    return {"phase": rental.phase.value, "rental": json.loads(rental.model_dump_json())}


def _rental_of(row: RowMapping) -> StoredRental:
    return StoredRental(
        job_id=row["training_job_id"],
        request=MachineRequest.model_validate_json(json.dumps(row["request"])),
        rental=Rental.model_validate_json(json.dumps(row["rental"])),
        version=row["version"],
        wish=Wish(row["wish"]),
        wish_reason=row["wish_reason"],
        answer=row["answer"],
    )


def _machine_row(machine: Machine) -> dict[str, Any]:
    return {
        "name": machine.name,
        "training_job_id": machine.job_id,
        "provider": machine.provider,
        "purpose": machine.purpose.value,
        "number": machine.number,
        "label": machine.label,
        "state": machine.state.value,
        "machine_id": machine.machine_id,
        "usd_per_hour": machine.usd_per_hour,
        "created_at": machine.created_at,
        "rented_at": machine.rented_at,
        "ending_at": machine.ending_at,
        "gone_at": machine.gone_at,
        "data_center": machine.data_center,
        "end_reason": machine.end_reason,
        "absences": machine.absences,
        "last_error": machine.last_error,
    }


def machine_of(row: RowMapping) -> Machine:
    values = dict(row)
    values["job_id"] = values.pop("training_job_id")
    values["purpose"] = MachinePurpose(values["purpose"])
    values["state"] = MachineState(values["state"])
    return Machine(**values)
