"""The base models of a machine that SSH reaches: real sshd, real installation, a cut on the way."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from shared.errors import AgentUnreachable
from shared.events import ModelProgress, utc_now
from shared.model_cache import CachePlace
from tests.fakes import stand_in_cache
from tests.remote.proxy import ChaosProxy
from tests.remote.remote_box import BASE, RemoteBox, needs_a_box, remote_box
from tests.remote.sshd import pids_of
from tui.services.hosts.ssh import SshHost
from tui.services.model_cache.cache import PruneWanted, chosen, fill, listed, prune
from tui.services.model_cache.places import SshCache
from tui.services.session import Session, open_session

pytestmark = [needs_a_box, pytest.mark.slow]


@pytest.fixture(scope="module")
def box() -> Iterator[RemoteBox]:
    with remote_box() as made:
        yield made


def use_stand_in(box: RemoteBox) -> None:
    """As a training stack of the user's own."""
    script = box.home / "stand_in_cache.py"
    shutil.copy(stand_in_cache.__file__, script)
    box.own(script)
    python = next((box.home / BASE / "env").glob("*/bin/python"))
    command = [str(python), "-P", str(script), "agent.trainer"]
    box.write(box.root / "trainer.json", {"command": command})


def place_of(session: Session) -> SshCache:
    host = session.hosts.get("ssh:box")
    assert isinstance(host, SshHost)
    return SshCache("ssh:box", host)


async def test_a_bare_machine_keeps_none_and_a_prepared_one_is_filled_listed_and_pruned(
    box: RemoteBox, tmp_path: Path
) -> None:
    console = box.console(tmp_path)
    with mock.patch.dict(os.environ, console.environment):
        async with open_session() as session:
            place = place_of(session)
            assert not await place.prepare()
            await session.hosts.get("ssh:box").ensure_agent()
            use_stand_in(box)
            assert await place.prepare(for_filling=True)
            assert await listed(place) == []
            told: list[ModelProgress] = []

            filled = await fill(place, "org/files=3", None, told.append)

            assert not filled.was_there and filled.downloaded_bytes == 3000
            assert [progress.done_bytes for progress in told] == [1000, 2000, 3000]
            [model] = await listed(place)
            assert model.is_complete
            assert Path(model.path).is_relative_to(box.root / "models")
            [gone] = await prune(place, chosen([model], PruneWanted("org/files=3"), utc_now()))
            assert gone.is_removed and await listed(place) == []


async def test_a_lost_connection_ends_the_fill_there_and_the_next_goes_on(
    box: RemoteBox, tmp_path: Path
) -> None:
    model = "org/files=40-delay=0.1"
    async with ChaosProxy(box.server.port) as proxy:
        console = box.console(tmp_path, port=proxy.port)
        with mock.patch.dict(os.environ, console.environment):
            async with open_session() as session:
                place = place_of(session)
                await session.hosts.get("ssh:box").ensure_agent()
                use_stand_in(box)
                assert await place.prepare(for_filling=True)
                half = asyncio.Event()

                def look(progress: ModelProgress) -> None:
                    if progress.done_bytes >= 5000:
                        half.set()

                filling = asyncio.create_task(fill(place, model, None, look))
                await asyncio.wait_for(half.wait(), 30)
                proxy.cut()
                with pytest.raises(AgentUnreachable):
                    await asyncio.wait_for(filling, 60)
                await _until_nobody_fills(box)

                again = await fill(place, model, None, lambda progress: None)

    assert 0 < again.downloaded_bytes < 36_000
    copy = CachePlace(box.root / "models", model, stand_in_cache.COMMIT).copy
    assert json.loads((copy / "manifest.json").read_text())["base_model"] == model


async def _until_nobody_fills(box: RemoteBox) -> None:
    """At its next word the process finds that nobody listens."""
    async with asyncio.timeout(20):
        while any(_is_filling(pid) for pid in pids_of(box.home.stat().st_uid)):
            await asyncio.sleep(0.05)


def _is_filling(pid: int) -> bool:
    try:
        return b"stand_in_cache.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
