from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.watchdog import HangLimits, Watchdog
from shared import events
from shared.lifecycle import Activity, JobStatus, StopReason

LIMITS = HangLimits(factor=10, floor_s=60, unmeasured_s=1000)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def stage(activity):
    return events.StageEntered(status=JobStatus.TRAINING, activity=activity)


def step(number, step_s):
    return events.Metrics(
        step=number,
        epoch=1.0,
        loss=1.0,
        grad_norm=1.0,
        learning_rate=1e-4,
        tokens=1,
        supervised_tokens=1,
        step_s=step_s,
    )


def steps(*seconds):
    return [step(number, step_s) for number, step_s in enumerate(seconds, start=1)]


EVALUATION = events.Evaluation(step=1, epoch=1.0, loss=1.0, supervised_tokens=1)
TRAINING, EVALUATING = stage(Activity.TRAINING), stage(Activity.EVALUATING)

LIMIT_OF = {
    "nothing was said yet": ([], 1000),
    "a model is downloaded": (
        [events.ModelProgress(what="downloading", done_bytes=1, total_bytes=2)],
        1000,
    ),
    "a model is loaded": ([stage(Activity.LOADING_MODEL)], 1000),
    "before the first step": ([TRAINING], 1000),
    "short steps": ([TRAINING, *steps(0.5, 0.5)], 60),
    "long steps": ([TRAINING, *steps(14.0, 14.0)], 140),
    "a single slow step does not move the usual one": ([TRAINING, *steps(14.0, 900.0, 14.0)], 140),
    "the first step is slow": ([TRAINING, *steps(100.0)], 1000),
    "the first evaluation": ([TRAINING, *steps(14.0), EVALUATING], 1000),
    "the adapter is saved": ([TRAINING, *steps(14.0), stage(Activity.SAVING_ADAPTER)], 1000),
    "it has only to end": (
        [TRAINING, *steps(14.0), events.TrainerFinished(stop_reason=StopReason.COMPLETED)],
        60,
    ),
}


def silence_until_hang(watchdog):
    """Seconds of silence, looked at ten times a second, until the watchdog says so."""
    start = 5000.0
    for tenths in range(20_000):
        if watchdog.look(start + tenths / 10) is not None:
            return tenths / 10
    return None


@pytest.mark.parametrize(("told", "limit_s"), LIMIT_OF.values(), ids=LIMIT_OF)
def test_the_limit_follows_from_what_was_told(told, limit_s):
    watchdog = Watchdog(LIMITS)
    for event in told:
        watchdog.heard(event, NOON)
    assert silence_until_hang(watchdog) == pytest.approx(limit_s, abs=0.2)


def evaluated(watchdog, *lasted_s):
    for seconds in lasted_s:
        watchdog.heard(EVALUATING, NOON)
        watchdog.heard(EVALUATION, NOON + timedelta(seconds=seconds))
        watchdog.heard(TRAINING, NOON + timedelta(seconds=seconds))


@pytest.mark.parametrize(("lasted_s", "limit_s"), [((30, 20), 300), ((2, 3), 60)])
def test_an_evaluation_may_last_ten_times_the_longest_so_far(lasted_s, limit_s):
    watchdog = Watchdog(LIMITS)
    evaluated(watchdog, *lasted_s)
    watchdog.heard(EVALUATING, NOON)
    assert silence_until_hang(watchdog) == pytest.approx(limit_s, abs=0.2)


def test_an_evaluation_that_was_found_under_way_is_not_measured():
    watchdog = Watchdog(LIMITS)
    watchdog.heard(EVALUATING)
    watchdog.heard(EVALUATION, NOON)
    watchdog.heard(EVALUATING, NOON)
    assert silence_until_hang(watchdog) == pytest.approx(1000, abs=0.2)


def test_every_step_ends_the_silence():
    watchdog = Watchdog(LIMITS)
    now = 0.0
    for number in range(1, 20):
        watchdog.heard(step(number, 1.0), NOON)
        for _ in range(590):
            now += 0.1
            assert watchdog.look(now) is None


def test_a_log_line_does_not_end_the_silence():
    watchdog = Watchdog(LIMITS)
    watchdog.heard(step(1, 1.0), NOON)
    found = None
    for second in range(100):
        watchdog.heard(events.LogLine(message="still at it"), NOON)
        found = found or watchdog.look(float(second))
    assert found is not None


def test_time_in_which_the_agent_did_not_look_does_not_count():
    watchdog = Watchdog(LIMITS)
    watchdog.heard(step(1, 1.0), NOON)
    watchdog.look(0.0)
    assert watchdog.look(3600.0) is None
    assert watchdog.look(7200.0) is None


def test_a_floor_of_nothing_is_no_watchdog():
    watchdog = Watchdog(HangLimits(floor_s=0))
    watchdog.heard(step(1, 0.01), NOON)
    assert silence_until_hang(watchdog) is None


def test_a_hang_says_its_figures():
    watchdog = Watchdog(LIMITS)
    for event in steps(14.0, 14.0):
        watchdog.heard(event, NOON)
    found = None
    for second in range(145):
        found = found or watchdog.look(float(second))
    assert str(found) == (
        "The trainer said nothing for 141.0 s (training, after step 2); at most 140.0 s was "
        "expected, 10 times the usual step of 14.0 s."
    )


def test_bytes_of_a_model_are_a_sign_of_life():
    watchdog = Watchdog(LIMITS)
    watchdog.heard(stage(Activity.DOWNLOADING_MODEL))
    for second in range(3 * int(LIMITS.unmeasured_s)):
        if second % 900 == 0:
            progress = events.ModelProgress(what="downloading", done_bytes=second, total_bytes=0)
            watchdog.heard(progress)
        assert watchdog.look(second) is None
