from __future__ import annotations

from datetime import timedelta

import pytest

from shared.events import Event, GpuReading, GpuSample
from shared.job_state import JobState, fold
from shared.lifecycle import Activity, JobStatus
from tests.shared.store.journal import BEGIN, journal, stage, started
from tui.views.gpu_lines import age_words, gauge_lines, gpu_pairs, idle_words, load_curve

BUSY = GpuReading(
    index=0,
    utilisation_percent=98,
    memory_used_mib=61_234,
    memory_total_mib=81_559,
    temperature_c=71,
    power_w=655,
    power_limit_w=700,
)
IDLE = BUSY.model_copy(update={"utilisation_percent": 0, "power_w": 119})
SAMPLED = BEGIN + timedelta(seconds=103)


def state_of(*gpus: GpuReading, then: tuple[Event, ...] = ()) -> JobState:
    training = stage(JobStatus.TRAINING, Activity.TRAINING)
    return fold(journal(started(), training, GpuSample(gpus=gpus), *then))


def lines(
    state: JobState, width: int, minutes: float = 0.0, *, is_unicode: bool = True
) -> list[str]:
    now = SAMPLED + timedelta(minutes=minutes)
    loads = [(SAMPLED - timedelta(minutes=age), load) for age, load in ((59, 0.0), (1, 100.0))]
    drawn = gauge_lines(state, loads, now, width, usd_per_hour=2.39, is_unicode=is_unicode)
    return [line.plain for line in drawn]


def test_one_gpu_beside_the_chart_has_a_line_for_each_gauge() -> None:
    assert lines(state_of(BUSY), 31) == [
        "load   ━━━━━━━━━━━━━━      98 %",
        "memory ━━━━━━━━━━━─── 60/80 GiB",
        "heat   ━━━━━━━━━━────     71 °C",
        "power  ━━━━━━━━━━━━━─ 655/700 W",
        "hour   ▁                      █",
    ]


def test_the_gauges_of_one_gpu_stand_in_one_line_below_the_chart() -> None:
    [line] = lines(state_of(BUSY), 78)
    assert line.split() == [
        *("GPU", "0", "━━━━━━━", "98", "%", "━━━━━──", "60/80", "GiB"),
        *("━━━━━──", "71", "°C", "━━━━━━━", "655/700", "W"),
    ]


@pytest.mark.parametrize("width", [31, 78])
@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("is_unicode", [True, False])
@pytest.mark.parametrize("minutes", [0, 30])
def test_the_gauges_fit_whatever_is_known(
    width: int, count: int, is_unicode: bool, minutes: float
) -> None:
    unknown = GpuReading(index=3, memory_total_mib=81_559)
    full = BUSY.model_copy(
        update={"utilisation_percent": 100, "memory_used_mib": 81_559, "power_w": 1000,
                "power_limit_w": 1000, "temperature_c": 100}
    )  # fmt: skip
    for gpu in (full, unknown, IDLE):
        drawn = lines(state_of(*[gpu] * count), width, minutes, is_unicode=is_unicode)
        gauges = [line for line in drawn if "idle" not in line]
        assert gauges and max(map(len, gauges)) <= width
        assert len(gauges) <= (9 if width < 60 else 3)
        assert is_unicode or "".join(drawn).replace("–", "").isascii()


def test_many_gpus_below_the_chart_share_a_line() -> None:
    gpus = [BUSY.model_copy(update={"utilisation_percent": 90 + at}) for at in range(8)]
    [line] = lines(state_of(*gpus), 78)
    assert line == "8 GPUs ━━━━━━━━ 94 % (90 to 97)  at most 60/80 GiB, 71 °C  5240 W in all"


def test_a_machine_without_gpus_has_no_gauges() -> None:
    assert lines(JobState(), 78) == []
    assert gpu_pairs(JobState(), SAMPLED) == []


def test_readings_that_are_old_say_so() -> None:
    state = state_of(BUSY)
    assert age_words(state, SAMPLED + timedelta(seconds=149)) == ""
    assert lines(state, 78, 3)[-1] == "as of 3 min ago"
    assert {line.style for line in gauge_lines(state, [], SAMPLED + timedelta(minutes=3), 78)} == {
        "dim"
    }


def test_an_idle_gpu_is_flagged_with_what_it_costs() -> None:
    state = state_of(IDLE)
    assert idle_words(state, SAMPLED + timedelta(seconds=59), 2.39) == ""
    assert lines(state, 78, 2)[-1] == "▲ GPU idle for 2 min while training, paid $2.39/h"
    assert idle_words(state_of(IDLE, IDLE), SAMPLED + timedelta(minutes=2)) == (
        "2 GPUs idle for 2 min while training"
    )
    assert idle_words(state_of(BUSY), SAMPLED + timedelta(minutes=2), 2.39) == ""


def test_what_is_not_known_any_more_does_not_idle_on() -> None:
    state = state_of(IDLE)
    later = state.model_copy(update={"gpus_at": SAMPLED + timedelta(minutes=4)})
    assert "for 4 min" in idle_words(later, SAMPLED + timedelta(hours=3))


def test_the_figures_of_each_gpu_are_listed() -> None:
    state = state_of(BUSY, IDLE.model_copy(update={"index": 1}))
    assert gpu_pairs(state, SAMPLED) == [
        ("GPU 0", "98 %, 61,234 of 81,559 MiB, 71 C, 655 of 700 W"),
        ("GPU 1", "0 %, 61,234 of 81,559 MiB, 71 C, 119 of 700 W"),
    ]


def test_the_curve_spans_an_hour_and_all_loads() -> None:
    loads = [
        (SAMPLED - timedelta(minutes=age), load)
        for age, load in ((90, 50.0), (31, 0.0), (29, 100.0), (28, 0.0), (0, 100.0))
    ]
    assert load_curve(loads, SAMPLED, 4) == " ▁▅█"
