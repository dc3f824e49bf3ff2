"""The trainer's parent: starts it, waits for it, and writes down how it ended.

    python -P -m agent.shim ATTEMPT_DIRECTORY -- COMMAND...

It detaches itself, so that the trainer outlives the agent. It holds `shim.lock` for life and
writes `shim.json` before it lets the trainer run: no `shim.json` and a free lock mean that no
trainer of this attempt ever ran. It knows nothing of jobs, journals or HTTP, and imports the
standard library only, to stay small next to a trainer that needs the memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from agent.kernel_messages import KernelListener, pids_are_the_kernels
from agent.process import boot_id, identify

LOCK_NAME = "shim.lock"
SHIM_NAME = "shim.json"
EXIT_NAME = "exit.json"
LOG_NAME = "trainer.log"

EXIT_CODE_NOT_STARTED = 71
"""EX_OSERR of sysexits.h: the shim died before the trainer could run."""
EXIT_CODE_NO_COMMAND = 127
"""As a shell says it: the command cannot be executed."""

_REQUESTS = (signal.SIGUSR1, signal.SIGUSR2)
"""For a checkpoint and for stacks. One that comes before the trainer listens must not kill it, so
these are ignored from the beginning."""
_SHIELDED = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def main() -> None:
    """Detach, run the trainer, record its end."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    directory = Path(sys.argv[1])
    command = sys.argv[3:]
    for number in (*_SHIELDED, *_REQUESTS):
        signal.signal(number, signal.SIG_IGN)
    lock = take_lock(directory)
    if lock is None or was_started_or_sealed(directory):
        return
    if os.fork() > 0:
        # The child holds the lock from before this process ends: whoever started it can rely on it.
        os._exit(0)
    os.setsid()
    _redirect_output(directory / LOG_NAME)
    kernel = KernelListener()
    oom_kills_before = read_oom_kills()
    trainer_pid = _start_trainer(directory, command)
    status = _wait_for(trainer_pid)
    write_exit(
        directory,
        exit_code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        signal_number=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        oom_kills=_rise(oom_kills_before, read_oom_kills()),
        kernel_messages=kernel.telling_lines(),
        trainer_pid=trainer_pid,
    )


def take_lock(directory: Path) -> int | None:
    """The attempt's lock, held until the descriptor is closed; None if somebody holds it."""
    descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def was_started_or_sealed(directory: Path) -> bool:
    """True if a trainer ran here, or if somebody decided that none ever will."""
    return (directory / SHIM_NAME).exists() or (directory / EXIT_NAME).exists()


def write_exit(
    directory: Path,
    *,
    exit_code: int | None,
    signal_number: int | None,
    oom_kills: int | None = None,
    kernel_messages: list[str] | None = None,
    trainer_pid: int | None = None,
) -> None:
    """`exit.json`; both codes are None where no trainer ran at all."""
    record: dict[str, object] = {
        "exit_code": exit_code,
        "signal": signal_number,
        "ended_at": datetime.now(UTC).isoformat(),
        "oom_kills": oom_kills,
        "kernel_messages": kernel_messages,
        "kernel_pid": trainer_pid if pids_are_the_kernels() else None,
    }
    _write_atomic(directory / EXIT_NAME, record)


def read_oom_kills() -> int | None:
    """The cgroup's count of processes killed for want of memory; None where it is not told."""
    own = {line.split(":", 2)[1]: line.strip().split(":", 2)[2] for line in _own_cgroups()}
    version_2 = Path("/sys/fs/cgroup")
    version_1 = version_2 / "memory"
    candidates = [
        version_2 / own.get("", "/").lstrip("/") / "memory.events",
        version_1 / own.get("memory", "/").lstrip("/") / "memory.oom_control",
        version_2 / "memory.events",
        version_1 / "memory.oom_control",
    ]
    for path in candidates:
        with contextlib.suppress(OSError):
            for line in path.read_text(encoding="ascii").splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    return None


def _own_cgroups() -> list[str]:
    try:
        return Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _rise(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _redirect_output(log_path: Path) -> None:
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(nothing)


def _start_trainer(directory: Path, command: list[str]) -> int:
    """The pid of a trainer that runs only once `shim.json` is on the disk."""
    gate_read, gate_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(gate_write)
        _become_trainer(gate_read, directory, command)
    os.setpgid(pid, pid)
    shim, trainer = identify(os.getpid()), identify(pid)
    assert shim is not None and trainer is not None, "both are there: one is us, one our child"
    record: dict[str, object] = {
        "shim_pid": shim.pid,
        "shim_start_time": shim.start_time,
        "trainer_pid": trainer.pid,
        "trainer_start_time": trainer.start_time,
        "boot_id": boot_id(),
    }
    _write_atomic(directory / SHIM_NAME, record)
    os.write(gate_write, b"go")
    os.close(gate_write)
    os.close(gate_read)
    return pid


def _become_trainer(gate: int, directory: Path, command: list[str]) -> None:
    if not os.read(gate, 2):
        # The shim died before it could say who runs here.
        os._exit(EXIT_CODE_NOT_STARTED)
    for number in (*_SHIELDED, *_IGNORED_BY_PYTHON):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(directory)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"cannot start the trainer {command[0]!r}: {error}\n".encode())
        os._exit(EXIT_CODE_NO_COMMAND)


def _wait_for(pid: int) -> int:
    """The trainer's wait status; its children are gone when this returns."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    # Not reaped yet, so the pid is still ours, and with it the group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _write_atomic(path: Path, record: dict[str, object]) -> None:
    # Not `shared.manifest.write_atomic`: with hashlib it would take 5 MB more for the whole run.
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="ascii") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


if __name__ == "__main__":
    main()
