from __future__ import annotations

import asyncio
import os
from datetime import timedelta

import pytest

from agent.gpu_gauges import IDLE_WARNING_S, GpuGauges, GpuTeller, Look
from agent.watchdog import HangLimits
from shared.errors import ProtocolError
from shared.events import GpuReading, GpuSample, JournalRecord, LogLine
from shared.job_state import fold
from shared.lifecycle import Activity, JobStatus, StopReason
from tests.fakes import nvidia_smi
from tests.shared.store.journal import BEGIN, journal, stage, started

BUSY = GpuReading(
    index=0,
    utilisation_percent=97,
    memory_used_mib=61_000,
    memory_total_mib=81_559,
    temperature_c=70,
    power_w=650,
    power_limit_w=700,
)
IDLE = BUSY.model_copy(update={"utilisation_percent": 0, "power_w": 120})
TRAINING = fold(journal(started(), stage(JobStatus.TRAINING, Activity.TRAINING)))


def at(seconds, *gpus, trouble=""):
    return Look(BEGIN + timedelta(seconds=seconds), gpus, trouble)


def told(looks, state=TRAINING, usd_per_hour=2.39):
    """What each look makes a teller say, with the state that a journal of it folds to."""
    teller, said = GpuTeller(state), []
    for look in looks:
        events = teller.events(look, state, usd_per_hour)
        said.append(events)
        for event in events:
            record = JournalRecord(
                job_id="job-one",
                attempt=state.attempt,
                seq=state.seq + 1,
                time=look.at,
                trainer_offset=0,
                event=event,
            )
            state = fold([record], state)
    return said


def changed(**values):
    return BUSY.model_copy(update=values)


def test_samples_that_say_the_same_are_thinned_out_to_one_a_minute():
    calm = [changed(utilisation_percent=97 - n % 3, temperature_c=70 + n % 2) for n in range(41)]
    said = told(at(15 * number, gpu) for number, gpu in enumerate(calm))
    assert [number for number, events in enumerate(said) if events] == list(range(0, 41, 4))


@pytest.mark.parametrize(
    "change",
    [
        {"utilisation_percent": 86},
        {"utilisation_percent": None},
        {"memory_used_mib": 63_000},
        {"temperature_c": 75},
        {"power_w": 600},
        {"held_back_by": ("heat",)},
    ],
)
def test_what_changes_is_told_at_once(change):
    first, second, third = told([at(0, BUSY), at(15, changed(**change)), at(30, changed(**change))])
    assert (len(first), len(second), len(third)) == (1, 1, 0)


def test_the_same_look_is_told_once_however_often_it_is_seen():
    look = at(0, BUSY)
    assert [len(events) for events in told([look, look, None])] == [1, 0, 0]


def test_a_machine_without_a_gpu_is_told_nothing():
    assert told([at(0), at(15), at(300)]) == [[], [], []]


def test_gpus_that_cannot_be_asked_are_told_once():
    first, second = told([at(0, trouble="It hangs."), at(60, trouble="It hangs.")])
    assert first == [
        LogLine(
            level="warning",
            message="The GPUs cannot be watched: It hangs. The training goes on.",
        )
    ]
    assert second == []


def warnings(said):
    lines = [event for events in said for event in events if isinstance(event, LogLine)]
    return [line.message for line in lines]


def test_an_idle_gpu_is_warned_of_once_in_each_spell():
    spell = [at(15 * number, IDLE) for number in range(40)]
    [once] = warnings(told(spell))
    assert once == (
        "The GPU idles (below 5 %) for 3 min while the job trains, at 2.39 USD an hour. "
        "The log says what it waits for."
    )
    again = [at(15 * number, IDLE) for number in range(41, 80)]
    assert len(warnings(told([*spell, at(600, BUSY), *again]))) == 2


def test_a_short_pause_is_no_warning_and_several_gpus_must_all_idle():
    assert warnings(told([at(0, IDLE), at(150, IDLE), at(165, BUSY), at(180, IDLE)])) == []
    pair = [at(15 * number, IDLE, changed(index=1)) for number in range(40)]
    assert warnings(told(pair)) == []
    idle_pair = [at(15 * number, IDLE, IDLE) for number in range(40)]
    assert warnings(told(idle_pair, usd_per_hour=0))[0].startswith("All 2 GPUs idle (below 5 %)")


def test_gpus_may_idle_while_the_model_is_loaded():
    loading = fold(journal(started(), stage(JobStatus.MODEL_LOADED, Activity.LOADING_MODEL)))
    assert warnings(told([at(15 * number, IDLE) for number in range(40)], loading)) == []


def test_a_new_agent_does_not_repeat_the_warning_of_the_one_before_it():
    since, now = BEGIN, BEGIN + timedelta(seconds=IDLE_WARNING_S + 15)
    values = {"gpus": (IDLE,), "gpus_at": now, "gpu_idle_since": since}
    state = TRAINING.model_copy(update=values)
    later = [at(IDLE_WARNING_S + 30 + 15 * number, IDLE) for number in range(10)]
    assert warnings(told(later, state)) == []


