"""How quickly metrics reach Supabase: `python -m scripts.bench_mirror [ROWS]`.

A store with one long job, the product's own mirror, and on loopback a real PostgreSQL behind a real
PostgREST, with row level security and a user's login. Goal: 2,000 rows/s. Beside it stands what the
console's own loop feels of it: the longest time for which nothing else could run.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from scripts.bench_table import Row, print_table
from tests.fakes.supabase.rig import SupabaseRig, missing
from tests.shared.store.journal import completed_job, job_spec
from tui.config import Config
from tui.services.session import open_session
from tui.services.supabase.connection import connected
from tui.services.supabase.mirror_worker import MirrorWorker
from tui.services.supabase.sender import Sender

GOAL_PER_S = 2000
ROWS = 100_000
_TICK_S = 0.005


async def measure(rig: SupabaseRig, home: Path, rows: int) -> list[Row]:
    """Mirror one job of so many rows."""
    async with open_session(Config(home, home / "agent")) as session:
        await session.store.add_job(job_spec(), "local")
        records = completed_job(steps=rows - 1)
        for start in range(0, len(records), 5000):
            await session.store.apply_records("job-one", records[start : start + 5000])
        del records
        path = session.config.supabase_session_path
        await rig.log_in(path, rig.user_one)
        settings = rig.settings(rig.user_one)
        worker = MirrorWorker(session, settings, print)
        async with connected(settings, path) as supabase:
            sender = Sender(session.store, supabase, settings.target)
            stalls = asyncio.create_task(longest_stall_s())
            wall, cpu = time.perf_counter(), time.process_time()
            while not await worker.send_all(sender):
                pass
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            stalls.cancel()
            stall_s = await stalls
    [found] = rig.execute("select count(*) as rows from training_metrics_history")
    assert found["rows"] == rows, found
    return [
        Row(f"{rows:,} metric rows mirrored", rows / wall, "/s", goal=f"> {GOAL_PER_S:,} /s"),
        Row("  a CPU second of this process", rows / cpu),
        Row("  longest stall of the loop", stall_s * 1000, "ms"),
    ]


async def longest_stall_s() -> float:
    """Until it is cancelled."""
    longest_s, before_s = 0.0, time.perf_counter()
    try:
        while True:
            await asyncio.sleep(_TICK_S)
            now_s = time.perf_counter()
            longest_s, before_s = max(longest_s, now_s - before_s - _TICK_S), now_s
    except asyncio.CancelledError:
        return longest_s


def main() -> int:
    if reason := missing():
        print(reason)
        return 1
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    rig = SupabaseRig()
    try:
        rig.start_all()
        with tempfile.TemporaryDirectory() as folder:
            table = asyncio.run(measure(rig, Path(folder), rows))
        print_table(table, "PostgreSQL and PostgREST on loopback")
    finally:
        rig.remove()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
