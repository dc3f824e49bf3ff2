from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from shared.store.store import open_store
from tests.shared.store.journal import job_spec
from tests.tui.fake_agent import FakeAgent
from tui.commands.machines import list_machines

MACHINE = {
    "gpus": [
        {"index": index, "name": "NVIDIA H100 80GB HBM3", "memory_total_mib": 81559}
        for index in range(2)
    ],
    "disk_free_bytes": 1_500_000_000,
    "disk_total_bytes": 9_000_000_000,
}


async def test_a_machine_that_answers_is_a_row(
    agent: FakeAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.machine = MACHINE
    agent.health = {"running": ["job-one"]}
    async with agent.running():
        assert await list_machines([], as_json=False) == 0

    out, err = capsys.readouterr()
    header, row = out.splitlines()
    assert header.split()[:3] == ["HOST", "STATE", "AGENT"]
    for part in ("local", "reachable", "0.1.0", "2 × H100 80GB HBM3, 80 GiB", "1.5 GB", "job-one"):
        assert part in row
    assert err == ""


async def test_as_json_it_is_data_only(
    agent: FakeAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.machine = MACHINE
    async with agent.running():
        assert await list_machines(["local"], as_json=True) == 0

    [shown] = json.loads(capsys.readouterr().out)
    assert (shown["name"], shown["state"], shown["reason"]) == ("local", "reachable", None)
    assert shown["machine"]["gpus"][1]["memory_total_mib"] == 81559


async def test_a_lost_machine_is_no_failure_of_the_command(
    agent: FakeAgent, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    async with open_store(home / "brightrun.db") as store:
        await store.add_job(job_spec(), "local")
    agent.machine = {**MACHINE, "gpu_trouble": "nvidia-smi hangs"}
    async with agent.running():
        await list_machines([], as_json=False)
    agent.socket_path.unlink()

    assert await list_machines([], as_json=False) == 0

    out, err = capsys.readouterr()
    assert "unreachable since" in out.splitlines()[-1]
    assert "job-one" in out.splitlines()[-1]
    assert "local: GPUs unknown: nvidia-smi hangs" in err
    assert "local: unreachable since" in err.splitlines()[-1]


async def test_a_machines_words_cannot_steer_the_terminal(
    agent: FakeAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b]52;c;cm0=\x07[red]\u202e\r\n"
    agent.machine = {"gpus": [{"index": 0, "name": evil}], "gpu_trouble": evil}
    agent.health = {"version": evil, "running": [evil], "root": evil}
    async with agent.running():
        for as_json in (False, True):
            assert await list_machines([], as_json=as_json) == 0

    out, err = capsys.readouterr()
    assert "[red]" in out
    assert not set(out + err) & {"\x1b", "\x07", "\u202e", "\r"}


async def test_looking_starts_no_agent(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await asyncio.wait_for(list_machines([], as_json=False), 30) == 0

    assert "no agent yet" in capsys.readouterr().out
    assert not (home / "agent").exists()
