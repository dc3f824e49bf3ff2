"""Which process is which: pid, start time and boot together name one process for ever.

A pid alone is reused; after a restart of the machine or the container even soon. Linux only, and
standard library only: the shim imports this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

_DEAD_STATES = {"Z", "X", "x"}
"""proc(5): a zombie holds its pid, but it runs nothing any more."""


class ProcessIdentity(NamedTuple):
    """One process, never to be confused with a later one of the same pid."""

    pid: int
    start_time: int
    """Clock ticks from boot to its start: field 22 of /proc/PID/stat (proc(5))."""
    boot_id: str


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of the process that has this pid now; None where there is none."""
    found = _state_and_start_time(pid)
    return None if found is None else ProcessIdentity(pid, found[1], boot_id())


def is_alive(identity: ProcessIdentity) -> bool:
    """True while exactly this process runs; a zombie does not."""
    found = _state_and_start_time(identity.pid)
    if found is None or identity.boot_id != boot_id():
        return False
    state, start_time = found
    return start_time == identity.start_time and state not in _DEAD_STATES


def send_signal(identity: ProcessIdentity, signal_number: int) -> bool:
    """Signal this process; False if it has ended."""
    return is_alive(identity) and _sent(os.kill, identity.pid, signal_number)


def send_signal_to_group(identity: ProcessIdentity, signal_number: int) -> bool:
    """Signal the process group that this process leads; False if the process has ended."""
    return is_alive(identity) and _sent(os.killpg, identity.pid, signal_number)


@cache
def boot_id() -> str:
    """A new one for each boot of the kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _sent(send: Callable[[int, int], None], pid: int, signal_number: int) -> bool:
    try:
        send(pid, signal_number)
    except ProcessLookupError:
        return False
    return True


def _state_and_start_time(pid: int) -> tuple[str, int] | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name stands in parentheses and may itself hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[19])
