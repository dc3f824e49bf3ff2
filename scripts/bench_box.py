"""A machine of a benchmark's own: a real OpenSSH server on loopback, an agent, and consoles.

The server lets nobody in but the user who runs the benchmark, so that root is not needed. The same
agent is reached as `local`, over its socket, and as `ssh:box`, over the server; what differs
between the two is the way.
"""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from agent.launch import read_shim
from agent.process import send_signal, send_signal_to_group
from agent.run_directory import AgentRoot
from shared.job_spec import DatasetReference, JobSpec
from tests.remote.sshd import OpenSshServer, make_key
from tests.tui.local_console import Console
from tui.config import Config
from tui.services.session import Session, open_session

LOCAL = "local"
SSH = "ssh:box"
CUT = "ssh:cut"
"""The same machine, through something between that listens on `BenchBox.cut_port`."""


@dataclass
class BenchBox:
    """Runs inside `bench_box`."""

    folder: Path
    server: OpenSshServer
    console: Console
    """Its root is the agent's on both ways; start and kill the agent by it."""

    @property
    def root(self) -> AgentRoot:
        return AgentRoot(self.console.root)

    @asynccontextmanager
    async def session(self, host: str) -> AsyncIterator[Session]:
        """A console with a store of its own for this way, and connected."""
        home = self.folder / host.replace(":", "-")
        async with open_session(Config(home, self.root.path, str(self.folder))) as session:
            await session.hosts.get(host).ensure_agent()
            yield session

    def spec(self, job_id: str, notes: str = "") -> JobSpec:
        """A job on the box's training file."""
        dataset = DatasetReference.of(self.console.dataset)
        return JobSpec(job_id=job_id, name=job_id, notes=notes, dataset=dataset)

    async def start(self, session: Session, host: str, spec: JobSpec) -> None:
        """Have the agent run the job, and this session's store know it."""
        machine = session.hosts.get(host)
        await machine.put_dataset(self.console.dataset, spec.dataset)
        await session.store.add_job(spec, host)
        async with machine.client() as client:
            await client.start(spec)

    def route(self, alias: str, port: int) -> None:
        """Have `ssh:ALIAS` lead to this port."""
        with (self.folder / ".ssh" / "config").open("a") as config:
            config.write(
                f"Host {alias}\n  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias box\n"
                f"  User {pwd.getpwuid(os.getuid()).pw_name}\n"
                f"  IdentityFile {self.folder / 'key'}\n"
            )

    def agent_memory_mb(self) -> float:
        """VmRSS of the agent in 10^6 bytes."""
        status = Path(f"/proc/{self.console.agent_pid()}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6

    def agent_cpu_s(self) -> float:
        """CPU seconds that the agent has used so far."""
        stat = Path(f"/proc/{self.console.agent_pid()}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def bench_box() -> Iterator[BenchBox]:
    """The server runs, and this process has its home there; the agent is yet to be started."""
    with TemporaryDirectory(prefix="brightrun-bench-") as name:
        folder = Path(name)
        (folder / ".ssh").mkdir(mode=0o700)
        console = Console(folder)  # Its agent's root is where a host has it: in `agent`.
        with (
            OpenSshServer(folder / "sshd").running() as server,
            mock.patch.dict(os.environ, {"HOME": name}),
        ):
            os.environ.pop("SSH_AUTH_SOCK", None)
            server.authorize(pwd.getpwuid(os.getuid()).pw_name, make_key(folder / "key"))
            host_key = server.host_key.with_suffix(".pub").read_text()
            (folder / ".ssh" / "known_hosts").write_text(f"box {host_key}")
            box = BenchBox(folder, server, console)
            box.route("box", server.port)
            yield box


@contextmanager
def running_agent(box: BenchBox) -> Iterator[None]:
    """The agent, whose trainers are stand-ins; all of them are gone afterwards."""
    box.console.start_agent()
    try:
        yield
    finally:
        box.console.agent.terminate()  # Killed, it would leave its socket's directory behind.
        box.console.agent.wait(timeout=20)
        end_trainers(box.root)


def end_trainers(root: AgentRoot) -> None:
    """Kill what an agent left running when it ended."""
    for directory in root.jobs():
        for attempt in directory.attempts():
            # By pid, start time and boot: what has ended already is left alone.
            if (shim := read_shim(attempt)) is not None:
                send_signal_to_group(shim.trainer, signal.SIGKILL)
                send_signal(shim.shim, signal.SIGKILL)
