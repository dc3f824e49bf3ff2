"""The registry of training files: one row for each content that was checked here.

Knows tables and values, and no file system: whether a file is still where it was is for others to
say.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, RowMapping, delete, select

from shared.dataset.report import DatasetReport
from shared.errors import InvalidDataset, InvalidInput
from shared.lifecycle import JobStatus
from shared.store.database import Database
from shared.store.schema import training_files, training_jobs
from shared.store.stored import FileUse, MergedSource, StoredFile
from shared.store.uninterrupted import uninterrupted

_MOST_FINDINGS = 500
"""Kept of a report, worst first: about 200 kB. A check of the file lists all."""

_MOST_ROWS = 20_000
"""Of a report, of which each row's targets are kept."""

_REPORT = TypeAdapter(DatasetReport)
_COLUMNS = [column for column in training_files.c if column is not training_files.c.report]


class TrainingFiles:
    """Reads and writes of the registry; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def record(self, file: StoredFile, report: DatasetReport | None = None) -> None:
        """Remember a checked file; the same content again replaces what was known.

        What the same path held before is forgotten, unless a job was given it.
        """
        columns = training_files.c
        earlier = (columns.path == file.path) & (columns.sha256 != file.sha256)
        async with self._database.writing() as connection:
            unused = columns.sha256.not_in(select(_dataset_of_job()))
            await connection.execute(delete(training_files).where(earlier).where(unused))
            await self._database.upsert(connection, training_files, [_row_of(file, report)])

    @uninterrupted
    async def all(self) -> list[StoredFile]:
        """Last checked first."""
        query = select(*_COLUMNS).order_by(training_files.c.checked_at.desc())
        async with self._database.reading() as connection:
            return [_file_of(row) for row in (await connection.execute(query)).mappings()]

    @uninterrupted
    async def find(self, sha256: str) -> StoredFile:
        """The file with this hash, or the only one whose hash begins so.

        Raises:
            InvalidDataset: none, or several.
        """
        column = training_files.c.sha256
        query = select(*_COLUMNS).where(column.startswith(sha256.lower(), autoescape=True))
        async with self._database.reading() as connection:
            found = (await connection.execute(query.limit(6))).mappings().all()
        if len(found) == 1 and sha256:
            return _file_of(found[0])
        if found and sha256:
            several = ", ".join(row["sha256"][:12] for row in found[:5])
            raise InvalidDataset(f"{sha256!r} fits several files: {several}. Type more of it.")
        raise InvalidDataset(
            f"no training file has the hash {sha256!r}. `brightrun dataset list` shows them."
        )

    @uninterrupted
    async def at_path(self, path: str) -> StoredFile | None:
        """What this path held when it was last checked; None if it never was."""
        columns = training_files.c
        query = select(*_COLUMNS).where(columns.path == path)
        query = query.order_by(columns.checked_at.desc()).limit(1)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else _file_of(row)

    @uninterrupted
    async def report(self, sha256: str) -> DatasetReport | None:
        """What the last check said of the file; None where that was not kept."""
        query = select(training_files.c.report).where(training_files.c.sha256 == sha256)
        async with self._database.reading() as connection:
            kept = await connection.scalar(query)
        try:
            return None if kept is None else _REPORT.validate_python(kept)
        except ValidationError:  # Another version wrote it; it comes anew with the next check.
            return None

    @uninterrupted
    async def uses(self) -> dict[str, list[FileUse]]:
        """The jobs that were given each content, newest first."""
        columns = training_jobs.c
        query = select(_dataset_of_job(), columns.id, columns.name, columns.status)
        query = query.order_by(columns.created_at.desc(), columns.id.desc())
        uses: dict[str, list[FileUse]] = {}
        async with self._database.reading() as connection:
            for sha256, job_id, name, status in await connection.execute(query):
                use = FileUse(job_id, name, JobStatus(status))
                uses.setdefault(sha256, []).append(use)
        return uses

    @uninterrupted
    async def forget(self, sha256: str) -> None:
        """Leave the file out from now on; its bytes stay where they are.

        Raises:
            InvalidInput: a job that has not ended was given it.
        """
        columns = training_jobs.c
        query = select(columns.id, columns.status).where(_dataset_of_job() == sha256)
        async with self._database.writing() as connection:
            jobs = (await connection.execute(query)).all()
            busy = [job.id for job in jobs if not JobStatus(job.status).is_final]
            if busy:
                raise InvalidInput(
                    f"{sha256[:12]} is in use by {', '.join(busy[:5])}: "
                    "wait for the end of that job, or cancel it first."
                )
            await connection.execute(
                delete(training_files).where(training_files.c.sha256 == sha256)
            )


def _dataset_of_job() -> ColumnElement[str]:
    """The hash of the training file in a job's spec."""
    sha256: ColumnElement[str] = training_jobs.c.spec["dataset"]["sha256"].as_string()
    return sha256


def _row_of(file: StoredFile, report: DatasetReport | None) -> dict[str, Any]:
    kept = None
    if report is not None:
        kept = replace(report, findings=report.findings[:_MOST_FINDINGS]).to_dict()
        kept["row_targets"] = report.row_targets if report.rows <= _MOST_ROWS else ()
    merged_from = [asdict(source) for source in file.merged_from] or None
    return {**asdict(file), "merged_from": merged_from, "report": kept}


def _file_of(row: RowMapping) -> StoredFile:
    known = {name: value for name, value in row.items() if value is not None}
    sources = (MergedSource(**source) for source in known.pop("merged_from", ()))
    return StoredFile(**{"tokens": None, **known, "merged_from": tuple(sources)})
