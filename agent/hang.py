"""Ends a trainer that hangs, once it has written down where it stands.

Signals reach every process of the trainer, in whatever session; it may be stopped, or hold the
interpreter's lock. All functions block. Why the trainer hangs, and since when, is not known here.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

from agent.process import (
    ProcessIdentity,
    catches_signal,
    family_of,
    send_signal,
    send_signal_to_group,
    state_of,
)

STACKS_SIGNAL = signal.SIGUSR2
"""The trainer answers it with the stacks of all its threads, on its standard error."""

_POLL_S = 0.02
_QUIET_S = 0.3
"""A log that has grown and then not for so long holds the stacks that were asked for."""

_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "waiting in the kernel",
    "T": "stopped",
    "t": "stopped by a debugger",
    "Z": "a zombie",
}
"""proc(5)."""


def describe_processes(trainer: ProcessIdentity) -> str:
    """`4711 (stopped), 4712 (sleeping)`; "" if the trainer has ended."""
    states = [(member.pid, state_of(member)) for member in family_of(trainer)]
    return ", ".join(f"{pid} ({_STATES.get(state, state)})" for pid, state in states if state)


def write_stacks(trainer: ProcessIdentity, log_path: Path, limit_s: float) -> None:
    """Have the trainer's processes write their stacks into the log; waits until they have."""
    before = _size(log_path)
    family = family_of(trainer)
    listening = [member for member in family if catches_signal(member.pid, STACKS_SIGNAL)]
    for member in listening:
        send_signal(member, STACKS_SIGNAL)
    for member in family:
        # A process that is stopped takes no signal before it goes on.
        send_signal(member, signal.SIGCONT)
    if listening:
        _await_growth(log_path, before, limit_s)


def kill(trainer: ProcessIdentity) -> None:
    """End the trainer and every process of it."""
    family = family_of(trainer)
    # The trainer first: where it watches over the others it must not start them again.
    send_signal_to_group(trainer, signal.SIGKILL)
    for member in family:
        send_signal(member, signal.SIGKILL)


def _await_growth(path: Path, before: int, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    size, since = before, time.monotonic()
    while time.monotonic() < deadline:
        if (now := _size(path)) != size:
            size, since = now, time.monotonic()
        elif size != before and time.monotonic() - since >= _QUIET_S:
            return
        time.sleep(_POLL_S)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
