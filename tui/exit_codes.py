"""What `brightrun` returns to the shell. Errors carry their own code (`shared.errors`)."""

from __future__ import annotations

from shared.lifecycle import JobStatus

OK = 0
JOB_FAILED = 1
"""Also anything unexpected."""
INVALID_INPUT = 2
CANCELLED = 3
UNKNOWN_JOB = 4
AGENT = 5
INTEGRITY = 6
PROVIDER = 7
SUPABASE = 8
INTERRUPTED = 130

HELP = (
    "Exit codes: 0 ok; 1 the job failed, or something unexpected; 2 invalid input; "
    "3 the job was cancelled, or you did not agree; 4 unknown job; "
    "5 the agent is unreachable or refused; 6 a file's hash does not hold; "
    "7 the provider of machines refused or did not answer; "
    "8 Supabase refused or did not answer; "
    "130 interrupted (the job goes on)."
)


def of_status(status: JobStatus) -> int:
    """The code of a command that waited for a job's end."""
    return {JobStatus.FAILED: JOB_FAILED, JobStatus.CANCELLED: CANCELLED}.get(status, OK)
