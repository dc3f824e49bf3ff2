"""Serves one root on a Unix socket: lock, token, socket directory, address file, and the way out.

SIGTERM ends the agent and leaves the trainers running; the next agent takes them up.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.metadata
import logging
import os
import secrets
import signal
import stat
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from pydantic import BaseModel, ConfigDict

from agent import event_socket
from agent.attempt import SupervisionSettings
from agent.fence import Fence, MachineMark, own_mark
from agent.presence import Presence
from agent.process import identify
from agent.run_directory import AgentRoot
from agent.self_end import PodClient, SelfEnd, read_pod
from agent.server import create_app
from agent.supervisor import Supervisor
from agent.uploads import Uploads
from agent.webhook_secrets import directory_in_memory
from agent.webhooks import Webhooks
from shared.agent_protocol import PROTOCOL_VERSION, Health
from shared.errors import AgentAlreadyRunning, InvalidInput, MachineReplaced
from shared.events import utc_now
from shared.manifest import PARTIAL_SUFFIX, write_atomic

logger = logging.getLogger(__name__)

_SOCKET_NAME = "agent.sock"
_STARTED_POLL_S = 0.02
_SHUTDOWN_S = 3


class AgentAddress(BaseModel):
    """`agent.json`: where the agent of a root answers, and which process it is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    socket: str
    pid: int
    start_time: int
    version: str
    protocol: int
    started_at: str
    code: str
    """Absolute directory of the package `agent` that it runs; `PYTHONPATH` for its modules."""
    python: str
    """The interpreter that it runs in."""
    rental: int = 0
    """Number of the rented machine that it runs on; 0 on one that is not rented."""


async def serve(root: AgentRoot, settings: SupervisionSettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        AgentAlreadyRunning: another agent owns this root.
        InvalidInput: the socket's directory belongs to somebody else.
        MachineReplaced: another machine owns this root.
    """
    mark = own_mark(root.path)
    with hold_lock(root, mark), _socket_path(root) as socket_path:
        supervisor = Supervisor(root, settings, Fence(root.path, mark))
        identity = _identity(root)
        presence, pod = Presence(), read_pod(mark)
        uploads = Uploads(supervisor)
        webhooks = Webhooks(supervisor, _secrets_directory(root, mark))
        app = create_app(supervisor, _token(root), identity, presence, pod, webhooks, uploads)
        await supervisor.recover()
        await webhooks.recover()
        beside = (
            asyncio.create_task(_leave_when_replaced(supervisor, pod)),
            asyncio.create_task(SelfEnd(supervisor, pod, presence).run()),
        )
        try:
            await _serve_app(app, root, socket_path, identity, supervisor.fence.rental)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await uploads.close()
            await webhooks.close()
            await supervisor.close()


async def _leave_when_replaced(supervisor: Supervisor, pod: PodClient | None) -> None:
    """Another machine has taken over: see that this one is not paid for any more, and go."""
    await supervisor.replaced.wait()
    if pod is not None:
        ended = await pod.end()
        logger.warning("%s: %s", ended.how or "not ended", ended.detail)
    # The usual way out closes journals and removes agent.json, which are the other machine's now.
    os._exit(MachineReplaced.exit_code)


@contextlib.contextmanager
def hold_lock(root: AgentRoot, mark: MachineMark | None = None) -> Iterator[None]:
    """Own the root while inside.

    Among several machines the fence decides; each has a lock of its own, on its own tmpfs. A lock
    on the volume may be held by a machine that is gone, and not every network disk has locks.

    Raises:
        AgentAlreadyRunning: somebody else does; the message names the pid.
    """
    root.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = root.lock_path if mark is None else mark.run_directory / root.lock_path.name
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            raise AgentAlreadyRunning(
                f"{root.path}: an agent with pid {owner} already runs here; stop it first."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


async def _serve_app(
    app: object, root: AgentRoot, socket_path: Path, identity: Health, rental: int
) -> None:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        uds=str(socket_path),
        # Not "auto": the same on a pod and where runpod's dependencies have brought others.
        loop="asyncio",
        http="h11",
        ws=event_socket.EventSocket,
        ws_ping_interval=event_socket.PING_INTERVAL_S,
        ws_ping_timeout=event_socket.PING_TIMEOUT_S,
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    server = uvicorn.Server(config)
    with _signals_to(server):
        serving = asyncio.create_task(server.serve())
        try:
            while not server.started and not serving.done():
                await asyncio.sleep(_STARTED_POLL_S)
            if server.started:
                _write_address(root, socket_path, identity, rental)
            await serving
        finally:
            root.address_path.unlink(missing_ok=True)


@contextlib.contextmanager
def _signals_to(server: uvicorn.Server) -> Iterator[None]:
    """uvicorn raises the signal that stopped it once more; the way out must still be walked."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, server.handle_exit) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write_address(root: AgentRoot, socket_path: Path, identity: Health, rental: int) -> None:
    process = identify(identity.pid)
    assert process is not None, "this process runs"
    address = AgentAddress(
        socket=str(socket_path),
        pid=identity.pid,
        start_time=process.start_time,
        version=identity.version,
        protocol=identity.protocol,
        started_at=identity.started_at.isoformat(),
        code=str(Path(__file__).absolute().parent.parent),
        python=sys.executable,
        rental=rental,
    )
    _write_private(root.address_path, address.model_dump_json())


def _identity(root: AgentRoot) -> Health:
    if not root.id_path.exists():
        write_atomic(root.id_path, str(uuid.uuid4()))
    return Health(
        version=importlib.metadata.version("brightrun"),
        protocol=PROTOCOL_VERSION,
        agent_id=root.id_path.read_text(encoding="ascii").strip(),
        pid=os.getpid(),
        started_at=utc_now(),
        running=(),
        root=str(root.path),
    )


def _token(root: AgentRoot) -> str:
    """The root's token, made at the first start."""
    if not root.token_path.exists():
        _write_private(root.token_path, secrets.token_urlsafe(32))
    return root.token_path.read_text(encoding="ascii")


def _secrets_directory(root: AgentRoot, mark: MachineMark | None) -> Path | None:
    """Where secrets lie beside the socket, or where a rented machine's start command keeps them."""
    return directory_in_memory(socket_directory(root)) if mark is None else mark.run_directory


def _write_private(path: Path, text: str) -> None:
    """As `write_atomic`, but nobody else can read the file at any moment."""
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600, exist_ok=False)
    write_atomic(path, text)


def socket_directory(root: AgentRoot) -> Path:
    """Where the root's socket lies: on a local disk, and well under the 107 bytes that a socket's
    address may have (unix(7))."""
    digest = hashlib.sha256(os.fsencode(root.path.absolute())).hexdigest()[:8]
    runtime = Path(f"/run/user/{os.getuid()}")
    base = runtime if os.access(runtime, os.W_OK) else Path("/tmp")
    return base / f"brightrun-{os.getuid()}-{digest}"


@contextlib.contextmanager
def _socket_path(root: AgentRoot) -> Iterator[Path]:
    """Only the owner enters the directory; it guards the socket, whose own mode uvicorn widens."""
    directory = socket_directory(root)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise InvalidInput(f"{directory} is not a directory of yours; remove it and start again.")
    directory.chmod(0o700)
    path = directory / _SOCKET_NAME
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            directory.rmdir()
