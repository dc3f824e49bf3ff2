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


class _Stat(NamedTuple):
    """What /proc/PID/stat says of a process (proc(5))."""

    state: str
    parent: int
    group: int
    start_time: int


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of the process that has this pid now; None where there is none."""
    found = _read_stat(pid)
    return None if found is None else ProcessIdentity(pid, found.start_time, boot_id())


def is_alive(identity: ProcessIdentity) -> bool:
    """True while exactly this process runs; a zombie does not."""
    found = _read_stat(identity.pid)
    if found is None or identity.boot_id != boot_id():
        return False
    return found.start_time == identity.start_time and found.state not in _DEAD_STATES


def send_signal(identity: ProcessIdentity, signal_number: int) -> bool:
    """Signal this process; False if it has ended."""
    return is_alive(identity) and _sent(os.kill, identity.pid, signal_number)


def send_signal_to_group(identity: ProcessIdentity, signal_number: int) -> bool:
    """Signal the process group that this process leads; False if the process has ended."""
    return is_alive(identity) and _sent(os.killpg, identity.pid, signal_number)


def family_of(identity: ProcessIdentity) -> list[ProcessIdentity]:
    """This process, its descendants in whatever session, and its group; [] if it has ended.

    Parents stand before their children.
    """
    if not is_alive(identity):
        return []
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = {pid: stat for pid in sorted(pids) if (stat := _read_stat(pid)) is not None}
    family = [identity.pid]
    family += [pid for pid in found if found[pid].group == identity.pid and pid not in family]
    for member in family:  # It grows while it is walked through.
        family += [pid for pid in found if found[pid].parent == member and pid not in family]
    return [
        ProcessIdentity(pid, found[pid].start_time, boot_id()) for pid in family if pid in found
    ]


def state_of(identity: ProcessIdentity) -> str:
    """The letter of its state, `T` where it is stopped; "" if it has ended."""
    found = _read_stat(identity.pid)
    return found.state if found is not None and found.start_time == identity.start_time else ""


def catches_signal(pid: int, signal_number: int) -> bool:
    """True if the process has a handler for it, so that the signal cannot end it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    # proc(5): a mask in hexadecimal, its lowest bit is signal 1.
    caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(caught.split()[1], 16) >> (signal_number - 1) & 1)


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


def _read_stat(pid: int) -> _Stat | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name stands in parentheses and may itself hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return _Stat(fields[0], int(fields[1]), int(fields[2]), int(fields[19]))
