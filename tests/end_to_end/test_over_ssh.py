"""The road over SSH: a bare machine, a real OpenSSH server, the real agent, faults on the way.

The trainer is the stand-in; everything between it and the console is real.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path
from unittest import mock

import pytest

from shared.events import JournalRecord, Metrics, utc_now
from shared.store.cursor import BEGINNING
from shared.store.store import open_store
from tests.remote.proxy import ChaosProxy
from tests.remote.remote_box import RemoteBox, needs_a_box, remote_box
from tests.remote.sshd import make_key, pids_of
from tests.tui.local_console import Console
from tui.services.mirror import Unreachable
from tui.services.session import open_session
from tui.services.ssh.options import SshOptions

pytestmark = needs_a_box

SECRET_NAMES = (
    "RUNPOD_API_KEY",
    "HF_TOKEN",
    "TRAINING_WEBHOOK_SECRET",
    "SUPABASE_SERVICE_ROLE_KEY",
)


@pytest.fixture(scope="module")
def box() -> Iterator[RemoteBox]:
    """A machine on which the agent was installed by the first console that came."""
    with remote_box() as made:
        yield made


@pytest.fixture
def console(box: RemoteBox, tmp_path: Path) -> Console:
    return box.console(tmp_path)


@pytest.fixture
def ready(box: RemoteBox, console: Console) -> Console:
    """The console, with the agent over there, and the stand-in as its trainer."""
    prepare(box, console)
    return console


def prepare(box: RemoteBox, console: Console) -> None:
    asyncio.run(_ensure_agent(console))
    box.use_stand_in_trainer()


async def _ensure_agent(console: Console) -> None:
    with mock.patch.dict(os.environ, console.environment):
        async with open_session() as session:
            await session.hosts.get("ssh:box").ensure_agent()


def start(console: Console, job_id: str, notes: str, *more: str) -> tuple[int, str, str]:
    return console.start(job_id, notes, "--host", "ssh:box", *more)


def steps_in(console: Console, job_id: str) -> list[int]:
    """The steps of all metrics records in the console's store, in their order."""

    async def read() -> list[int]:
        async with open_store(console.home / "brightrun.db") as store:
            records = await store.events(job_id)
            assert [record.seq for record in records] == list(range(1, len(records) + 1))
            return steps_of(records)

    return asyncio.run(read())


def steps_of(records: Iterable[JournalRecord]) -> list[int]:
    return [record.event.step for record in records if isinstance(record.event, Metrics)]


@pytest.mark.slow
def test_a_bare_machine_gets_the_agent_and_the_job_and_gives_the_adapter_back(
    ready: Console, box: RemoteBox, tmp_path: Path
) -> None:
    code, out, err = start(ready, "job-far", "steps=5", "--watch")

    assert code == 0, err
    assert "step 5/5" in out
    assert steps_in(ready, "job-far") == [1, 2, 3, 4, 5]
    code, out, err = ready.run("fetch", "job-far", "--to", tmp_path / "adapters")
    assert code == 0, err
    assert (tmp_path / "adapters" / "job-far").is_dir()
    # What runs there came with us, and runs as the user that was logged in.
    agent = box.agent()
    assert str(agent["code"]).startswith(str(box.home))
    assert Path(f"/proc/{agent['pid']}").stat().st_uid == box.home.stat().st_uid


def test_a_killed_console_finds_everything_when_it_comes_back(ready: Console) -> None:
    assert start(ready, "job-killed", "steps=60 delay=0.05")[0] == 0
    watcher = ready.popen("watch", "job-killed")
    assert watcher.stdout is not None
    assert any("step 10/60" in line for line in watcher.stdout)
    watcher.kill()
    watcher.communicate()

    code, _, err = ready.run("watch", "job-killed")

    assert code == 0, err
    assert steps_in(ready, "job-killed") == list(range(1, 61))


