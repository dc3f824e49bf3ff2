"""Watchers that read no more: held with bounded memory, dropped in the end, no trainer slowed."""

from __future__ import annotations

import itertools
import os
import shlex
import socket
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import websockets

from agent.job import Job
from shared import events
from shared.events import decode_journal_record
from tests.agent.conftest import TRAINER_COMMAND

STREAM = "/training/jobs/job-one/events"
HASTY = (
    "from agent import event_socket\n"
    "event_socket.PING_INTERVAL_S = event_socket.PING_TIMEOUT_S = {}\n"
    "from agent.cli import main\n"
    "main()"
)


async def start_hasty_agent(pod, ping_s):
    """A real agent that loses patience with silent watchers after twice `ping_s`."""
    command = [sys.executable, "-P", "-c", HASTY.format(ping_s), "serve"]
    command += ["--root", str(pod.root.path), "--trainer-command", shlex.join(TRAINER_COMMAND)]
    agent = subprocess.Popen(command)
    pod.agents.append(agent)
    await pod.until(lambda: pod.root.address_path.exists() and pod.address().pid == agent.pid, 20)
    return agent


async def start_job(pod, notes):
    async with pod.client() as client:
        body = {"job": pod.spec(notes).model_dump(mode="json")}
        assert (await client.post("/training/start", json=body)).status_code == 202


def stalled_watcher(pod):
    """A connection over which everything is asked for and nothing is read."""
    watcher = socket.socket(socket.AF_UNIX)
    watcher.connect(pod.address().socket)
    token = pod.authorization()["Authorization"]
    watcher.sendall(
        f"GET {STREAM} HTTP/1.1\r\nHost: agent\r\nAuthorization: {token}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    return watcher


def memory_mib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def open_sockets(pid):
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += os.readlink(entry).startswith("socket:")
        except FileNotFoundError:
            continue
    return found


async def test_watchers_that_never_read_cost_bounded_memory_and_are_dropped(pod):
    agent = await start_hasty_agent(pod, ping_s=1.5)
    await start_job(pod, "chatter=16000 steps=4 delay=0.02")
    records = await pod.watch(STREAM)
    journal_mib = pod.attempt(1).journal_path.stat().st_size / 2**20
    before, sockets = memory_mib(agent.pid), open_sockets(agent.pid)
    watchers = [stalled_watcher(pod) for _ in range(12)]
    try:
        await pod.until(lambda: open_sockets(agent.pid) == sockets + len(watchers))
        # One that reads gets everything meanwhile.
        assert await pod.watch(STREAM) == records
        grown = memory_mib(agent.pid) - before
        assert grown < len(watchers) * journal_mib / 5, (grown, journal_mib)
        await pod.until(lambda: open_sockets(agent.pid) <= sockets, 30)
    finally:
        for watcher in watchers:
            watcher.close()


async def test_a_watcher_that_was_dropped_goes_on_from_its_cursor(pod):
    await start_hasty_agent(pod, ping_s=0.5)
    await start_job(pod, "chatter=4000 steps=4 delay=0.02")
    whole = await pod.watch(STREAM)
    got = []
    async with websockets.unix_connect(
        pod.address().socket,
        f"ws://agent{STREAM}",
        additional_headers=pod.authorization(),
        compression=None,
        max_queue=1,
    ) as connection:
        # It reads a frame and then nothing until the agent has let it go.
        got += str(await connection.recv()).split("\n")
        sockets = open_sockets(pod.agents[0].pid)
        await pod.until(lambda: open_sockets(pod.agents[0].pid) < sockets)
        with pytest.raises(websockets.ConnectionClosedError):
            while True:
                got += str(await connection.recv()).split("\n")
    seen = [decode_journal_record(line) for line in got]
    assert 0 < len(seen) < len(whole)
    rest = await pod.watch(f"{STREAM}?attempt={seen[-1].attempt}&after={seen[-1].seq}")
    assert seen + rest == whole


async def test_the_trainer_keeps_its_pace_whoever_watches_and_does_not_read(pod):
    await pod.start_agent()
    await start_job(pod, "steps=60 delay=0.04")
    await pod.until_step(30)
    watchers = [stalled_watcher(pod) for _ in range(20)]
    try:
        records = await pod.watch(STREAM)
    finally:
        for watcher in watchers:
            watcher.close()
    times = [r.time for r in records if isinstance(r.event, events.Metrics)]
    paces = [(b - a).total_seconds() for a, b in itertools.pairwise(times)]
    assert len(paces) == 59
    assert statistics.median(paces[32:]) < 2 * statistics.median(paces[:28])


async def test_an_agent_with_a_stalled_watcher_ends_when_it_is_told_to(pod):
    agent = await pod.start_agent()
    await start_job(pod, "chatter=10000 steps=1000 delay=0.05")
    await pod.until_step(1)
    sockets = open_sockets(agent.pid)
    watcher = stalled_watcher(pod)
    try:
        await pod.until(lambda: open_sockets(agent.pid) > sockets)
        agent.terminate()
        await pod.until(lambda: agent.poll() is not None, 10)
    finally:
        watcher.close()
    assert agent.returncode == 0


async def test_a_batch_is_small_although_its_lines_are_long(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=1"))
    before = await pod.until_final(supervisor)
    job = supervisor.job("job-one")
    for number in range(30):
        message = f"{number} ".ljust(100_000, "x")
        await job.record(1, events.LogLine(message=message))
    batches = [batch async for batch in job.follow((0, 0), 200)]
    lines = [line for batch in batches for line in batch]
    assert [decode_journal_record(line).seq for line in lines] == list(range(1, len(before) + 31))
    assert max(sum(map(len, batch)) for batch in batches) <= 1 << 18
    assert len(batches) < 30


async def test_a_single_line_that_is_longer_than_any_batch_is_sent_alone(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=1"))
    before = await pod.until_final(supervisor)
    job = supervisor.job("job-one")
    assert isinstance(job, Job)
    for size in (10, 1 << 20, 10):
        await job.record(1, events.LogLine(message="x" * size))
    batches = [batch async for batch in job.follow((1, len(before)), 200)]
    assert [len(batch) for batch in batches] == [1, 1, 1]
