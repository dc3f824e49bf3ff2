"""The trainer's output of rented jobs, kept here before their machine goes.

    HOME/logs/JOB/attempt-N.log      the end of it, as the agent had it

It decides nothing; whoever ends a machine asks for it first.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from shared.errors import AgentRefused, InvalidInput
from tui.services.agent_client import AgentClient

_MOST_BYTES = 8 * 2**20
"""Of one attempt: what failed stands at the end."""
_CHUNK_BYTES = 2**20


async def keep_log(client: AgentClient, home: Path, job_id: str, attempt: int) -> Path | None:
    """Bring the end of an attempt's log here; None where the trainer has written none.

    Raises:
        AgentUnreachable: what had arrived before is kept.
        OSError: this disk refuses.
    """
    try:
        last = await client.logs(job_id, attempt=attempt, offset=0, limit=1)
    except AgentRefused:
        return None
    path = log_path(home, job_id, attempt)
    await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
    offset = max(0, last.size - _MOST_BYTES)
    with path.open("w", encoding="utf-8") as file:
        while offset < last.size:
            part = await client.logs(job_id, attempt=attempt, offset=offset, limit=_CHUNK_BYTES)
            if part.next_offset <= offset:
                break
            file.write(part.text)
            offset = part.next_offset
    return path


def log_path(home: Path, job_id: str, attempt: int) -> Path:
    """Where an attempt's log is kept."""
    return home / "logs" / job_id / f"attempt-{attempt}.log"


def kept_log(home: Path, job_id: str, attempt: int | None, last_lines: int) -> str:
    """The last lines of an attempt; None is the latest of which there is a log. Blocks.

    Raises:
        InvalidInput: none was kept.
    """
    folder = home / "logs" / job_id
    if attempt is None:
        found = [int(path.stem.rpartition("-")[2]) for path in folder.glob("attempt-*.log")]
        attempt = max(found, default=0)
    try:
        text = log_path(home, job_id, attempt).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise InvalidInput(
            f"{job_id} has no machine now, and no log of it was kept here; what happened stands in "
            f"`brightrun show {job_id}`."
        ) from None
    return "".join(text.splitlines(keepends=True)[-last_lines:] if last_lines else [])
