from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import InvalidJobSpec, ProtocolError, StoreError, UnknownJob
from shared.job_state import fold
from shared.lifecycle import JobStatus, StopReason
from shared.store.store import Store, open_store
from tests.shared.store.journal import (
    completed_job,
    ended,
    evaluation,
    job_spec,
    journal,
    metrics,
    run_facts,
    started,
)


async def test_a_whole_job_becomes_state_events_metrics_and_an_artifact(store: Store) -> None:
    records = completed_job(steps=3)
    await store.add_job(job_spec(), "local")

    applied = await store.apply_records("job-one", records)

    assert applied.records == tuple(records)
    job = await store.get_job("job-one")
    assert job.state == fold(records)
    assert job == applied.job
    assert await store.events("job-one") == records
    assert await store.events("job-one", last=2) == records[-2:]
    points = await store.metrics("job-one")
    assert [(point.step, point.loss, point.eval_loss) for point in points] == [
        (0, None, 3.0),
        (1, 1.9, None),
        (2, 1.8, None),
        (3, 1.7, 1.5),
    ]
    [artifact] = await store.artifacts("job-one")
    assert (artifact.manifest_sha256, artifact.size_bytes, artifact.eval_loss) == (
        "b" * 64,
        414,
        1.5,
    )
    assert artifact.perplexity == pytest.approx(math.exp(1.5))
    assert artifact.lora_config["lora_r"] == 16


async def test_receiving_everything_again_changes_nothing(store: Store) -> None:
    records = completed_job()
    await store.add_job(job_spec(), "local")
    for end in range(len(records) + 1):
        await store.apply_records("job-one", records[:end])
    before = await store.get_job("job-one"), await store.metrics("job-one")

    again = await store.apply_records("job-one", records)

    assert again.records == ()
    assert (await store.get_job("job-one"), await store.metrics("job-one")) == before
    assert await store.events("job-one") == records


async def test_a_missing_record_is_refused_and_nothing_of_its_batch_is_kept(store: Store) -> None:
    records = completed_job()
    await store.add_job(job_spec(), "local")
    await store.apply_records("job-one", records[:2])

    with pytest.raises(ProtocolError, match=r"after \(attempt 1, seq 3\) is missing"):
        await store.apply_records("job-one", [records[2], *records[4:]])

    assert (await store.get_job("job-one")).cursor == (1, 2)
    assert await store.events("job-one") == records[:2]


async def test_a_new_attempt_must_begin_with_its_first_record(store: Store) -> None:
    await store.add_job(job_spec(), "local")
    await store.apply_records("job-one", journal(started()))

    with pytest.raises(ProtocolError):
        await store.apply_records("job-one", journal(started(), metrics(1, 1.0), attempt=2)[1:])


async def test_a_record_of_another_job_is_refused(store: Store) -> None:
    await store.add_job(job_spec(), "local")

    with pytest.raises(ProtocolError, match="job-two"):
        await store.apply_records("job-one", journal(started(), job_id="job-two"))


async def test_the_latest_attempt_counts_for_each_step(store: Store) -> None:
    first = journal(started(), *(metrics(step, 1.0) for step in (1, 2, 3)), evaluation(3, 0.9))
    second = journal(started(), evaluation(2, 0.8), metrics(3, 3.0), metrics(4, 4.0), attempt=2)
    await store.add_job(job_spec(), "local")
    await store.apply_records("job-one", [*first, *second])

    points = await store.metrics("job-one")

    assert [(point.attempt, point.step, point.loss, point.eval_loss) for point in points] == [
        (1, 1, 1.0, None),
        (2, 2, 1.0, 0.8),
        (2, 3, 3.0, 0.9),
        (2, 4, 4.0, None),
    ]


async def test_a_batch_becomes_the_same_rows_as_its_records_one_by_one(store: Store) -> None:
    seen = []
    for job_id in ("job-one", "job-two"):
        events = (metrics(1, 1.0), evaluation(1, 0.9), metrics(2, 2.0), evaluation(1, 0.8))
        records = journal(started(), *events, metrics(1, None), job_id=job_id)
        await store.add_job(job_spec(job_id), "local")
        for end in (len(records),) if job_id == "job-one" else range(len(records) + 1):
            await store.apply_records(job_id, records[:end])
        seen.append(await store.metrics(job_id))

    at_once, one_by_one = seen
    assert at_once == one_by_one
    assert [(point.step, point.loss, point.eval_loss) for point in at_once] == [
        (1, None, 0.8),
        (2, 2.0, None),
    ]


async def test_writers_of_one_process_take_turns_in_the_order_in_which_they_came(
    store: Store,
) -> None:
    job_ids = [f"job-{number}" for number in range(8)]
    for job_id in job_ids:
        await store.add_job(job_spec(job_id), "local")
    finished: list[str] = []

    async def write(job_id: str) -> None:
        await store.apply_records(job_id, journal(started(), job_id=job_id))
        finished.append(job_id)

    await asyncio.gather(*map(write, job_ids))

    assert finished == job_ids


