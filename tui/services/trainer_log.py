"""Reads a trainer's own output from its agent: the last lines, and then what is written after them.

`tail` and `follow` stay with one attempt and let every error pass. `watch_log` is for a screen: it
goes from attempt to attempt, sits out an agent that is away, and says so in typed values.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.errors import AgentRefused, AgentUnreachable
from shared.lifecycle import JobStatus

if TYPE_CHECKING:
    # At run time they would bring pydantic and httpx to every widget that shows a log.
    from shared.agent_protocol import LogSlice
    from shared.job_state import JobState
    from tui.services.agent_client import AgentClient
    from tui.services.hosts.host import Host

POLL_S = 0.5

_MISSES_IN_A_ROW = 3
_CHUNK_BYTES = 256 * 1024
_LONGEST_TAIL_BYTES = 2**20
"""The most that an agent sends at once."""
_LONGEST_PENDING = 64 * 1024
"""Characters without a line's end after which they are handed on as a line."""
_LINE_END = re.compile(r"\r*\n|\r+(?!\Z)")
"""A carriage return at the very end waits: a newline may follow it."""


@dataclass(frozen=True, slots=True)
class LogTail:
    """The end of an attempt's log; `text` may stop within a line."""

    text: str
    next_offset: int
    attempt: int
    is_whole: bool
    """Nothing comes before `text`."""


@dataclass(frozen=True, slots=True)
class AttemptOpened:
    """The lines that follow are of this attempt."""

    attempt: int
    is_whole: bool
    """False where earlier lines are left out."""


