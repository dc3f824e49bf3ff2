"""What is written down about money: notices, overrides of the monthly limit, bills and volumes.

Knows tables and values, and neither a provider nor a clock of its own.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select

from shared.money.records import (
    KeptVolume,
    MachineBill,
    MoneyNotice,
    NoticeScope,
    SpendingOverride,
)
from shared.store.database import Database
from shared.store.schema import (
    forecasts,
    machine_bills,
    money_notices,
    network_volumes,
    spending_overrides,
)
from shared.store.uninterrupted import uninterrupted
from shared.store.upsert import insert_into


class SpendingRecords:
    """Reads and writes; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def tell_once(self, notice: MoneyNotice) -> bool:
        """Write the notice down; False if this share of it was told before."""
        row = {
            "scope": notice.scope.value,
            "key": notice.key,
            "share": notice.share,
            "time": notice.time,
            "message": notice.message,
        }
        statement = insert_into(money_notices, self._database.dialect).on_conflict_do_nothing()
        async with self._database.writing() as connection:
            return (await connection.execute(statement.values(row))).rowcount == 1

    @uninterrupted
    async def notices_since(self, moment: datetime) -> list[MoneyNotice]:
        """What was told after this moment, in order."""
        columns = money_notices.c
        query = select(money_notices).where(columns.time > moment)
        query = query.order_by(columns.time, columns.share)
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [
            MoneyNotice(
                NoticeScope(row["scope"]), row["key"], row["share"], row["time"], row["message"]
            )
            for row in found
        ]

    @uninterrupted
    async def record_override(self, override: SpendingOverride) -> None:
        """Write down who may spend beyond the limit, and why."""
        values = {
            "time": override.time,
            "month": override.month,
            "training_job_id": override.job_id,
            "limit_usd": override.limit_usd,
            "expected_usd": override.expected_usd,
            "reason": override.reason,
        }
        async with self._database.writing() as connection:
            await connection.execute(insert(spending_overrides), values)

    @uninterrupted
    async def overrides(
        self, month: str | None = None, job_id: str | None = None
    ) -> list[SpendingOverride]:
        """All that were ever recorded, oldest first; of one month, of one job."""
        columns = spending_overrides.c
        query = select(spending_overrides).order_by(columns.id)
        if month is not None:
            query = query.where(columns.month == month)
        if job_id is not None:
            query = query.where(columns.training_job_id == job_id)
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [
            SpendingOverride(
                row["time"],
                row["month"],
                row["training_job_id"],
                row["limit_usd"],
                row["expected_usd"],
                row["reason"],
            )
            for row in found
        ]

    @uninterrupted
    async def save_bill(self, bill: MachineBill) -> None:
        """The latest figure; one that is None leaves an earlier one as it is."""
        row: dict[str, Any] = {"machine_name": bill.machine_name, "asked_at": bill.asked_at}
        if bill.billed_usd is not None:
            row["billed_usd"] = bill.billed_usd
        async with self._database.writing() as connection:
            await self._database.upsert(connection, machine_bills, [row])

    @uninterrupted
    async def bills(self) -> dict[str, MachineBill]:
        """By the machine's name: every machine whose bill was asked for."""
        async with self._database.reading() as connection:
            found = (await connection.execute(select(machine_bills))).mappings().all()
        return {row["machine_name"]: MachineBill(**row) for row in found}

    @uninterrupted
    async def forecast(self, job_id: str) -> Any:
        """What was forecast for the job, as it was kept; None where nothing was."""
        columns = forecasts.c
        query = select(columns.forecast).where(columns.training_job_id == job_id)
        async with self._database.reading() as connection:
            return await connection.scalar(query)

    @uninterrupted
    async def saw_volume(self, volume: KeptVolume) -> None:
        """It exists now. When it was seen first stays, and so does a price that nobody says now."""
        row: dict[str, Any] = {
            "provider": volume.provider,
            "volume_id": volume.volume_id,
            "name": volume.name,
            "size_gb": volume.size_gb,
            "data_center": volume.data_center,
            "usd_per_month": volume.usd_per_month,
            "first_seen_at": volume.first_seen_at,
            "last_seen_at": volume.last_seen_at,
        }
        statement = insert_into(network_volumes, self._database.dialect)
        new = statement.excluded
        price = func.coalesce(new.usd_per_month, network_volumes.c.usd_per_month)
        changed: dict[str, Any] = {
            "name": new.name,
            "size_gb": new.size_gb,
            "data_center": new.data_center,
            "last_seen_at": new.last_seen_at,
            "usd_per_month": price,
        }
        statement = statement.on_conflict_do_update(
            index_elements=["provider", "volume_id"], set_=changed
        )
        async with self._database.writing() as connection:
            await connection.execute(statement, [row])

    @uninterrupted
    async def volumes(self) -> list[KeptVolume]:
        """All that our jobs were ever given, oldest first."""
        query = select(network_volumes).order_by(network_volumes.c.first_seen_at)
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [KeptVolume(**row) for row in found]