async def test_a_loss_that_is_not_finite_is_null_everywhere(store: Store) -> None:
    await store.add_job(job_spec(), "local")
    broken = metrics(1, math.nan, grad_norm=math.inf, non_finite=("loss", "grad_norm"))

    await store.apply_records("job-one", journal(started(), broken))

    [point] = await store.metrics("job-one")
    assert (point.loss, point.grad_norm, point.learning_rate) == (None, None, 2e-4)
    assert (await store.get_job("job-one")).state.loss is None
    json.dumps((await store.get_job("job-one")).to_dict(), allow_nan=False)


async def test_small_and_large_numbers_survive(store: Store) -> None:
    await store.add_job(job_spec(), "local")
    odd = metrics(1, 1e-9, epoch=100.0, learning_rate=4e-9, grad_norm=12345.6, tokens=2**40)

    await store.apply_records("job-one", journal(started(), odd))

    [point] = await store.metrics("job-one")
    assert (point.epoch, point.learning_rate, point.grad_norm, point.tokens) == (
        100.0,
        4e-9,
        12345.6,
        2**40,
    )


async def test_a_final_status_never_changes(store: Store, database: Path) -> None:
    await store.add_job(job_spec(), "local")
    await store.apply_records("job-one", journal(started(), ended(StopReason.COMPLETED)))

    later = journal(started(), ended(StopReason.TRAINER_CRASHED), attempt=2)
    await store.apply_records("job-one", later)
    await store.settle_job("job-one", JobStatus.CANCELLED, "too late")

    assert (await store.get_job("job-one")).status is JobStatus.COMPLETED
    assert [job.job_id for job in await store.list_jobs([JobStatus.COMPLETED])] == ["job-one"]


async def test_the_database_itself_refuses_to_leave_a_final_status(
    store: Store, database: Path
) -> None:
    await store.add_job(job_spec(), "local")
    # A state that disagrees with its own status column, as a careless writer might leave it.
    with sqlite3.connect(database) as raw:
        raw.execute("UPDATE training_jobs SET status = 'cancelled'")
    raw.close()

    with pytest.raises(StoreError, match="is final"):
        await store.apply_records("job-one", journal(started(), run_facts(3)))

    assert await store.events("job-one") == []


async def test_a_status_that_does_not_exist_is_refused(store: Store, database: Path) -> None:
    await store.add_job(job_spec(), "local")
    raw = sqlite3.connect(database)

    with pytest.raises(sqlite3.IntegrityError):
        raw.execute("UPDATE training_jobs SET status = 'nearly done'")

    raw.close()


async def test_an_interrupted_attempt_is_not_a_failure(store: Store) -> None:
    await store.add_job(job_spec(), "local")
    killed = ended(StopReason.TRAINER_KILLED, will_retry=True, detail="SIGKILL")

    applied = await store.apply_records("job-one", journal(started(), killed))

    assert not applied.job.status.is_final
    assert applied.job.error_message is None


async def test_a_failed_job_says_why(store: Store) -> None:
    await store.add_job(job_spec(), "local")
    failed = ended(StopReason.OUT_OF_MEMORY, detail="at step 3")

    applied = await store.apply_records("job-one", journal(started(), failed))

    assert applied.job.error_message == "out_of_memory: at step 3"


async def test_adding_the_same_job_again_is_harmless_and_another_one_is_refused(
    store: Store,
) -> None:
    _, created = await store.add_job(job_spec(), "local")
    _, again = await store.add_job(job_spec(), "local")

    assert (created, again) == (True, False)
    with pytest.raises(InvalidJobSpec, match="--job-id"):
        await store.add_job(job_spec(name="Other"), "local")


async def test_a_job_is_found_by_the_beginning_of_its_id_if_only_one_fits(store: Store) -> None:
    for job_id in ("2026-aa1", "2026-aa2", "2026-bb1", "2026-bb"):
        await store.add_job(job_spec(job_id), "local")

    assert (await store.get_job("2026-aa2")).job_id == "2026-aa2"
    assert (await store.get_job("2026-bb")).job_id == "2026-bb"
    with pytest.raises(UnknownJob, match="2026-aa1, 2026-aa2"):
        await store.get_job("2026-a")
    for unknown in ("nothing", "", "%", "_026"):
        with pytest.raises(UnknownJob):
            await store.get_job(unknown)


_WRITER = """
import asyncio, sys
from pathlib import Path
from shared.store.store import open_store
from tests.shared.store.journal import job_spec, journal, metrics, started

async def main(database: Path, own_id: str) -> None:
    async with open_store(database) as store:
        for job_id in (own_id, "job-shared"):
            await store.add_job(job_spec(job_id), "local")
            records = journal(started(), *(metrics(n, 1.0) for n in range(1, 40)), job_id=job_id)
            for end in range(len(records) + 1):
                await store.apply_records(job_id, records[:end])

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


async def test_two_processes_create_and_write_one_database_at_once(database: Path) -> None:
    writers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WRITER, str(database), own_id, stderr=subprocess.PIPE
        )
        for own_id in ("job-one", "job-two")
    ]
    outputs = await asyncio.gather(*(writer.communicate() for writer in writers))

    assert [writer.returncode for writer in writers] == [0, 0], outputs
    async with open_store(database) as store:
        for job_id in ("job-one", "job-two", "job-shared"):
            assert [point.step for point in await store.metrics(job_id)] == list(range(1, 40))
