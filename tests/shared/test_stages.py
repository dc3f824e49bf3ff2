"""How long each stage took, from the records alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from shared import events
from shared.lifecycle import Activity, JobStatus, StopReason
from shared.stages import STAGE_OF, Stage, StageClock

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def at(seconds: float, event: events.Event, attempt: int = 1) -> events.JournalRecord:
    moment = NOON + timedelta(seconds=seconds)
    return events.JournalRecord(
        job_id="job-one", attempt=attempt, seq=1, time=moment, trainer_offset=0, event=event
    )


def entered(activity: Activity) -> events.Event:
    return events.StageEntered(status=JobStatus.TRAINING, activity=activity)


STARTED = events.AttemptStarted(journal_id="j", agent_version="1")
KILLED = events.AttemptEnded(stop_reason=StopReason.TRAINER_KILLED, will_retry=True)


def seconds(clock: StageClock, now_s: float) -> list[float | None]:
    return [item.seconds for item in clock.times(NOON + timedelta(seconds=now_s))]


def test_every_activity_has_a_stage_or_keeps_the_one_there_is() -> None:
    assert set(STAGE_OF) == set(Activity)


def test_before_the_first_record_no_stage_has_begun() -> None:
    clock = StageClock()

    assert seconds(clock, 100) == [None, None, None, None]
    assert not any(item.is_current for item in clock.times(NOON))


def test_the_current_stage_counts_up_to_now_and_the_others_stand() -> None:
    clock = StageClock()
    clock.add([at(0, STARTED), at(4, entered(Activity.LOADING_MODEL))])
    clock.add([at(10, entered(Activity.TRAINING))])

    assert seconds(clock, 15) == [4, 6, 5, None]
    assert [item.stage for item in clock.times(NOON) if item.is_current] == [Stage.TRAIN]


def test_the_time_between_two_attempts_belongs_to_no_stage_and_the_stages_add_up() -> None:
    clock = StageClock()
    clock.add([at(0, STARTED), at(5, entered(Activity.TRAINING)), at(20, KILLED)])
    assert seconds(clock, 500) == [5, None, 15, None]

    clock.add([at(100, STARTED, attempt=2), at(103, entered(Activity.TRAINING), attempt=2)])
    assert seconds(clock, 110) == [8, None, 22, None]


def test_an_activity_without_a_stage_of_its_own_changes_none() -> None:
    clock = StageClock()
    clock.add([at(0, entered(Activity.TRAINING)), at(5, entered(Activity.CANCELLING))])

    assert seconds(clock, 8) == [None, None, 8, None]


def test_a_clock_of_another_machine_that_is_ahead_gives_no_negative_time() -> None:
    clock = StageClock()
    clock.add([at(100, entered(Activity.TRAINING))])

    assert seconds(clock, 0) == [None, None, 0, None]
