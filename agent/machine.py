"""What this machine has and what of it is free: GPUs, disk, memory, processors.

Linux only: /proc, the control group of a container, and `nvidia-smi` as a process of its own that
gets a few seconds. Asking often costs nothing, and whatever nvidia-smi does, the agent goes on.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

from shared import nvidia_smi
from shared.agent_protocol import GpuFacts, MachineFacts
from shared.clean_text import clean_line
from shared.errors import ProtocolError
from shared.events import GpuReading

FACTS_FRESH_S = 3.0
GPU_TROUBLE_FRESH_S = 60.0
"""A GPU that hangs is left alone for so long: a process that waits for it may never end."""
GPU_TIMEOUT_S = 6.0
"""Without persistence mode the driver is loaded first, which takes seconds; a console waits 10."""

_KILLED_S = 1.0
_LONGEST_TROUBLE = 200
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH")


class Machine:
    """This machine, as seen from the directory `root`."""

    def __init__(
        self, root: Path, *, fresh_s: float = FACTS_FRESH_S, gpu_timeout_s: float = GPU_TIMEOUT_S
    ) -> None:
        self._root = root
        self._fresh_s = fresh_s
        self._gpu_timeout_s = gpu_timeout_s
        self._asking = asyncio.Lock()
        self._known: tuple[float, MachineFacts] | None = None
        """The last facts, and until when they are good enough (`time.monotonic`)."""
        self._gpu_trouble: tuple[float, str] | None = None
        """The same for the reason why the GPUs cannot be asked."""

    async def facts(self) -> MachineFacts:
        """As of now, or of a few seconds ago."""
        async with self._asking:  # Those who ask at the same time share one answer.
            if self._known is None or time.monotonic() > self._known[0]:
                gpus, trouble = await self._gpus()
                facts = await asyncio.to_thread(_facts, self._root, gpus, trouble)
                self._known = time.monotonic() + self._fresh_s, facts
            return self._known[1]

    async def _gpus(self) -> tuple[tuple[GpuFacts, ...], str]:
        if self._gpu_trouble is not None and time.monotonic() < self._gpu_trouble[0]:
            return (), self._gpu_trouble[1]
        try:
            return await ask_gpus(self._gpu_timeout_s), ""
        except ProtocolError as error:
            trouble = clean_line(str(error))[:_LONGEST_TROUBLE]
            self._gpu_trouble = time.monotonic() + GPU_TROUBLE_FRESH_S, trouble
            return (), trouble


async def ask_gpus(timeout_s: float = GPU_TIMEOUT_S) -> tuple[GpuFacts, ...]:
    """The GPUs of this machine; none where there is no nvidia-smi.

    Raises:
        ProtocolError: nvidia-smi failed, hung, or printed something else than its report.
    """
    report = await _ask(timeout_s)
    return () if report is None else nvidia_smi.parse_report(report)


async def ask_readings(timeout_s: float = GPU_TIMEOUT_S) -> tuple[GpuReading, ...]:
    """What the GPUs do at the moment; none where there is no nvidia-smi.

    Raises:
        ProtocolError: as `ask_gpus`.
    """
    report = await _ask(timeout_s)
    return () if report is None else nvidia_smi.parse_readings(report)


async def _ask(timeout_s: float) -> str | None:
    """The report of nvidia-smi; None where there is no such program."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    try:
        exit_code, output = await _run([command, *nvidia_smi.ARGUMENTS], timeout_s)
    except TimeoutError as error:
        raise ProtocolError(f"nvidia-smi did not answer within {timeout_s:g} s.") from error
    except OSError as error:
        raise ProtocolError(f"nvidia-smi cannot be run ({error.strerror}).") from error
    text = output.decode("utf-8", "replace")
    if exit_code != 0:
        raise ProtocolError(f"nvidia-smi ended with {exit_code}: {text[:_LONGEST_TROUBLE]}")
    return text


async def _run(command: list[str], timeout_s: float) -> tuple[int, bytes]:
    """Exit code and stdout, cut off where no true report ends any more.

    Raises:
        TimeoutError: it has not ended; it was killed.
        OSError: it cannot be started.
    """
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    output = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            while chunk := await process.stdout.read(65_536):
                output += chunk
                if len(output) > nvidia_smi.LARGEST_REPORT_BYTES:
                    raise ProtocolError("nvidia-smi does not stop printing.")
            return await process.wait(), bytes(output)
    except BaseException:
        await _end(process)
        raise


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill it with everything it started, and do not wait for long.

    A process that hangs in the driver dies only when the driver lets it go.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        async with asyncio.timeout(_KILLED_S):
            await process.wait()


def _facts(root: Path, gpus: tuple[GpuFacts, ...], gpu_trouble: str) -> MachineFacts:
    disk_free, disk_total = _disk(root)
    memory_total, memory_available = _memory()
    return MachineFacts(
        gpus=gpus,
        gpu_trouble=gpu_trouble,
        disk_free_bytes=disk_free,
        disk_total_bytes=disk_total,
        cpus=len(os.sched_getaffinity(0)),
        memory_total_bytes=memory_total,
        memory_available_bytes=memory_available,
        load_1min=os.getloadavg()[0],
    )


def _disk(root: Path) -> tuple[int, int]:
    try:
        usage = shutil.disk_usage(root)
    except OSError:
        return 0, 0
    return usage.free, usage.total


def available_memory_bytes() -> int:
    """Main memory that can be had now; 0 where the system does not say."""
    return _memory()[1]


def _memory() -> tuple[int, int]:
    """Total and available, of the container where it has less than the machine."""
    total, available = _machine_memory()
    limit, used = _container_memory()
    if limit is None or limit >= total > 0:
        return total, available
    return limit, max(0, min(limit - used, available or limit))


def _machine_memory() -> tuple[int, int]:
    kib: dict[str, int] = {}
    for line in _read("/proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name in ("MemTotal", "MemAvailable"):
            kib[name] = int(value.split()[0])
    return kib.get("MemTotal", 0) * 1024, kib.get("MemAvailable", 0) * 1024


def _container_memory() -> tuple[int | None, int]:
    """Limit and use of the control group, of version 2 or 1; cache that may go counts as free."""
    for directory, limit_name, used_name, cache_name in (
        ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        (
            "/sys/fs/cgroup/memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ):
        limit = _read(f"{directory}/{limit_name}").strip()
        used = _read(f"{directory}/{used_name}").strip()
        if limit.isdigit() and used.isdigit():
            statistics = _read(f"{directory}/memory.stat").split()
            pairs = dict(zip(statistics[::2], statistics[1::2], strict=False))
            return int(limit), max(0, int(used) - int(pairs.get(cache_name, 0)))
    return None, 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
