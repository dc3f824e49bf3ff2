"""A sweep in a store, as if its jobs had run: the same figures in every run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from shared.events import Event, JournalRecord
from shared.job_state import JobState
from shared.lifecycle import Activity, JobStatus, StopReason
from shared.store.store import Store
from shared.store.stored import StoredJob
from shared.sweep import Sweep, expand, new_sweep, parse_varied
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

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OOM = "CUDA out of memory: 78.3 of 80.0 GB"


def the_sweep(name: str = "Elena", *typed: str) -> Sweep:
    """Four jobs, unless it says otherwise."""
    varied = typed or ("learning_rate=1e-4,2e-4", "lora_r=8,16")
    values = {"sweep_id": "grid", "name": name, "created_at": NOW}
    return new_sweep({**values, "varied": tuple(map(parse_varied, varied))})


def jobs_of(sweep: Sweep) -> list[StoredJob]:
    """As they are written down: all wait on this machine."""
    state = JobState(activity=Activity.WAITING_FOR_TURN)
    return [
        StoredJob(
            spec,
            state,
            "local",
            None,
            None,
            NOW,
            NOW,
            waits_for_turn=True,
            sweep_id=sweep.sweep_id,
        )
        for spec in expand(job_spec("base"), sweep)
    ]


def history(
    job_id: str, steps: int, level: float, end: StopReason | None, detail: str = ""
) -> list[JournalRecord]:
    """A run of that many steps, whose loss falls towards `level`; None: it goes on."""
    events: list[Event] = [started(), run_facts(40), evaluation(0, 2.2)]
    events.append(stage(JobStatus.TRAINING, Activity.TRAINING))
    for step in range(1, steps + 1):
        fall = math.exp(-step / 12)
        wave = 0.05 * math.sin(step * level * 9)
        events.append(metrics(step, level + 1.1 * fall + wave, tokens=500 + 10 * step))
        if step % 10 == 0:
            events.append(evaluation(step, level + 0.1 + fall))
    if end is not None:
        events.append(ended(end, detail=detail))
    return journal(*events, job_id=job_id)


async def add_sweep(store: Store, sweep: Sweep | None = None) -> Sequence[str]:
    """Two jobs have completed, one has failed, one is waiting; all others have completed."""
    sweep = sweep or the_sweep()
    jobs = jobs_of(sweep)
    await store.sweeps.add(sweep, jobs)
    for number, job in enumerate(jobs[:-1]):
        end, steps = StopReason.COMPLETED, 40 if number % 2 else 25
        if number == 1 and len(jobs) == 4:
            end, steps = StopReason.OUT_OF_MEMORY, 7
        detail = OOM if end is StopReason.OUT_OF_MEMORY else ""
        await store.queue.handed_over(job.job_id)
        records = history(job.job_id, steps, 1.2 - 0.07 * number, end, detail)
        await store.apply_records(job.job_id, records)
    return [job.job_id for job in jobs]
