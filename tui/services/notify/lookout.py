"""Looks into the store for what deserves a word, cheaply and again and again.

It writes nothing: the worker that sends, and each console that rings, has one of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from shared.events import utc_now
from shared.notification import Notification
from shared.rental import MachineState
from shared.store.store import Store
from shared.store.stored import StoredJob
from tui.services.notify import happenings

LATENESS = timedelta(minutes=2)
"""A row is written a little after the moment that it names."""


class Lookout:
    """Finds each thing once; of what was before `after`, only what may go on."""

    def __init__(self, store: Store, after: datetime) -> None:
        self._store = store
        self._after = after - LATENESS
        self._versions: dict[str, datetime] = {}
        self._is_first = True
        self._found: set[str] = set()

    async def look(self) -> list[Notification]:
        """What is new since the last look, oldest first.

        The first look finds everything of jobs that are not final or changed since `after`.

        Raises:
            StoreError: the store cannot be read.
        """
        begin = utc_now()
        found = [one async for one in self._all() if one.id not in self._found]
        self._found.update(one.id for one in found)
        self._after = max(self._after, begin - LATENESS)
        return sorted(found, key=lambda one: one.time)

    async def _all(self) -> AsyncIterator[Notification]:
        now = utc_now()
        changed = await self._changed_jobs()
        for job in changed.values():
            machines = await self._store.rentals.machines(job.job_id) if job.state.rented else []
            for one in happenings.of_job(job, machines, now):
                yield one
        async for one in self._of_rentals(changed):
            yield one
        for machine in await self._store.rentals.machines(states=[MachineState.ENDING]):
            for one in happenings.of_machine(machine, now):
                yield one
        async for one in self._of_records():
            yield one

    async def _changed_jobs(self) -> dict[str, StoredJob]:
        versions = await self._store.job_versions()
        if self._is_first:
            jobs = await self._store.list_jobs()
            wanted = [job for job in jobs if not job.status.is_final or self._is_new(job)]
        else:
            changed = [key for key, at in versions.items() if self._versions.get(key) != at]
            wanted = [await self._store.get_job(job_id) for job_id in changed]
        self._versions, self._is_first = versions, False
        return {job.job_id: job for job in wanted}

    def _is_new(self, job: StoredJob) -> bool:
        return job.updated_at > self._after

    async def _of_rentals(self, changed: dict[str, StoredJob]) -> AsyncIterator[Notification]:
        rentals = {stored.job_id: stored for stored in await self._store.rentals.open_ones()}
        for job in changed.values():
            if job.state.rented and job.job_id not in rentals:
                done = await self._store.rentals.get(job.job_id)
                if done is not None:
                    rentals[job.job_id] = done
        for job_id, stored in rentals.items():
            if stored.rental.interruptions or stored.rental.question:
                job = changed.get(job_id) or await self._store.get_job(job_id)
                for one in happenings.of_rental(job, stored):
                    yield one

    async def _of_records(self) -> AsyncIterator[Notification]:
        """Of rows that are written once and never change."""
        store = self._store
        for notice in await store.spending.notices_since(self._after):
            yield happenings.of_money(notice, await self._name_of(notice.key))
        for job_id, attempt, time in await store.notifications.adapters_verified_since(self._after):
            yield happenings.of_artifact(await store.get_job(job_id), attempt, time)
        for file in await store.notifications.files_fetched_since(self._after):
            yield happenings.of_file(*file)

    async def _name_of(self, key: str) -> str:
        """The job's, where the key is a job's id that the store still knows."""
        if key not in self._versions:
            return key
        return happenings.shown_name(await self._store.get_job(key))
