"""How patient the controller is; the figures of a test are shorter, the rules are the same."""

from __future__ import annotations

import random
from dataclasses import dataclass

ABSENCES = 2
"""Looks in a row that have to agree before a machine counts as gone."""


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """Seconds, but for the last ones."""

    tick_s: float = 5.0
    """Between two looks at all machines: one request, of 60 a minute that the account has."""
    lease_s: float = 60.0
    absence_grace_s: float = 90.0
    """Of a machine that may have been made: a request may take a minute, which nobody waits for
    once its controller is killed, and lists may lag half a minute behind."""
    deadline_factor: float = 1.0
    """Of the deadlines in `shared.rental.PHASES`."""
    stock_retry_s: float = 60.0
    provider_pause_s: float = 60.0
    """The longest pause between two tries where the provider does not answer."""
    log_patience_s: float = 8.0
    """For the line of a machine's log that names its host key, before it is asked for again."""
    contact_patience_s: float = 10.0
    """Without the agent's answer, before a job is called unreachable."""
    unreachable_after_s: float = 300.0
    """Without SSH, before a machine that is being prepared is given back."""
    lost_after_s: float = 1800.0
    """Without the agent's answer, on a machine that runs by the provider's word."""
    cancel_patience_s: float = 120.0
    """For an agent that cannot be asked to cancel, before its machine is ended."""
    ending_alarm_s: float = 300.0
    """Before it is said aloud that a machine does not end."""
    heartbeat_s: float = 20.0
    silence_limit_s: int = 900
    """Without console and agent, before a machine ends itself."""
    idle_end_s: float = 900.0
    """After the job's end, before a machine that nobody asks ends itself."""
    lifetime_margin_s: int = 3600
    """Beyond the job's longest duration, before a machine ends itself in any case."""
    overtime_s: float = 300.0
    """Beyond budget or deadline, for the agent to save and end, before the machine is ended."""
    upload_limit_s: float = 600.0
    """For uploading results straight from the machine, which is paid for meanwhile."""
    upload_stall_s: float = 60.0
    """Of these, without a byte."""
    guard_poll_s: float = 1.0
    """Between two looks at wishes while something takes long."""
    dead_man_tick_s: float = 5.0
    concurrent_jobs: int | None = None
    """None: as the store says."""


_MOST_DOUBLINGS = 20


def growing_pause_s(first_s: float, failures: int, longest_s: float) -> float:
    """After so many failures in a row: doubled each time, and not the same for everybody."""
    doubled_s = first_s * 2 ** min(failures, _MOST_DOUBLINGS)
    return float(min(doubled_s, longest_s) * random.uniform(0.5, 1.0))
