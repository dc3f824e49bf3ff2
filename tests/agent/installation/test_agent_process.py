from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import agent
from agent.installation.agent_process import find_agent, write_starter
from agent.process import ProcessIdentity, boot_id, is_alive
from tests.agent.conftest import Pod

CODE = Path(agent.__file__).parents[1]


def test_a_machine_that_is_not_rented_needs_no_starter(tmp_path: Path) -> None:
    write_starter(tmp_path, Path(sys.executable), CODE)
    assert list(tmp_path.iterdir()) == []


async def test_the_starter_starts_an_agent_where_none_runs_and_no_second_one(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.rent(1)
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_canary")
    write_starter(pod.root.path, Path(sys.executable), CODE)
    starter = pod.root.path / "start-agent"
    assert stat.S_IMODE(starter.stat().st_mode) == 0o700
    first, second = (subprocess.run([starter], capture_output=True, check=True) for _ in range(2))
    address = json.loads(first.stdout)
    assert json.loads(second.stdout) == address
    assert b"canary" not in Path(f"/proc/{address['pid']}/environ").read_bytes()
    os.kill(address["pid"], signal.SIGKILL)
    identity = ProcessIdentity(address["pid"], address["start_time"], boot_id())
    await pod.until(lambda: not is_alive(identity))
    again = json.loads(subprocess.run([starter], capture_output=True, check=True).stdout)
    assert again["pid"] != address["pid"]


async def test_an_agent_of_an_earlier_machine_is_none_of_this_one(pod: Pod) -> None:
    pod.rent(1)
    await pod.start_agent()
    found = find_agent(pod.root.path)
    assert found is not None
    pod.rent(2)
    assert find_agent(pod.root.path) is None
