"""Jobs page by page, for lists that nobody reads to their end.

Only the rows of the page are read and turned into jobs, so that a thousand jobs cost no more than
fifty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select

from shared.lifecycle import JobStatus
from shared.store import rows
from shared.store.database import Database
from shared.store.schema import training_jobs
from shared.store.stored import StoredJob
from shared.store.uninterrupted import uninterrupted


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What to list; None and nothing: any."""

    statuses: tuple[JobStatus, ...] = ()
    training_file_id: str | None = None
    created_by: str | None = None
    words: str = ""
    """In the name or the id, in any case."""


@dataclass(frozen=True, slots=True)
class JobPage:
    """A page, and how many jobs there are on all pages together."""

    jobs: tuple[StoredJob, ...]
    total: int


class JobPages:
    """Reads only; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def page(self, wanted: JobFilter, limit: int, offset: int = 0) -> JobPage:
        """Newest first, and by id where two are of the same moment."""
        columns = training_jobs.c
        conditions = list(_conditions(wanted))
        counted = select(func.count()).select_from(training_jobs).where(*conditions)
        query = (
            select(training_jobs)
            .where(*conditions)
            .order_by(columns.created_at.desc(), columns.id.desc())
            .limit(limit)
            .offset(offset)
        )
        async with self._database.reading() as connection:
            total = await connection.scalar(counted)
            found = (await connection.execute(query)).mappings().all()
        return JobPage(tuple(map(rows.job_of, found)), int(total or 0))


def _conditions(wanted: JobFilter) -> Iterable[ColumnElement[bool]]:
    columns = training_jobs.c
    if wanted.statuses:
        yield columns.status.in_([status.value for status in wanted.statuses])
    if wanted.training_file_id is not None:
        yield columns.training_file_id == wanted.training_file_id
    if wanted.created_by is not None:
        yield columns.created_by == wanted.created_by
    if wanted.words:
        yield columns.name.icontains(wanted.words, autoescape=True) | columns.id.icontains(
            wanted.words, autoescape=True
        )