@dataclass(frozen=True, slots=True)
class LogLines:
    """Whole lines, without their ends. Foreign text: not cleaned yet."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoLogYet:
    """The agent does not know the job yet, or its trainer has written nothing."""


@dataclass(frozen=True, slots=True)
class LogUnreachable:
    """The agent does not answer and is asked again and again; the trainer may well be running."""

    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class LogReachable:
    """The agent answers again; the log goes on where it broke off."""


@dataclass(frozen=True, slots=True)
class LogEnded:
    """The job has reached this status, and its log was read to the end."""

    status: JobStatus


LogValue = AttemptOpened | LogLines | NoLogYet | LogUnreachable | LogReachable | LogEnded


async def tail(client: AgentClient, job_id: str, attempt: int | None, last_lines: int) -> LogTail:
    """The last lines of an attempt; None is the latest.

    Fewer lines than asked for where they are more than an agent sends at once.
    """
    wanted_bytes = _CHUNK_BYTES
    while True:
        part = await client.logs(job_id, attempt=attempt, offset=-wanted_bytes, limit=wanted_bytes)
        is_enough = part.text.count("\n") > last_lines or part.offset == 0
        if is_enough or wanted_bytes == _LONGEST_TAIL_BYTES:
            break
        wanted_bytes = _LONGEST_TAIL_BYTES
    lines = part.text.splitlines(keepends=True)
    return LogTail(
        text="".join(lines[-last_lines:] if last_lines else []),
        next_offset=part.next_offset,
        attempt=part.attempt,
        is_whole=part.offset == 0 and len(lines) <= last_lines,
    )


async def follow(
    client: AgentClient, job_id: str, attempt: int, offset: int, *, poll_s: float = POLL_S
) -> AsyncGenerator[str]:
    """Whole lines of one attempt as they are written, until the job's end.

    Whole, so that no escape sequence is cut in two; but a line that does not end is handed on in
    parts.
    """
    pending, misses = "", 0
    while True:
        try:
            state, part = await _read_on(client, job_id, attempt, offset)
        except AgentUnreachable:
            # A laptop that slept finds that its request has timed out meanwhile.
            misses += 1
            if misses == _MISSES_IN_A_ROW:
                raise
            await asyncio.sleep(poll_s)
            continue
        misses = 0
        offset = part.next_offset
        whole, newline, pending = (pending + part.text).rpartition("\n")
        if newline:
            yield whole + newline
        if len(pending) > _LONGEST_PENDING:
            yield pending
            pending = ""
        if state.status.is_final and not part.text:
            break
        if not part.text:
            await asyncio.sleep(poll_s)
    if pending:
        yield pending + "\n"


async def watch_log(
    host: Host, job_id: str, *, last_lines: int = 2_000, poll_s: float = POLL_S
) -> AsyncGenerator[LogValue]:
    """The last lines of the latest attempt and all that follow, until the job's end.

    A lost connection loses no line and repeats none, however long the agent was away.

    Raises:
        AgentRefused: the agent says no, other than that it does not know the job yet.
        ProtocolError: what the agent sends does not hold together.
    """
    reader = _LogReader(job_id, last_lines)
    lost_at: datetime | None = None
    while not reader.is_done:
        try:
            async with host.client() as client:
                while not reader.is_done:
                    values = await reader.poll(client)
                    if lost_at is not None:
                        lost_at = None
                        yield LogReachable()
                    for value in values:
                        yield value
                    if not values:
                        await asyncio.sleep(poll_s)
        except AgentUnreachable as error:
            if lost_at is None:
                lost_at = datetime.now(UTC)
                reader.is_waiting = False
                yield LogUnreachable(lost_at, str(error))
            await asyncio.sleep(poll_s)


class _LogReader:
    """How far the log was read; outlives any connection."""

    def __init__(self, job_id: str, last_lines: int) -> None:
        self._job_id = job_id
        self._last_lines = last_lines
        self._attempt: int | None = None
        self._offset = 0
        self._pending = ""
        self.is_waiting = False
        """`NoLogYet` was said and still holds."""
        self.is_done = False

    async def poll(self, client: AgentClient) -> list[LogValue]:
        """What is new; nothing if nothing is."""
        try:
            if self._attempt is None:
                return await self._open(client)
            return await self._go_on(client, self._attempt)
        except AgentRefused as error:
            if error.status_code != 404:
                raise
            return self._wait()

    async def _open(self, client: AgentClient) -> list[LogValue]:
        state = (await client.job(self._job_id)).state
        last = await tail(client, self._job_id, None, self._last_lines)
        if not last.text and not state.status.is_final:
            return self._wait()
        self._attempt, self._offset = last.attempt, last.next_offset
        return [AttemptOpened(last.attempt, last.is_whole), *self._lines(last.text)]

    async def _go_on(self, client: AgentClient, attempt: int) -> list[LogValue]:
        state, part = await _read_on(client, self._job_id, attempt, self._offset)
        self._offset = part.next_offset
        if part.text:
            return self._lines(part.text)
        if state.attempt > attempt:
            self._attempt, self._offset = attempt + 1, 0
            return [*self._rest(), AttemptOpened(attempt + 1, is_whole=True)]
        if state.status.is_final:
            self.is_done = True
            return [*self._rest(), LogEnded(state.status)]
        return []

    def _wait(self) -> list[LogValue]:
        if self.is_waiting:
            return []
        self.is_waiting = True
        return [NoLogYet()]

    def _lines(self, text: str) -> list[LogValue]:
        """The lines that `text` completes; a progress bar completes one each time it is redrawn."""
        text = self._pending + text
        lines, begin = [], 0
        for end in _LINE_END.finditer(text):
            line = text[begin : end.start()]
            if line or "\n" in end.group():
                lines.append(line)
            begin = end.end()
        self._pending = text[begin:]
        if len(self._pending) > _LONGEST_PENDING:
            lines.append(self._pending)
            self._pending = ""
        return [LogLines(tuple(lines))] if lines else []

    def _rest(self) -> list[LogValue]:
        rest, self._pending = self._pending.rstrip("\r"), ""
        return [LogLines((rest,))] if rest else []


async def _read_on(
    client: AgentClient, job_id: str, attempt: int, offset: int
) -> tuple[JobState, LogSlice]:
    # The state first: a log that is read after the job's end has all its lines.
    state = (await client.job(job_id)).state
    return state, await client.logs(job_id, attempt=attempt, offset=offset, limit=_CHUNK_BYTES)
