"""The gauges of a rented job's GPUs: from the store at first, then from its journal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.events import Event, GpuReading, GpuSample, JournalRecord
from shared.lifecycle import Activity, JobStatus
from shared.rental import RentalPhase
from shared.store.store import Store
from tests.shared.store.journal import metrics, run_facts, stage, started
from tests.tui.rented import machine, put
from tests.tui.screens.rental import OPEN, console, opened, store

__all__ = ["console", "opened", "store"]  # fixtures

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


class Pod:
    """What the pod of the rented job tells, a minute after the other until `ago` minutes ago."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.seq = 0

    async def tell(self, *happened: Event, ago: float = 0.0) -> None:
        end = datetime.now(UTC) - timedelta(minutes=ago)
        records = []
        for place, event in enumerate(happened, start=1):
            self.seq += 1
            records.append(
                JournalRecord(
                    job_id="job-rent",
                    attempt=1,
                    seq=self.seq,
                    time=end - timedelta(minutes=len(happened) - place),
                    trainer_offset=0,
                    event=event,
                )
            )
        await self.store.apply_records("job-rent", records)


@pytest.fixture
async def pod(store: Store) -> Pod:
    begin = datetime.now(UTC) - timedelta(hours=1)
    await store.rentals.intend(machine(created_at=begin, rented_at=begin))
    await put(store, phase=RentalPhase.RUNNING)
    made = Pod(store)
    training = stage(JobStatus.TRAINING, Activity.TRAINING)
    await made.tell(started(), run_facts(40), training, metrics(1, 2.0), ago=40)
    return made


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_gauges_come_with_the_first_sample_and_follow(
    opened: OPEN, pod: Pod, size: tuple[int, int]
) -> None:
    async with opened(size) as pilot:
        pilot.app.open_job(pilot.app.news["job-rent"].job)
        await pilot.until_seen("grad norm")
        assert "GiB" not in pilot.text
        await pod.tell(GpuSample(gpus=(BUSY,)))
        await pilot.until_seen("98 %", "60/80 GiB", "71 °C", "655/700 W")
        assert "ago" not in pilot.text
        await pod.tell(*[GpuSample(gpus=(IDLE,))] * 5)
        await pilot.until_seen("0 %", "GPU idle for 4 min while", "$2.39/h")


async def test_old_readings_from_the_store_are_marked_as_such(opened: OPEN, pod: Pod) -> None:
    await pod.tell(*[GpuSample(gpus=(BUSY,))] * 20, ago=7)
    async with opened((120, 40)) as pilot:
        pilot.app.open_job(pilot.app.news["job-rent"].job)
        await pilot.until_seen("60/80 GiB", "as of 7 min ago", "hour", "█" * 3)


async def test_samples_are_no_lines_among_the_events(opened: OPEN, pod: Pod) -> None:
    await pod.tell(*[GpuSample(gpus=(BUSY,))] * 20)
    async with opened((120, 40)) as pilot:
        pilot.app.open_job(pilot.app.news["job-rent"].job)
        await pilot.until_seen("60/80 GiB")
        await pod.tell(
            GpuSample(gpus=(IDLE,)), metrics(2, 1.9), stage(JobStatus.TRAINING, Activity.EVALUATING)
        )
        await pilot.press("2")
        await pilot.until_seen("evaluating")
        assert "MiB" not in pilot.text
    events = await pod.store.events("job-rent", 2, without_metrics=True)
    assert [event.event.kind for event in events] == ["stage", "stage"]