def test_a_console_that_slept_finds_everything_when_it_wakes(ready: Console) -> None:
    assert start(ready, "job-asleep", "steps=60 delay=0.05")[0] == 0
    watcher = ready.popen("watch", "job-asleep")
    assert watcher.stdout is not None
    assert any("step 5/60" in line for line in watcher.stdout)
    watcher.send_signal(signal.SIGSTOP)
    other = ready.run("watch", "job-asleep")
    assert other[0] == 0
    watcher.send_signal(signal.SIGCONT)
    out = watcher.stdout.read()
    watcher.communicate()

    assert watcher.returncode == 0
    seen = [line.split("step ")[1].split()[0] for line in out.splitlines() if "  step " in line]
    assert seen == [f"{step}/60" for step in range(6, 61)]


@pytest.fixture
async def proxy(box: RemoteBox) -> AsyncIterator[ChaosProxy]:
    async with ChaosProxy(box.server.port) as between:
        yield between


@pytest.fixture
def far(box: RemoteBox, ready: Console, proxy: ChaosProxy, tmp_path: Path) -> Iterator[Console]:
    """A console whose way to the machine leads through the proxy; this process has its home."""
    console = box.console(tmp_path / "far", port=proxy.port)
    with mock.patch.dict(os.environ, console.environment):
        yield console


async def begin(console: Console, job_id: str, notes: str) -> None:
    arguments = ("--dataset", console.dataset, "--host", "ssh:box")
    assert await console.call("start", *arguments, "--job-id", job_id, "--notes", notes) == 0


class Watch:
    """Follows one job, as the console does."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.steps: list[int] = []
        self.unreachable: list[Unreachable] = []

    async def to_the_end(self) -> str:
        """The job's status."""
        async with open_session() as session:
            await session.hosts.get("ssh:box").ensure_agent()
            async with aclosing(session.mirror.watch(self.job_id, BEGINNING)) as sights:
                async for sight in sights:
                    if isinstance(sight, Unreachable):
                        self.unreachable.append(sight)
                    else:
                        self.steps += steps_of(sight.records)
            return (await session.store.get_job(self.job_id)).status

    async def until_step(self, step: int) -> None:
        async with asyncio.timeout(20):
            while not self.steps or self.steps[-1] < step:
                await asyncio.sleep(0.01)


async def test_a_connection_that_is_cut_again_and_again_costs_no_record(
    far: Console, proxy: ChaosProxy
) -> None:
    await begin(far, "job-cut", "steps=150 delay=0.03")
    watch = Watch("job-cut")
    ending = asyncio.create_task(watch.to_the_end())
    for step in (5, 40, 41, 80, 81, 120):
        await watch.until_step(step)
        proxy.cut()

    assert await ending == "completed"
    assert watch.steps == list(range(1, 151))
    assert watch.unreachable == []


