"""What the kernel said while a trainer ran: whom it killed for want of memory, which GPU failed.

The shim listens, with the standard library only, and writes the lines down; what they mean is told
by pure functions. Where /dev/kmsg cannot be read, as in most containers, nothing is known.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

KERNEL_MESSAGES = Path("/dev/kmsg")

_LINES_KEPT = 50
_READ_BYTES = 8192
"""One record of /dev/kmsg is never longer (CONSOLE_EXT_LOG_MAX of linux/printk.h)."""
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""PROC_PID_INIT_INO of linux/proc_ns.h."""

# The kernel's own messages have facility 0; what a process wrote there has another (/dev/kmsg in
# Documentation/ABI/testing/dev-kmsg, looked at 2026-11).
_OF_KERNEL = re.compile(r"[0-7],[^;]*;(?P<message>.*)")
_VICTIM = re.compile(
    r"(?:Memory cgroup out of memory|Out of memory(?: \(oom_kill_allocating_task\))?): "
    r"Killed process (\d+)"
    r"|oom-kill:.*,pid=(\d+),uid=\d+$"
)
_XID = re.compile(r"NVRM: Xid \(.*?\): (\d+),")

HARDWARE_XIDS = {
    48: "double-bit ECC error",
    64: "ECC row remapping failed",
    74: "NVLink error",
    79: "GPU has fallen off the bus",
    94: "contained memory error",
    95: "uncontained memory error",
    119: "GSP timed out",
    120: "GSP error",
    140: "unrecovered ECC error",
}
"""Of NVIDIA's list those that are the machine's doing and not the program's, as 13, 31 and 43 are
(the Xid catalog at docs.nvidia.com/deploy/xid-errors, 2026-11; unverified on hardware)."""


class KernelListener:
    """Hears what the kernel says from now on."""

    def __init__(self, path: Path = KERNEL_MESSAGES) -> None:
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError:
            self.close()

    def close(self) -> None:
        """Stop listening."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def telling_lines(self) -> list[str] | None:
        """What was said of killed processes and failed GPUs, the latest last.

        None where the messages cannot be read, or not all of them could.
        """
        if self._descriptor is None:
            return None
        content = bytearray()
        try:
            while chunk := os.read(self._descriptor, _READ_BYTES):
                content += chunk
        except BlockingIOError:
            pass  # That was all.
        except OSError:
            # EPIPE: the ring has gone round, and messages are lost.
            return None
        lines = content.decode("ascii", errors="replace").splitlines()
        told = [line for line in map(_message, lines) if _VICTIM.match(line) or _XID.match(line)]
        return told[-_LINES_KEPT:]


def out_of_memory_victims(lines: Iterable[str]) -> set[int]:
    """The pids that the kernel killed for want of memory, as the first pid namespace counts."""
    found = filter(None, map(_VICTIM.match, lines))
    return {int(match[1] or match[2]) for match in found}


def failed_gpu(lines: Iterable[str]) -> str:
    """The first message about a GPU whose hardware failed; "" if there is none."""
    for line in lines:
        match = _XID.match(line)
        if match is not None and int(match[1]) in HARDWARE_XIDS:
            return line
    return ""


def pids_are_the_kernels() -> bool:
    """False in a container with pids of its own, where the kernel's name other processes."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino == _INITIAL_PID_NAMESPACE
    except OSError:
        return False


def _message(line: str) -> str:
    match = _OF_KERNEL.match(line)
    return "" if match is None else match["message"]
