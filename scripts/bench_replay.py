"""The part of bench_transport that replays a long journal into an empty store."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from scripts.bench_box import LOCAL, SSH, BenchBox, bench_box, running_agent
from scripts.bench_table import Row
from shared.events import JournalRecord, Metrics, decode_journal_records, encode
from shared.store.store import Store, open_store
from tests.shared.store.journal import completed_job
from tui.services.session import Session

ROUNDS = 3
LINES_PER_FRAME = 200
FRAMES_PER_BATCH = 8
"""About as many as the client joins where they are there already."""


@dataclass(frozen=True)
class Speed:
    """How quickly a number of records went, by the clock and by this process's CPU time."""

    per_s: float
    per_cpu_s: float


class Stopwatch:
    """From its making on."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def speed(self, count: int) -> Speed:
        """Of so many records since the beginning."""
        wall, cpu = self._began
        return Speed(count / (time.perf_counter() - wall), count / (time.process_time() - cpu))


async def measure_replay(steps: int) -> list[Row]:
    """Medians of several jobs of the same length, each way and each stage in turns."""
    speeds: dict[str, list[Speed]] = {"ssh": [], "local": [], "decode": [], "store": []}
    with bench_box() as box:
        count = sum(write_job(box, job_id(turn), steps) for turn in range(ROUNDS)) // ROUNDS
        with running_agent(box):
            async with box.session(SSH) as far, box.session(LOCAL) as near:
                for turn in range(ROUNDS):
                    speeds["ssh"].append(await replay(box, far, SSH, turn, count))
                    speeds["local"].append(await replay(box, near, LOCAL, turn, count))
                    batches = list(batches_of(journal_path(box, turn)))
                    speeds["decode"].append(decode_only(batches, count))
                    async with open_store(box.folder / f"alone-{turn}.db") as store:
                        speeds["store"].append(await store_only(box, store, turn, batches))
                    del batches
    walls = {name: median(item.per_s for item in of) for name, of in speeds.items()}
    cpu = {name: median(item.per_cpu_s for item in of) for name, of in speeds.items()}
    replayed = f"{count:,} events replayed over SSH"
    return [
        Row(replayed, walls["ssh"], "/s", walls["local"], "local", "> 100,000 /s"),
        Row(replayed, walls["ssh"], "/s", walls["decode"], "decoding alone"),
        Row(replayed, walls["ssh"], "/s", walls["store"], "storing alone"),
        Row("  a CPU second of the console", cpu["ssh"], "", cpu["local"], "local"),
        Row("  a CPU second of the console", cpu["ssh"], "", cpu["decode"], "decoding alone"),
        Row("  a CPU second of the console", cpu["ssh"], "", cpu["store"], "storing alone"),
    ]


def job_id(turn: int) -> str:
    """A job for each round, since a store takes a record once."""
    return f"job-long-{turn}"


def journal_path(box: BenchBox, turn: int) -> Path:
    """Where the agent keeps the journal of the only attempt."""
    return box.root.job(job_id(turn)).attempt(1).journal_path


def write_job(box: BenchBox, name: str, steps: int) -> int:
    """A job that has ended, as an agent finds it when it starts; returns how many records."""
    directory = box.root.job(name)
    journal = directory.attempt(1).journal_path
    journal.parent.mkdir(parents=True)
    directory.spec_path.write_text(box.spec(name).model_dump_json())
    chance = random.Random(7)
    records = completed_job(steps, name)
    with journal.open("w") as file:
        file.writelines(f"{encode(as_measured(record, chance))}\n" for record in records)
    return len(records)


def as_measured(record: JournalRecord, chance: random.Random) -> JournalRecord:
    """With the digits of a real step: made-up round ones are shorter and compress better."""
    if not isinstance(record.event, Metrics):
        return record
    measured = {"loss": 3.0, "grad_norm": 9.0, "learning_rate": 2e-4, "epoch": 3.0, "step_s": 2.0}
    drawn = {name: chance.random() * scale for name, scale in measured.items()}
    event = record.event.model_copy(update={**drawn, "memory_bytes": chance.randrange(10**10)})
    return record.model_copy(update={"event": event})


async def replay(box: BenchBox, session: Session, host: str, turn: int, count: int) -> Speed:
    """The whole journal into the session's store, by the mirror, as `brightrun watch` does."""
    await session.store.add_job(box.spec(job_id(turn)), host)
    stopwatch = Stopwatch()
    async with aclosing(session.mirror.watch(job_id(turn))) as sights:
        async for _ in sights:
            pass
    speed = stopwatch.speed(count)
    assert (await session.store.get_job(job_id(turn))).cursor == (1, count)
    return speed


def batches_of(journal: Path) -> Iterator[bytes]:
    """The lines as they come to be decoded and stored at once."""
    lines = journal.read_bytes().splitlines()
    size = LINES_PER_FRAME * FRAMES_PER_BATCH
    for start in range(0, len(lines), size):
        yield b"\n".join(lines[start : start + size])


def decode_only(batches: list[bytes], count: int) -> Speed:
    """Bytes to records, nothing kept."""
    stopwatch = Stopwatch()
    for batch in batches:
        decode_journal_records(batch)
    return stopwatch.speed(count)


async def store_only(box: BenchBox, store: Store, turn: int, batches: list[bytes]) -> Speed:
    """Records to rows, a transaction a batch; the decoding between is not in it."""
    await store.add_job(box.spec(job_id(turn)), LOCAL)
    wall = cpu = 0.0
    count = 0
    for batch in batches:
        records = decode_journal_records(batch)
        began = time.perf_counter(), time.process_time()
        await store.apply_records(job_id(turn), records)
        wall += time.perf_counter() - began[0]
        cpu += time.process_time() - began[1]
        count += len(records)
    return Speed(count / wall, count / cpu)
