"""Writes journal records as rows, a batch at a time; knows no jobs, states or cursors.

A job that is replayed has hundreds of thousands of records, so here SQLAlchemy only puts the
statements together: what it does for each row on the way to the driver costs more than the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.events import Evaluation, JournalRecord, Metrics
from shared.store.schema import UtcDateTime, job_events, training_metrics_history
from shared.store.upsert import insert_into, upsert_into

_EVENT_COLUMNS = tuple(column.name for column in job_events.columns)
_METRICS_COLUMNS = (
    *("training_job_id", "attempt", "step", "time", "epoch"),
    *("loss", "grad_norm", "learning_rate"),
    *("tokens", "supervised_tokens", "step_s", "memory_bytes"),
)
_EVALUATION_COLUMNS = (
    *("training_job_id", "attempt", "step", "time", "epoch"),
    *("eval_loss", "eval_supervised_tokens"),
)

Row = tuple[Any, ...]
"""Values as the driver takes them: a JSON column's as JSON text, moments as text for SQLite."""


class RecordWriter:
    """Writes to the tables of events and metrics in the words of one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        insert_event = insert_into(job_events, dialect.name).on_conflict_do_nothing()
        self._insert_event = _Statement.of(insert_event, _EVENT_COLUMNS, dialect)
        # Steps and evaluations fill other columns of the same row.
        self._upserts = {
            kind: _Statement.of(
                upsert_into(training_metrics_history, columns, dialect.name), columns, dialect
            )
            for kind, columns in ((Metrics, _METRICS_COLUMNS), (Evaluation, _EVALUATION_COLUMNS))
        }
        self._moment = _moment_for(dialect)

    async def write(self, connection: AsyncConnection, records: Sequence[JournalRecord]) -> None:
        """Write all of them; an event that is there already stays, what was measured is replaced.

        `records` must not be empty.
        """
        moments = [self._moment(record.time) for record in records]
        timed = list(zip(records, moments, strict=True))
        await self._insert_event.run(connection, [_event_row(*item) for item in timed])
        # Their order counts where a step and an evaluation, or two of them, share a row.
        for kind, alike in groupby(timed, key=lambda item: type(item[0].event)):
            if kind in self._upserts:
                measured = [_metrics_row(*item) for item in alike]
                await self._upserts[kind].run(connection, measured)


class _Statement(NamedTuple):
    """What SQLAlchemy made of a statement for one dialect."""

    sql: str
    columns: tuple[str, ...]
    is_positional: bool

    @classmethod
    def of(cls, statement: Any, columns: tuple[str, ...], dialect: Dialect) -> _Statement:
        compiled = statement.compile(dialect=dialect, column_keys=list(columns))
        assert not compiled.positional or tuple(compiled.positiontup) == columns
        return cls(str(compiled), columns, compiled.positional)

    async def run(self, connection: AsyncConnection, rows: list[Row]) -> None:
        """Once for each row, whose values are in the order of `columns`."""
        if self.is_positional:
            await connection.exec_driver_sql(self.sql, rows)
        else:
            named = [dict(zip(self.columns, row, strict=True)) for row in rows]
            await connection.exec_driver_sql(self.sql, named)


def _moment_for(dialect: Dialect) -> Callable[[datetime], Any]:
    """How the driver takes a moment."""
    process = UtcDateTime().dialect_impl(dialect).bind_processor(dialect)
    assert process is not None
    return process


def _event_row(record: JournalRecord, moment: Any) -> Row:
    return (
        record.job_id,
        record.attempt,
        record.seq,
        moment,
        record.trainer_offset,
        record.event.kind,
        record.event.model_dump_json(),
    )


def _metrics_row(record: JournalRecord, moment: Any) -> Row:
    event = record.event
    assert isinstance(event, Metrics | Evaluation)
    key = (record.job_id, record.attempt, event.step, moment, event.epoch)
    if isinstance(event, Evaluation):
        return (*key, _finite(event.loss), event.supervised_tokens)
    return (
        *key,
        _finite(event.loss),
        _finite(event.grad_norm),
        _finite(event.learning_rate),
        event.tokens,
        event.supervised_tokens,
        _finite(event.step_s),
        event.memory_bytes,
    )


def _finite(value: float | None) -> float | None:
    """The number as the event's own JSON has it: null where it is not finite."""
    return value if value is not None and math.isfinite(value) else None