class Driver:
    """Stands in for asking nvidia-smi, and counts; its clock is moved by hand."""

    def __init__(self):
        self.now_s = 100.0
        self.asked = 0
        self.trouble = ""
        self.answering = asyncio.Event()
        self.answering.set()

    async def ask(self):
        self.asked += 1
        await self.answering.wait()
        if self.trouble:
            raise ProtocolError(self.trouble)
        return (BUSY,)

    def gauges(self, interval_s=15.0):
        return GpuGauges(interval_s, ask=self.ask, clock=lambda: self.now_s)


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_however_often_the_gauges_are_read_the_driver_is_asked_once_in_an_interval():
    driver = Driver()
    gauges = driver.gauges()
    for _ in range(50):
        gauges.latest()
        await settled()
        driver.now_s += 1
    assert driver.asked == 4
    assert gauges.latest().gpus == (BUSY,)


async def test_a_driver_that_hangs_keeps_nobody_waiting_and_is_asked_only_once():
    driver = Driver()
    driver.answering.clear()
    gauges = driver.gauges()
    for _ in range(10):
        assert gauges.latest() is None
        await settled()
        driver.now_s += 20
    assert driver.asked == 1
    await gauges.close()


async def test_a_driver_in_trouble_is_left_alone_for_a_minute():
    driver = Driver()
    driver.trouble = "nvidia-smi did not answer within 6 s."
    gauges = driver.gauges()
    for _ in range(70):
        gauges.latest()
        await settled()
        driver.now_s += 1
    assert driver.asked == 2


async def test_a_look_of_long_ago_is_none_of_the_next_attempt():
    driver = Driver()
    gauges = driver.gauges()
    gauges.latest()
    await settled()
    assert gauges.latest() is not None
    driver.now_s += 3600
    assert gauges.latest() is None


async def test_no_interval_is_no_look():
    driver = Driver()
    assert driver.gauges(0).latest() is None
    await settled()
    assert driver.asked == 0


def samples(records):
    return [record for record in records if isinstance(record.event, GpuSample)]


@pytest.fixture
def put_nvidia_smi(tmp_path, monkeypatch):
    def put(script):
        directory = nvidia_smi.install(tmp_path / "bin", script)
        monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")

    return put


async def test_a_running_job_tells_what_its_gpus_do(pod, put_nvidia_smi):
    put_nvidia_smi(nvidia_smi.printing(nvidia_smi.report_of(nvidia_smi.gpu())))
    supervisor = await pod.supervisor(gpu_interval_s=0.05)
    await supervisor.start(pod.spec("steps=10 delay=0.2"))
    job = supervisor.job("job-one")
    await pod.until(lambda: bool(job.state.gpus))
    assert (job.state.gpus[0].utilisation_percent, job.state.gpus[0].power_w) == (98, 655)
    records = await pod.until_final(supervisor)
    # However often nvidia-smi was asked, nothing changed.
    assert len(samples(records)) == 1
    assert job.state.stop_reason is StopReason.COMPLETED


@pytest.mark.parametrize("script", ["sleep 60", "echo broken; exit 9", "exec yes '<gpu>'"])
async def test_an_nvidia_smi_that_hangs_or_fails_does_nothing_to_a_job(pod, put_nvidia_smi, script):
    put_nvidia_smi(script)
    supervisor = await pod.supervisor(gpu_interval_s=0.05)
    await supervisor.start(pod.spec("steps=6 delay=0.1"))
    records = await pod.until_final(supervisor)
    assert samples(records) == []
    assert supervisor.job("job-one").state.stop_reason is StopReason.COMPLETED


async def test_samples_are_no_sign_of_life(pod, put_nvidia_smi):
    """The load jumps at each look, so that there is always something to tell."""
    load = "$(($(date +%N | sed 's/^0*//') / 1000 % 90)) %"
    report = nvidia_smi.report_of(nvidia_smi.gpu(load))
    put_nvidia_smi(f"cat <<REPORT\n{report}\nREPORT")
    limits = HangLimits(floor_s=1.0, factor=2.0, unmeasured_s=1.0)
    supervisor = await pod.supervisor(gpu_interval_s=0.05, hang_limits=limits, stacks_limit_s=1.0)
    await supervisor.start(pod.spec("steps=9 at=2 dies=hang until=9", max_restarts=0))
    records = await pod.until_final(supervisor)
    assert len(samples(records)) >= 3
    assert supervisor.job("job-one").state.stop_reason in (
        StopReason.TRAINER_HUNG,
        StopReason.RESTARTS_EXHAUSTED,
    )


async def test_a_trainer_may_not_speak_for_the_gpus(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=40 delay=0.1"))
    await pod.until_step(1)
    with pod.attempt(1).trainer_events_path.open("a") as file:
        event = '{"kind":"gpu_sample","gpus":[{"index":0,"utilisation_percent":1}]}'
        file.write(f'{{"time":"2026-11-22T15:00:00Z","event":{event}}}\n')
    job = supervisor.job("job-one")
    await pod.until(lambda: "only the agent may say gpu_sample" in _last_line(job))
    assert job.state == job.state.model_copy(update={"gpus": ()})
    await supervisor.cancel("job-one", "seen")
    await pod.until_final(supervisor)


def _last_line(job):
    line = job.last_event(1, LogLine)
    return "" if line is None else line.message
