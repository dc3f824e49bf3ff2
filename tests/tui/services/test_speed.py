"""The speed of a new job is one that was measured, or none."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from shared.events import Metrics
from shared.store.store import Store
from tests.shared.store.journal import completed_job, job_spec, journal, metrics, started
from tui.services.speed import ObservedSpeed, known_speed, observed_speed


async def add_job(store: Store, job_id: str, *steps: Metrics, **values: Any) -> None:
    host = values.pop("host", "local")
    await store.add_job(job_spec(job_id, **values), host)
    if steps:
        await store.apply_records(job_id, journal(started(), *steps, job_id=job_id))


async def test_the_speed_is_all_tokens_by_all_seconds_of_the_newest_job(store: Store) -> None:
    await add_job(store, "job-old", metrics(1, 2.0, tokens=10, step_s=10.0))
    await add_job(
        store,
        "job-new",
        metrics(1, 2.0, tokens=100, step_s=1.0),
        metrics(2, 1.9, tokens=300, step_s=0.25),
    )

    assert await observed_speed(store, "tiny", "local") == ObservedSpeed(320.0, "job-new")


async def test_jobs_without_measured_steps_are_passed_over(store: Store) -> None:
    await add_job(store, "job-old", metrics(1, 2.0, tokens=100, step_s=2.0))
    await add_job(store, "job-queued")
    await add_job(store, "job-odd", metrics(1, 2.0, tokens=100, step_s=0.0))

    assert await observed_speed(store, "tiny", "local") == ObservedSpeed(50.0, "job-old")


async def test_another_model_or_host_says_nothing(store: Store) -> None:
    await add_job(store, "job-model", metrics(1, 2.0), base_model="smollm2")
    await add_job(store, "job-host", metrics(1, 2.0), host="elsewhere")

    assert await observed_speed(store, "tiny", "local") is None


async def test_evaluations_are_not_counted(store: Store) -> None:
    await store.add_job(job_spec(), "local")
    await store.apply_records("job-one", completed_job(steps=4))

    # Four steps of 100 tokens in 0.5 s each; the evaluations measured no tokens.
    assert await observed_speed(store, "tiny", "local") == ObservedSpeed(200.0, "job-one")


async def test_a_store_that_cannot_be_read_is_a_problem_to_show(home: Path, store: Store) -> None:
    with closing(sqlite3.connect(home / "brightrun.db")) as connection:
        connection.execute("DROP TABLE training_metrics_history")
        connection.execute("DROP TABLE training_jobs")

    speed = await known_speed(store, "tiny", "local")

    assert speed.observed is None
    assert "brightrun.db" in speed.problem
