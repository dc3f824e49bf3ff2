"""The rows that records become, to the byte."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path
from typing import Any

from shared import events
from shared.events import JournalRecord
from shared.lifecycle import Activity, JobStatus, StopReason
from shared.store.store import Store, open_store
from tests.shared.store.journal import (
    ended,
    evaluation,
    job_spec,
    journal,
    metrics,
    run_facts,
    stage,
    started,
)

WORDS = 'naïve "quotes", \\, a line\nbreak, NUL \x00, 漢字, 🦙'
NOT_FINITE = metrics(3, math.nan, grad_norm=math.inf, learning_rate=-math.inf)


def mixed_records() -> list[JournalRecord]:
    """Every kind of event, in two attempts, with steps and evaluations that share rows."""
    first = journal(
        started(),
        events.TrainerStarted(shim_pid=1, trainer_pid=2),
        events.TrainerAdopted(trainer_pid=2),
        stage(JobStatus.TRAINING, Activity.TRAINING),
        run_facts(4),
        evaluation(0, 3.0),
        metrics(1, 2.5, memory_bytes=2**40, epoch=1 / 3),
        events.ModelProgress(what="downloading", done_bytes=1, total_bytes=2**40),
        events.GpuSample(gpus=(events.GpuReading(index=0, utilisation_percent=3),)),
        evaluation(1, None),
        metrics(2, 1e-300),
        NOT_FINITE,
        events.LogLine(level="warning", message=WORDS),
        events.CheckpointCommitted(
            step=2, path="/c", manifest_sha256="c" * 64, size_bytes=9, seconds=0.5
        ),
        ended(StopReason.TRAINER_KILLED, will_retry=True, detail=WORDS),
    )
    second = journal(
        started(),
        events.CheckpointRefused(path="/c", reason=WORDS),
        events.Resumed(step=2, path="/b"),
        metrics(2, 2.0),
        evaluation(2, 1.9),
        evaluation(2, 1.8),
        metrics(2, 1.5),
        events.AdapterSaved(path="/a", manifest_sha256="a" * 64, size_bytes=7),
        events.AdapterVerified(
            manifest_sha256="a" * 64, prompt="Hi", generated=WORDS, generated_tokens=3
        ),
        events.CancelRequested(reason=WORDS),
        events.TrainerFinished(stop_reason=StopReason.COMPLETED),
        ended(StopReason.COMPLETED),
        attempt=2,
    )
    return [*first, *second]


def rows_of(database: Path, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    with sqlite3.connect(database) as connection:
        found = connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3").fetchall()
    connection.close()
    return found


async def test_a_batch_is_stored_byte_for_byte_as_its_records_one_by_one(tmp_path: Path) -> None:
    records = mixed_records()
    stored = []
    for size in (len(records), 1, 7):
        database = tmp_path / f"batches-of-{size}.db"
        async with open_store(database) as store:
            await store.add_job(job_spec(), "local")
            for start in range(0, len(records), size):
                await store.apply_records("job-one", records[start : start + size])
        stored.append(
            (
                rows_of(database, "job_events"),
                rows_of(database, "training_metrics_history"),
                rows_of(database, "model_artifacts"),
                rows_of(database, "training_jobs", "id, state, status, cursor_attempt, cursor_seq"),
            )
        )

    assert {type(record.event) for record in records} == set(event_kinds())
    assert len(stored[0][0]) == len(records)
    assert stored[0] == stored[1] == stored[2]


def event_kinds() -> tuple[type, ...]:
    """The members of the union."""
    union = events.Event.__origin__  # type: ignore[attr-defined]
    kinds: tuple[type, ...] = union.__args__
    return kinds


async def test_an_event_is_stored_as_its_own_json_and_comes_back_as_it_was(
    store: Store, database: Path
) -> None:
    records = [record for record in mixed_records() if record.event is not NOT_FINITE]
    renumbered = journal(*(record.event for record in records))
    await store.add_job(job_spec(), "local")

    await store.apply_records("job-one", renumbered)

    bodies = [body for _, _, body in rows_of(database, "job_events", "attempt, seq, body")]
    assert bodies == [record.event.model_dump_json() for record in renumbered]
    assert await store.events("job-one") == renumbered


async def test_numbers_that_are_not_finite_are_null(store: Store, database: Path) -> None:
    await store.add_job(job_spec(), "local")
    await store.apply_records("job-one", journal(started(), NOT_FINITE, evaluation(3, math.nan)))

    [point] = await store.metrics("job-one")

    measured = (point.loss, point.grad_norm, point.learning_rate, point.eval_loss)
    assert measured == (None, None, None, None)
    _, of_step, _ = rows_of(database, "job_events", "attempt, seq, body")
    assert json.loads(of_step[2])["loss"] is None


async def test_moments_are_stored_in_utc_as_other_readers_expect_them(
    store: Store, database: Path
) -> None:
    [record] = journal(started())
    line = events.encode(record).replace("15:01:41Z", "17:01:41.25+02:00")
    await store.add_job(job_spec(), "local")
    await store.apply_records("job-one", [events.decode_journal_record(line)])

    assert rows_of(database, "job_events", "time, attempt, seq") == [
        ("2026-11-22 15:01:41.250000", 1, 1)
    ]
