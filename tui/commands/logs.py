"""`brightrun logs`: the trainer's own output, from the host it runs on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from shared.clean_text import clean
from tui import exit_codes
from tui.services.agent_client import AgentClient
from tui.services.session import open_session

_CHUNK_BYTES = 256 * 1024
_LONGEST_TAIL_BYTES = 2**20
"""The most that an agent sends at once."""
_POLL_S = 0.5


async def print_logs(job_id: str, *, attempt: int | None, follow: bool, last_lines: int) -> int:
    """Print the last lines; with `follow`, go on until the job's end."""
    async with open_session() as session:
        job = await session.store.get_job(job_id)
        await session.host.ensure_agent()
        async with session.host.client() as client:
            text, offset, attempt = await _tail(client, job.job_id, attempt, last_lines)
            _print(text)
            if follow:
                async for line in _lines_after(client, job.job_id, attempt, offset):
                    _print(line)
    return exit_codes.OK


async def _tail(
    client: AgentClient, job_id: str, attempt: int | None, last_lines: int
) -> tuple[str, int, int]:
    """(the last lines, the offset after them, the attempt they are of).

    Fewer lines than asked for where they are more than an agent sends at once.
    """
    text, wanted_bytes = "", _CHUNK_BYTES
    while True:
        part = await client.logs(job_id, attempt=attempt, offset=-wanted_bytes, limit=wanted_bytes)
        text = part.text
        is_enough = text.count("\n") > last_lines or part.offset == 0
        if is_enough or wanted_bytes == _LONGEST_TAIL_BYTES:
            break
        wanted_bytes = _LONGEST_TAIL_BYTES
    lines = text.splitlines(keepends=True)
    return "".join(lines[-last_lines:] if last_lines else []), part.next_offset, part.attempt


async def _lines_after(
    client: AgentClient, job_id: str, attempt: int, offset: int
) -> AsyncIterator[str]:
    """Whole lines as they are written, so that no escape sequence is cut in two."""
    pending = ""
    while True:
        is_final = (await client.job(job_id)).state.status.is_final
        part = await client.logs(job_id, attempt=attempt, offset=offset, limit=_CHUNK_BYTES)
        offset = part.next_offset
        whole, newline, pending = (pending + part.text).rpartition("\n")
        if newline:
            yield whole + newline
        if is_final and not part.text:
            break
        if not part.text:
            await asyncio.sleep(_POLL_S)
    if pending:
        yield pending + "\n"


def _print(text: str) -> None:
    # Progress bars redraw a line with \\r; as lines of their own they stay readable.
    sys.stdout.write(clean(text.replace("\r\n", "\n").replace("\r", "\n")))
    sys.stdout.flush()
