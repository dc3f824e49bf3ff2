"""The history of a job is the same however its records came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.events import CheckpointCommitted, JournalRecord, Metrics, Resumed
from shared.lifecycle import Activity, JobStatus, StopReason
from shared.store.cursor import Cursor
from shared.store.store import Store
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
from tui.views.job_history import JobHistory

SAVED = CheckpointCommitted(
    step=2, path="step-2", manifest_sha256="a" * 64, size_bytes=1, seconds=0.1
)
RECORDS = [
    *journal(
        started(),
        stage(JobStatus.TRAINING, Activity.TRAINING),
        run_facts(4),
        evaluation(0, 3.0),
        metrics(1, 2.0),
        metrics(2, 1.9),
        SAVED,
        metrics(3, 9.9, memory_bytes=7),
        ended(StopReason.TRAINER_KILLED, will_retry=True),
    ),
    *journal(
        started("j2"),
        Resumed(step=2, path="step-2"),
        metrics(3, 1.8),
        metrics(4, None, memory_bytes=8),
        evaluation(4, 1.7),
        ended(StopReason.COMPLETED),
        attempt=2,
    ),
]


def whole() -> JobHistory:
    history = JobHistory()
    history.extend(RECORDS)
    return history


def looks(history: JobHistory) -> tuple[object, ...]:
    curves = history.curves
    return (
        curves.loss.steps,
        [repr(value) for value in curves.loss.values],
        curves.eval_loss.steps,
        curves.eval_loss.values,
        list(curves.checkpoints),
        list(curves.resumes),
        history.events,
        history.facts,
        history.memory_bytes,
        history.stage_times(RECORDS[-1].time),
    )


def test_a_resumed_attempt_replaces_the_steps_that_it_does_again() -> None:
    curves = whole().curves

    assert curves.loss.steps == [1, 2, 3, 4]
    assert curves.loss.values[:3] == [2.0, 1.9, 1.8]
    assert (list(curves.checkpoints), list(curves.resumes)) == ([2], [2])
    assert curves.eval_loss.steps == [0, 4]


def test_single_steps_are_not_in_the_list_of_events() -> None:
    assert not any(isinstance(record.event, Metrics) for record in whole().events)
    assert len(whole().events) == len(RECORDS) - 5


@given(st.lists(st.integers(0, len(RECORDS)), max_size=5), st.data())
def test_records_in_any_portions_and_twice_give_the_same_history(
    cuts: list[int], data: st.DataObject
) -> None:
    history = JobHistory()
    begin = 0
    for end in [*sorted(cuts), len(RECORDS)]:
        again = data.draw(st.integers(0, begin))
        history.extend(RECORDS[again:end])
        begin = end

    assert looks(history) == looks(whole())


async def test_what_the_store_has_and_what_comes_as_news_make_one_history(store: Store) -> None:
    await store.add_job(job_spec(), "local")
    for split in (0, 5, 9, len(RECORDS)):
        await store.apply_records("job-one", RECORDS[:split])
        history = JobHistory()
        cursor = (await store.get_job("job-one")).cursor
        points = await store.metrics("job-one")
        events = await store.events("job-one", without_metrics=True)
        history.load(points, events, cursor)
        history.extend(late_news(cursor))

        assert looks(history) == looks(whole())


def late_news(cursor: Cursor) -> list[JournalRecord]:
    """What a feed sends once more, and what is new."""
    known = [item for item in RECORDS if Cursor(item.attempt, item.seq) <= cursor]
    return [*known[-2:], *RECORDS[len(known) :]]
