"""The screen of machines, on real stores and agents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from shared.store.store import open_store
from tests.shared.store.journal import job_spec
from tests.tui.console_pilot import ConsolePilot, open_app
from tests.tui.elsewhere import Elsewhere, put_elsewhere
from tests.tui.fake_agent import FakeAgent
from tests.tui.hostile import HOSTILE, SEEN, harm_on
from tests.tui.local_console import Console
from tui.screens.jobs import JobsScreen
from tui.screens.machines import MachinesScreen

OPEN = Callable[..., AbstractAsyncContextManager[ConsolePilot]]
MACHINE = {
    "gpus": [
        {
            "index": 0,
            "name": "NVIDIA H100 PCIe",
            "memory_total_mib": 81559,
            "memory_used_mib": 2048,
            "utilisation_percent": 97,
            "driver": "550.1",
            "cuda": "12.8",
        }
    ],
    "disk_free_bytes": 5_000_000_000,
    "disk_total_bytes": 9_000_000_000,
    "cpus": 8,
}


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    monkeypatch.setattr("tui.screens.machines._INTERVAL_S", 0.2)
    return put_elsewhere(monkeypatch, tmp_path / "box")


@pytest.fixture
def agent(box: Elsewhere) -> FakeAgent:
    """The other machine's."""
    return FakeAgent(box.agent.root, machine=MACHINE, health={"running": ["job-there"]})


@pytest.fixture
def opened(tmp_path: Path, box: Elsewhere) -> OPEN:
    console = Console(tmp_path)

    @asynccontextmanager
    async def open_with(
        host: str = "ssh:box", size: tuple[int, int] = (160, 40)
    ) -> AsyncIterator[ConsolePilot]:
        async with open_store(console.home / "brightrun.db") as store:
            await store.add_job(job_spec("job-there", name="over there"), host)
        async with open_app(console, size=size) as pilot:
            await pilot.until_seen("over there")
            await pilot.press("h")
            await pilot.until(lambda: isinstance(pilot.app.screen, MachinesScreen))
            yield pilot

    return open_with


async def test_machines_are_shown_with_what_they_say_of_themselves(
    opened: OPEN, agent: FakeAgent
) -> None:
    async with agent.running(), opened() as pilot:
        await pilot.until_seen("ssh:box", "reachable", "1 × H100 PCIe, 80 GiB", "5.0 GB")
        await pilot.until_seen("local", "no agent yet")
        assert "97 % busy" not in pilot.text

        await pilot.press("down", "enter")
        await pilot.until_seen("2.0 of 79.6 GiB used, 97 % busy", "CUDA up to 12.8", "over there")
        await pilot.press("enter")
        await pilot.until_gone("97 % busy")
        await pilot.press("escape")
        await pilot.until(lambda: isinstance(pilot.app.screen, JobsScreen))


async def test_a_machine_that_goes_away_keeps_its_figures_and_the_cursor_its_place(
    opened: OPEN, box: Elsewhere, agent: FakeAgent
) -> None:
    async with agent.running(), opened() as pilot:
        await pilot.until_seen("H100 PCIe, 80 GiB")
        await pilot.press("down", "enter")
        await pilot.until_seen("97 % busy")
        box.trouble = "ssh:box: no route to host."
        await pilot.until_seen("unreachable", "ssh:box: no route to host.", "H100 PCIe, 80 GiB")


async def test_nobody_is_asked_for_a_look_that_comes_by_itself_and_f5_may_ask(
    opened: OPEN, box: Elsewhere
) -> None:
    box.trouble = "ssh:box: the key is locked."
    async with opened() as pilot:
        await pilot.until(lambda: len(box.looked_at_by_a_person) >= 3)
        assert True not in box.looked_at_by_a_person
        await pilot.press("down", "f5")
        await pilot.until(lambda: True in box.looked_at_by_a_person)
        await pilot.until(lambda: box.looked_at_by_a_person[-3:] == [False] * 3)
        assert box.looked_at_by_a_person.count(True) == 1


async def test_nothing_is_looked_at_while_another_screen_is_on_top(
    opened: OPEN, box: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.trouble = "ssh:box: the key is locked."
    async with opened() as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, MachinesScreen)
        await pilot.until(lambda: screen._sights)
        pilot.app.open_new_job()
        await pilot.until(lambda: pilot.app.screen is not screen and not screen._at_work)
        looks: list[str] = []
        monkeypatch.setattr(screen, "_begin", lambda name, **_: looks.append(name))
        await pilot.pilot.pause(0.7)
        assert looks == []
        pilot.app.pop_screen()
        await pilot.until(lambda: looks)


async def test_a_name_that_is_no_host_is_a_row_with_its_reason(opened: OPEN) -> None:
    async with opened("moon:base") as pilot:
        await pilot.until_seen("moon:base", "unreachable")
        await pilot.press("down", "enter")
        await pilot.until_seen("write local, runpod, ssh:NAME")


@pytest.mark.parametrize("host", ["ssh:box", HOSTILE])
async def test_hostile_machines_do_no_harm(
    opened: OPEN, box: Elsewhere, agent: FakeAgent, host: str
) -> None:
    gpu = {"index": 0, "name": HOSTILE, "driver": HOSTILE, "cuda": HOSTILE}
    agent.machine = {"gpus": [gpu], "gpu_trouble": HOSTILE}
    agent.health = {"running": [HOSTILE], "version": HOSTILE, "root": HOSTILE}
    async with agent.running(), opened(host) as pilot:
        await pilot.press("down", "enter")
        await pilot.until_seen(SEEN)
        assert harm_on(pilot.app) == []
        box.trouble = HOSTILE
        await pilot.until_seen("unreachable", SEEN)
        for size in [(20, 5), (80, 24), (1, 1), (200, 50)]:
            await pilot.pilot.resize_terminal(*size)
            await pilot.pilot.pause(0.1)
            assert harm_on(pilot.app) == []
