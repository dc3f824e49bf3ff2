from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import (
    AdapterSaved,
    CancelRequested,
    CheckpointCommitted,
    Event,
    GpuReading,
    GpuSample,
    JournalRecord,
    LogLine,
    ModelProgress,
    Resumed,
)
from shared.job_state import JobState, apply, fold
from shared.lifecycle import STOP_REASONS, Activity, JobStatus, StopReason
from tests.shared.store.journal import (
    BEGIN,
    completed_job,
    ended,
    evaluation,
    journal,
    metrics,
    run_facts,
    stage,
    started,
)

TRAINING = stage(JobStatus.TRAINING, Activity.TRAINING)


def interrupted_job() -> list[JournalRecord]:
    """Killed after step 2, resumed from step 1, completed at step 3."""
    killed = ended(StopReason.TRAINER_KILLED, will_retry=True, detail="SIGKILL")
    committed = CheckpointCommitted(
        step=1, path="c/1", manifest_sha256="a" * 64, size_bytes=9, seconds=0.1
    )
    steps = [metrics(1, 2.0), committed, metrics(2, 1.9)]
    first = journal(started(), TRAINING, run_facts(3), *steps, killed)
    resumed = Resumed(step=1, path="c/1")
    second = journal(
        started(), TRAINING, resumed, metrics(2, 1.9), metrics(3, 1.8), ended(StopReason.COMPLETED),
        attempt=2,
    )  # fmt: skip
    return [*first, *second]


def test_a_job_that_went_well_folds_to_its_figures() -> None:
    state = fold(completed_job(steps=3))
    assert (state.status, state.activity, state.stop_reason) == (
        JobStatus.COMPLETED,
        None,
        StopReason.COMPLETED,
    )
    assert (state.step, state.total_steps) == (3, 3)
    assert (state.first_loss, state.loss) == (1.9, 1.7)
    assert (state.base_eval_loss, state.eval_loss) == (3.0, 1.5)
    assert (state.adapter_path, state.adapter_verified) == ("adapter", True)
    assert state.advice == STOP_REASONS[StopReason.COMPLETED].advice
    assert state.cursor == (1, len(completed_job(steps=3)))


def test_times_are_those_of_the_records() -> None:
    records = completed_job()
    state = fold(records)
    assert state.started_at == records[0].time > BEGIN
    assert state.ended_at == state.last_event_at == records[-1].time


def test_a_new_job_is_queued_and_knows_nothing() -> None:
    state = fold([])
    assert state == JobState()
    assert (state.status, state.cursor, state.advice) == (JobStatus.QUEUED, (0, 0), "")
    assert state.eta_s() is None


def test_a_retry_keeps_the_job_open() -> None:
    records = interrupted_job()
    between = fold(records[:7])
    assert (between.status, between.activity) == (JobStatus.TRAINING, Activity.RECOVERING)
    assert (between.stop_reason, between.ended_at) == (None, None)
    assert (between.step, between.last_checkpoint_step) == (2, 1)

    assert fold(records[:8]).activity is Activity.RECOVERING
    resumed = fold(records[:10])
    assert (resumed.step, resumed.activity) == (1, Activity.RESUMING)

    done = fold(records)
    assert (done.status, done.step, done.attempt) == (JobStatus.COMPLETED, 3, 2)
    assert done.first_loss == 2.0
    assert done.started_at == records[0].time


@pytest.mark.parametrize("reason", StopReason)
def test_an_end_without_retry_gives_the_status_of_its_reason(reason: StopReason) -> None:
    state = fold(journal(started(), TRAINING, ended(reason, detail="why")))
    assert (state.status, state.stop_reason) == (STOP_REASONS[reason].status, reason)
    assert (state.detail, state.advice) == ("why", STOP_REASONS[reason].advice)


def test_a_request_to_cancel_changes_the_activity_only() -> None:
    state = fold(journal(started(), TRAINING, CancelRequested(reason="a person")))
    assert (state.status, state.activity) == (JobStatus.TRAINING, Activity.CANCELLING)


def test_an_adapter_saved_anew_is_not_verified() -> None:
    records = completed_job()[:-1]
    saved = AdapterSaved(path="again", manifest_sha256="c" * 64, size_bytes=9)
    state = fold(journal(*(record.event for record in records), saved))
    assert (state.adapter_path, state.adapter_verified) == ("again", False)


def test_speed_is_smoothed_within_an_attempt_and_forgotten_after_it() -> None:
    events = [started(), run_facts(10), metrics(1, 2.0, step_s=1.0), metrics(2, 2.0, step_s=2.0)]
    state = fold(journal(*events))
    assert state.step_s == pytest.approx(1.2)
    assert state.tokens_per_s == 50
    assert state.eta_s() == pytest.approx(8 * 1.2)
    assert fold(journal(started(), attempt=2), state).eta_s() is None


def test_a_step_that_took_no_time_has_no_speed() -> None:
    assert fold(journal(started(), metrics(1, 2.0, step_s=0.0))).tokens_per_s is None


def test_the_last_record_that_comes_again_is_not_counted_twice() -> None:
    records = journal(started(), metrics(1, 2.0, step_s=1.0), metrics(2, 2.0, step_s=2.0))
    assert fold([*records, records[-1]]) == fold(records)


EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.just(started()),
    st.just(Resumed(step=1, path="c/1")),
    st.just(evaluation(0, 3.0)),
    st.just(LogLine(message="hello")),
    st.just(CancelRequested()),
    st.integers(1, 9).map(lambda step: metrics(step, 2.0, step_s=float(step))),
    st.sampled_from(JobStatus).map(lambda status: stage(status, Activity.TRAINING)),
    st.builds(ended, st.sampled_from(StopReason), will_retry=st.booleans()),
)
JOURNALS = st.lists(st.lists(EVENTS, max_size=8), max_size=3).map(
    lambda attempts: [
        record
        for number, events in enumerate(attempts, start=1)
        for record in journal(*events, attempt=number)
    ]
)


@given(JOURNALS)
def test_the_status_never_goes_back_and_a_final_one_stays(records: list[JournalRecord]) -> None:
    states = [JobState()]
    for record in records:
        states.append(apply(states[-1], record))
    for before, after in pairwise(state.status for state in states):
        assert after == before if before.is_final else after.rank >= before.rank


@given(JOURNALS, st.data())
def test_records_that_come_again_change_nothing(
    records: list[JournalRecord], data: st.DataObject
) -> None:
    seen = data.draw(st.integers(0, len(records)))
    again = data.draw(st.integers(0, seen))
    assert fold(records[again:], fold(records[:seen])) == fold(records)
    assert fold(records[:seen], fold(records)) == fold(records)


@given(JOURNALS)
def test_a_batch_gives_the_state_that_its_records_give_one_by_one(
    records: list[JournalRecord],
) -> None:
    state = JobState()
    for record in records:
        state = apply(state, record)
    assert fold(records) == state


def test_the_state_that_a_fold_begins_from_stays_as_it_was() -> None:
    records = completed_job(steps=3)
    begun = fold(records[:4])
    before = begun.model_copy()

    assert fold(records, begun) == fold(records)
    assert begun == before


def test_of_a_rented_job_the_agent_says_the_outcome_and_not_the_status() -> None:
    records = completed_job(steps=3)

    state = fold(records, JobState(rented=True))

    assert (state.status, state.outcome) == (JobStatus.TRAINING, StopReason.COMPLETED)
    assert state.activity is Activity.SECURING_RESULTS
    again = fold(journal(started(), attempt=2), state)
    assert again.outcome is None


def test_between_machines_nobody_knows_when_a_job_will_end() -> None:
    state = fold(completed_job(steps=3)[:-3], JobState(rented=True))
    state = state.model_copy(update={"total_steps": 9, "activity": Activity.TRAINING})
    assert state.eta_s() is not None
    assert state.model_copy(update={"activity": Activity.PROVISIONING}).eta_s() is None


def sample(*loads: int | None) -> GpuSample:
    readings = [GpuReading(index=at, utilisation_percent=load) for at, load in enumerate(loads)]
    return GpuSample(gpus=tuple(readings))


def test_the_latest_sample_of_the_gpus_stands_until_its_attempt_ends() -> None:
    records = journal(started(), sample(0), TRAINING, sample(97), metrics(1, 2.0))
    state = fold(records)
    assert [gpu.utilisation_percent for gpu in state.gpus] == [97]
    assert state.gpus_at == records[3].time
    over = fold([*records, *journal(*[started()] * 5, ended(StopReason.COMPLETED))[5:]])
    assert (over.status, over.gpus, over.gpus_at) == (JobStatus.COMPLETED, (), None)


@pytest.mark.parametrize(
    ("happened", "idle_since"),
    [
        ([TRAINING, sample(0, 4)], 3),
        ([TRAINING, sample(0), metrics(1, 2.0), sample(2)], 3),
        ([TRAINING, sample(0), sample(90), sample(0)], 5),
        ([TRAINING, sample(0, 5)], None),
        ([TRAINING, sample(0, None)], None),
        ([TRAINING, sample()], None),
        ([sample(0)], None),
        ([TRAINING, sample(0), stage(JobStatus.TRAINING, Activity.EVALUATING)], None),
        ([TRAINING, sample(0), CancelRequested()], None),
    ],
)
def test_gpus_idle_where_all_are_known_to_do_nothing_while_the_job_trains(
    happened: list[Event], idle_since: int | None
) -> None:
    records = journal(started(), *happened)
    since = None if idle_since is None else records[idle_since - 1].time
    assert fold(records).gpu_idle_since == since


def test_a_model_is_on_its_way_until_it_is_loaded_or_the_attempt_ends() -> None:
    progress = ModelProgress(what="downloading", done_bytes=1, total_bytes=3)
    downloading = stage(JobStatus.PREPROCESSING, Activity.DOWNLOADING_MODEL)
    loading = stage(JobStatus.PREPROCESSING, Activity.LOADING_MODEL)
    on_its_way = [started(), downloading, progress, loading]
    assert fold(journal(*on_its_way)).model_progress == progress
    loaded = stage(JobStatus.MODEL_LOADED, Activity.TRAINING)
    assert fold(journal(*on_its_way, loaded)).model_progress is None
    for ending in (
        ended(StopReason.DOWNLOAD_FAILED),
        ended(StopReason.TRAINER_KILLED, will_retry=True),
    ):
        assert fold(journal(*on_its_way, ending)).model_progress is None
