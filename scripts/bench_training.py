"""The part of bench_transport that asks what agent and watcher cost the real trainer."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from unittest import mock

from agent.detach import stop_agent
from agent.run_directory import AttemptDirectory, AttemptSpec
from scripts.bench_box import LOCAL, SSH, BenchBox, bench_box, end_trainers
from scripts.bench_table import Row
from shared.dataset.sample import SAMPLE_JSON
from shared.dataset.storage import store_dataset
from shared.events import Metrics, decode_trainer_record
from shared.hyperparameters import Hyperparameters
from shared.job_spec import JobSpec

CONVERSATIONS = 7
RECIPE = Hyperparameters(num_epochs=3, batch_size=1, gradient_accumulation_steps=2)
"""On the shortest conversations of the sample: some twenty steps, each under a second."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class Watched:
    """A training under the agent, with a console that watches over SSH."""

    steps_s: list[float]
    agent_cpu_s: float
    console_cpu_s: float
    wall_s: float


async def measure_share(trainings: int) -> list[Row]:
    """The trainer alone and watched, in turns."""
    alone: list[float] = []
    watched: list[Watched] = []
    with mock.patch.dict(os.environ, ONE_THREAD), bench_box() as box:
        write_short_dataset(box.console.dataset)
        store_dataset(box.console.dataset, box.root.datasets_path, spec_of(box, "job-none").dataset)
        await train_alone(box, "job-first")  # It builds the model, and warms the file cache.
        async with real_agent(box):
            for turn in range(trainings):
                alone += await train_alone(box, f"alone-{turn}")
                watched.append(await train_watched(box, f"job-watched-{turn}"))
    step_ms = 1000 * median(step for run in watched for step in run.steps_s)
    wall_s = sum(run.wall_s for run in watched)
    agent = 100 * sum(run.agent_cpu_s for run in watched) / wall_s
    console = 100 * sum(run.console_cpu_s for run in watched) / wall_s
    return [
        Row("watched training step, p50", step_ms, "ms", 1000 * median(alone), "alone", "< 1.01x"),
        Row("agent meanwhile, of one core", agent, "%"),
        Row("watching console meanwhile, of a core", console, "%"),
    ]


def write_short_dataset(path: Path) -> None:
    """The shortest conversations of the sample."""
    document = json.loads(SAMPLE_JSON.read_text(encoding="utf-8"))
    document["conversations"].sort(key=lambda item: len(json.dumps(item)))
    del document["conversations"][CONVERSATIONS:]
    path.write_text(json.dumps(document), encoding="utf-8")


def spec_of(box: BenchBox, job_id: str) -> JobSpec:
    """The same training for all."""
    return box.spec(job_id).model_copy(update={"hyperparameters": RECIPE})


@asynccontextmanager
async def real_agent(box: BenchBox) -> AsyncIterator[None]:
    """The agent as the console starts it, with the real trainer."""
    try:
        async with box.session(LOCAL):
            yield
    finally:
        await asyncio.to_thread(stop_agent, box.root)
        end_trainers(box.root)


async def train_alone(box: BenchBox, name: str) -> list[float]:
    """Seconds of each step of a trainer with nobody around it."""
    attempt = AttemptDirectory(box.folder / "alone" / name / "attempts" / "1")
    attempt.path.mkdir(parents=True)
    spec = spec_of(box, name)
    told = AttemptSpec(
        job=spec,
        attempt=1,
        dataset_path=box.root.datasets_path / spec.dataset.stored_name,
        models_directory=box.root.models_path,
    )
    attempt.spec_path.write_text(told.model_dump_json())
    with attempt.log_path.open("ab") as log:
        command = [sys.executable, "-P", "-m", "agent.trainer", str(attempt.path)]
        code = await asyncio.to_thread(subprocess.call, command, stdout=log, stderr=log)
    if code:
        raise SystemExit(f"the trainer ended with {code}: {attempt.log_path.read_text()[-2000:]}")
    return steps_of(attempt)


async def train_watched(box: BenchBox, name: str) -> Watched:
    """The same by a job over SSH, from its start to its end."""
    spec = spec_of(box, name)
    async with box.session(SSH) as session:
        before = time.perf_counter(), box.agent_cpu_s(), time.process_time()
        await box.start(session, SSH, spec)
        async with aclosing(session.mirror.watch(name)) as sights:
            async for _ in sights:
                pass
        after = time.perf_counter(), box.agent_cpu_s(), time.process_time()
        status = (await session.store.get_job(name)).status
    if status != "completed":
        raise SystemExit(f"{name}: {status}")
    wall_s, agent_s, console_s = (end - start for start, end in zip(before, after, strict=True))
    return Watched(steps_of(box.root.job(name).attempt(1)), agent_s, console_s, wall_s)


def steps_of(attempt: AttemptDirectory) -> list[float]:
    """Seconds of each optimizer step, as the trainer itself measured them."""
    lines = attempt.trainer_events_path.read_bytes().splitlines()
    found = [decode_trainer_record(line).event for line in lines]
    return [event.step_s for event in found if isinstance(event, Metrics)]