async def test_a_machine_out_of_reach_is_unreachable_and_its_job_goes_on(
    far: Console, proxy: ChaosProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.services.mirror._WATCH_PATIENCE_S", 0.3)
    await begin(far, "job-out-of-reach", "steps=60 delay=0.03")
    watch = Watch("job-out-of-reach")
    ending = asyncio.create_task(watch.to_the_end())
    await watch.until_step(5)
    before = utc_now()
    await proxy.refuse()
    proxy.cut()
    async with asyncio.timeout(20):
        while not watch.unreachable:
            await asyncio.sleep(0.01)
    await asyncio.sleep(2)  # long enough for the job to end without anybody who looks on
    await proxy.accept()

    assert await ending == "completed"
    assert watch.steps == list(range(1, 61))
    assert before <= watch.unreachable[0].since <= utc_now()
    assert "box" in watch.unreachable[0].reason
    assert "refused" in watch.unreachable[0].reason


async def test_a_machine_that_forwards_nothing_is_reached_through_a_program(
    box: RemoteBox, ready: Console, tmp_path: Path
) -> None:
    with box.another_server(DisableForwarding="yes") as server:
        console = box.console(tmp_path / "relayed", port=server.port)
        with mock.patch.dict(os.environ, console.environment):
            await begin(console, "job-relayed", "steps=20 delay=0.02")
            watch = Watch("job-relayed")
            assert await watch.to_the_end() == "completed"

    assert watch.steps == list(range(1, 21))


async def test_a_connection_that_lets_nothing_through_is_noticed_and_made_anew(
    far: Console, proxy: ChaosProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = SshOptions
    monkeypatch.setattr("tui.services.mirror._WATCH_PATIENCE_S", 0.3)
    monkeypatch.setattr(
        "tui.services.ssh.options.SshOptions",
        lambda **values: patient(**values, keepalive_interval_s=0.2),
    )
    await begin(far, "job-half-open", "steps=100 delay=0.03")
    watch = Watch("job-half-open")
    ending = asyncio.create_task(watch.to_the_end())
    await watch.until_step(5)
    proxy.stall()
    async with asyncio.timeout(20):
        while not watch.unreachable:  # Nobody but us ends a connection that is only silent.
            await asyncio.sleep(0.01)
    proxy.resume()

    assert await ending == "completed"
    assert watch.steps == list(range(1, 101))


async def test_an_agent_that_was_killed_over_there_is_started_again(
    box: RemoteBox, far: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.services.mirror._WATCH_PATIENCE_S", 0.3)
    await begin(far, "job-orphan", "steps=60 delay=0.05")
    watch = Watch("job-orphan")
    ending = asyncio.create_task(watch.to_the_end())
    await watch.until_step(5)
    first = box.agent()["pid"]
    os.kill(int(str(first)), signal.SIGKILL)

    assert await ending == "completed"
    assert watch.steps == list(range(1, 61))
    assert box.agent()["pid"] != first


def test_an_unknown_machine_is_trusted_only_by_its_fingerprint(
    box: RemoteBox, ready: Console
) -> None:
    known_hosts = Path(ready.environment["HOME"]) / ".ssh" / "known_hosts"
    known_hosts.unlink()

    code, _, err = start(ready, "job-unknown", "steps=2")
    assert code == 5
    (fingerprint,) = set(re.findall(r"SHA256:[A-Za-z0-9+/]+", err))

    wrong = "SHA256:" + "A" * 43
    assert start(ready, "job-unknown", "steps=2", "--accept-host-key", wrong)[0] == 5
    code, _, err = start(ready, "job-unknown", "steps=2", "--accept-host-key", fingerprint)
    assert code == 0, err
    assert ready.run("watch", "job-unknown")[0] == 0
    assert not known_hosts.exists()  # The user's own file is only read.


def test_a_machine_with_another_key_is_refused_and_sent_nothing(
    box: RemoteBox, ready: Console, tmp_path: Path
) -> None:
    other = tmp_path / "other_key"
    make_key(other)
    with box.another_server(HostKey=str(other)) as server:
        console = box.console(tmp_path / "changed", port=server.port)
        code, _, err = start(console, "job-changed", "steps=2")
        log = server.log

    assert code == 5
    assert "has changed" in err
    assert "known_hosts line 1" in err
    assert "Accepted" not in log and "Failed" not in log and box.user not in log
    jobs = json.loads(console.run("jobs", "--json")[1])
    assert [job["status"] for job in jobs] == ["queued"]


def test_no_secret_leaves_the_place_where_it_is_kept(box: RemoteBox, ready: Console) -> None:
    canaries = {name: f"canary-{number}-3f9a" for number, name in enumerate(SECRET_NAMES)}
    ready.environment.update(canaries)
    assert start(ready, "job-canary", "steps=200 delay=0.05")[0] == 0
    token = (box.root / "agent.token").read_text()
    secrets = [*canaries.values(), token, box.key.read_text().splitlines()[1]]
    said: list[object] = [*ready.run("show", "job-canary")]

    for pid in pids_of(box.home.stat().st_uid):
        said += [_read(Path(f"/proc/{pid}/cmdline")), _read(Path(f"/proc/{pid}/environ"))]
    places = [box.home, box.server.directory / "sshd.log", ready.home]
    for path in (file for place in places for file in [place, *place.rglob("*")] if file.is_file()):
        if path.name != "agent.token" and "/env/" not in str(path):
            said.append(_read(path))
    ready.run("cancel", "job-canary")

    found = [secret for secret in secrets if any(secret in str(text) for text in said)]
    assert found == []
    assert any("job-canary" in str(text) for text in said)
    assert stat.S_IMODE((box.root / "agent.token").stat().st_mode) == 0o600


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("latin-1")
    except OSError:
        return ""
