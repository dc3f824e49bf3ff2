"""A trainer that floods its log with sequences that steer a terminal, and with one endless line."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from shared.clean_text import clean
from shared.events import decode_journal_record
from tests.tui.local_console import Console
from tui.services.hosts.local import LocalHost
from tui.services.trainer_log import AttemptOpened, LogEnded, LogLines, watch_log
from tui.widgets.line_buffer import LineBuffer

LINES_MIB, LONG_LINE_MIB = 3, 64
MAX_LINES = 10_000


def memory_mib(pid: int) -> int:
    """The most that the process has ever had in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


async def test_a_roaring_log_reaches_a_follower_harmless_and_costs_little_memory(
    tmp_path: Path,
) -> None:
    """64 MiB is what the agent lets stand on the disk."""
    console = Console(tmp_path)
    await asyncio.to_thread(console.start_agent)
    try:
        before = memory_mib(console.agent.pid)
        notes = f"steps=5 delay=0.1 roar={LINES_MIB} line={LONG_LINE_MIB}"
        assert (await asyncio.to_thread(console.start, "roar", notes))[0] == 0
        buffer, opened, cpu_s = LineBuffer(MAX_LINES), [], []
        async with asyncio.timeout(120):
            async for value in watch_log(LocalHost(console.root), "roar", poll_s=0.05):
                if isinstance(value, LogLines):
                    began = time.process_time()
                    buffer.append(value.lines)
                    cpu_s.append(time.process_time() - began)
                elif isinstance(value, AttemptOpened | LogEnded):
                    opened.append(value)
        grown = memory_mib(console.agent.pid) - before
    finally:
        await asyncio.to_thread(console.kill_agent)

    attempt = console.root / "jobs/roar/attempts/1"
    log = attempt / "trainer.log"
    assert log.stat().st_size > (LINES_MIB + LONG_LINE_MIB) * 2**20
    assert log.stat().st_blocks * 512 < 64 * 2**20
    assert grown < 40, "MiB, whatever the log's size"
    assert isinstance(opened[-1], LogEnded)
    assert len(buffer.lines) <= MAX_LINES
    assert all(line == clean(line) for line in buffer.lines)
    assert buffer.lines[-1] == "the stand-in trainer écrit no secret"
    assert sorted(cpu_s)[len(cpu_s) * 95 // 100] < 0.1
    times = [
        record.time
        for line in (attempt / "journal.jsonl").read_bytes().splitlines()
        if (record := decode_journal_record(line)).event.kind == "metrics"
    ]
    assert len(times) == 5
