from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes import nvidia_smi
from tests.tui.fake_agent import FakeAgent
from tui.config import Config
from tui.services.doctor import local_host
from tui.services.doctor.local_host import ThisMachine


@pytest.fixture
def this(home: Path) -> ThisMachine:
    return ThisMachine(Config(home, home / "agent"))


async def test_no_agent_yet_is_no_failure_and_none_is_started(this: ThisMachine) -> None:
    outcome = await local_host.look_at_agent(this)
    assert (outcome.verdict, "none runs" in outcome.found) == ("ok", True)
    assert not this.config.home.exists()


async def test_an_agent_of_the_installed_version_is_well(
    this: ThisMachine, agent: FakeAgent
) -> None:
    async with agent.running():
        outcome = await local_host.look_at_agent(this)
    assert (outcome.verdict, outcome.found) == ("ok", "0.1.0 runs (pid 1), 0 jobs at work")


async def test_an_agent_that_cannot_be_installed_is_a_failure(
    this: ThisMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_host, "_AGENT_MODULES", ("json", "no_such_module"))
    outcome = await local_host.look_at_agent(this)
    assert (outcome.verdict, outcome.found) == (
        *("failure", "its packages are missing: no_such_module"),
    )


@pytest.mark.parametrize(
    ("content", "verdict", "words"),
    [
        ('{"command": ["/opt/python", "-m", "mine"]}', "ok", "your own: /opt/python -m mine"),
        ('{"command": 5}', "failure", "makes no sense"),
        ("[]", "failure", "makes no sense"),
        ("{", "failure", "makes no sense"),
    ],
)
async def test_a_trainer_of_the_users_own_is_shown(
    this: ThisMachine, content: str, verdict: str, words: str
) -> None:
    this.config.agent_root.mkdir(parents=True)
    (this.config.agent_root / "trainer.json").write_text(content)

    outcome = await local_host.look_at_trainer(this)

    assert outcome.verdict == verdict
    assert words in outcome.found


async def test_the_machine_is_asked_in_a_process_of_its_own(
    this: ThisMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = nvidia_smi.install(tmp_path / "bin", nvidia_smi.printing(nvidia_smi.TWO_H100))
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")

    assert (await local_host.look_at_facts(this)).verdict == "ok"

    assert (await local_host.look_at_gpu(this)).found.startswith("2 × H100 80GB HBM3")
    assert (await local_host.look_at_disk(this)).verdict in ("ok", "warning")
    assert (await local_host.look_at_memory(this)).verdict in ("ok", "warning")


async def test_a_machine_that_takes_too_long_is_left(
    this: ThisMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = nvidia_smi.install(tmp_path / "bin", "sleep 5")
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    monkeypatch.setattr(local_host, "_ANSWER_TIMEOUT_S", 0.5)
    with pytest.raises(TimeoutError):
        await local_host.look_at_facts(this)
