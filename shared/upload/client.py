"""Sends one file to Supabase Storage by resumable upload (TUS 1.0), whatever happens on the way.

Used by the agent and by the console. It knows no project and no login: an endpoint, a file, a place
that remembers, and a way to get the next token. Learned by killing servers (2026-11):

- `offset == size` is no success. `Tus-Complete: 1` is, or an object whose size reads back right.
- The last PATCH is never given up early: some servers then forget the whole upload.
- Tokens last two hours, an upload's URL a day: the one is renewed, the other begun again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

import httpx

from shared.errors import IntegrityError, SupabaseUnauthorized, SupabaseUnreachable
from shared.upload.file import MeasuredFile, UploadSource, measure
from shared.upload.ledger import BegunUpload, UploadLedger
from shared.upload.progress import Rate, UploadProgress
from shared.upload.server import BeginAgain, NeedsToken, ResumableServer, Retry

CHUNK_BYTES = 6 * 2**20
"""Supabase asks for exactly this much a PATCH (its documentation, read 2026-11)."""
_FRESH_TOKENS = 3
"""So many in a row that are refused are no matter of time."""

NextToken = Callable[[], Awaitable[str]]
OnProgress = Callable[[UploadProgress], None]
ReadBack = Callable[[], Awaitable[int | None]]


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """How patient an upload is."""

    chunk_bytes: int = CHUNK_BYTES
    request_timeout_s: float = 60.0
    last_patch_timeout_s: float = 300.0
    patience_s: float = 600.0
    """So long without a single further byte, then it is given up for now."""
    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    fresh_starts: int = 5
    """So often the server may forget the upload."""


_USUAL = UploadSettings()


@dataclass(frozen=True, slots=True)
class UploadedObject:
    """What is there now, by the server's word."""

    object_name: str
    size_bytes: int
    sha256: str


async def upload_file(
    http: httpx.AsyncClient,
    endpoint: str,
    file: UploadSource,
    ledger: UploadLedger,
    token: NextToken,
    on_progress: OnProgress = lambda _: None,
    settings: UploadSettings = _USUAL,
    *,
    read_back: ReadBack | None = None,
) -> UploadedObject:
    """Upload the file, or go on with what `ledger` remembers; again, it changes nothing.

    `token` is asked for at the start and whenever the last one has expired. `read_back` tells the
    size of the object in the bucket, for servers that never say that an upload is complete.
    Cancelled while the last bytes travel, it ends only once the server has answered.

    Raises:
        SupabaseUnreachable: no byte more for `patience_s`; what is there stays, try again later.
        SupabaseUnauthorized: new tokens are refused as well.
        SupabaseRefused: too large, no such bucket, or the project's rules.
        IntegrityError: the file is not the one that was begun, or changes on the way.
    """
    measured = await asyncio.to_thread(measure, file)
    begun = await ledger.find(file.object_name)
    if begun is not None and begun.sha256 != measured.sha256:
        raise IntegrityError(
            f"{file.path}: has changed since its upload as {file.object_name} was begun. "
            "Another content needs another name."
        )
    if begun is None or not begun.is_complete:
        work = _Upload(http, endpoint, file, measured, ledger, token, on_progress, settings)
        work.read_back = read_back
        await work.run(begun)
    on_progress(UploadProgress(measured.size_bytes, measured.size_bytes, None))
    return UploadedObject(file.object_name, measured.size_bytes, measured.sha256)


class _Upload:
    """One file on its way: where it goes on, and what has gone wrong so far."""

    read_back: ReadBack | None = None

    def __init__(
        self,
        http: httpx.AsyncClient,
        endpoint: str,
        file: UploadSource,
        measured: MeasuredFile,
        ledger: UploadLedger,
        next_token: NextToken,
        on_progress: OnProgress,
        settings: UploadSettings,
    ) -> None:
        self._server = ResumableServer(http, endpoint, file, measured, settings.request_timeout_s)
        self._file = file
        self._measured = measured
        self._ledger = ledger
        self._next_token = next_token
        self._on_progress = on_progress
        self._settings = settings
        self._rate = Rate()
        self._url: httpx.URL | None = None
        self._fresh_starts = 0
        self._refused_tokens = 0
        self._failures = 0
        self._furthest = -1
        self._moved_at = 0.0

    async def run(self, begun: BegunUpload | None) -> None:
        """Until the object is there. Every round begins with what the server really has."""
        if begun is not None and begun.size_bytes == self._measured.size_bytes:
            self._url = self._server.own_url(begun.url)
        self._server.token = await self._next_token()
        self._moved_at = self._now()
        while True:
            try:
                if self._url is None and await self._create():
                    return
                assert self._url is not None
                if await self._send_from(self._url, await self._server.offset(self._url)):
                    return
            except BeginAgain as error:
                await self._begin_again(error)
            except NeedsToken as error:
                await self._renew(error)
            except Retry as error:
                await self._wait(error)

    async def _create(self) -> bool:
        """Begin an upload; True if the object is there already, as one of no bytes is."""
        self._url, is_there = await self._server.create()
        await self._ledger.keep(self._begun())
        return await self._is_complete(is_there)

    async def _send_from(self, url: httpx.URL, offset: int) -> bool:
        """All bytes from `offset`, chunk after chunk; True once the object is there."""
        self._reached(offset)
        size, most = self._measured.size_bytes, self._settings.chunk_bytes
        while size - offset > most:
            reached, _ = await self._patch(url, offset, most, self._settings.request_timeout_s)
            if not offset < reached <= size:
                raise Retry(f"the server went from byte {offset} to {reached}")
            offset = reached
            self._reached(offset)
        return await _to_its_end(self._finish(url, offset))

    async def _finish(self, url: httpx.URL, offset: int) -> bool:
        """The last chunk. One of no bytes too: it makes a server finish what it has."""
        length = self._measured.size_bytes - offset
        timeout_s = self._settings.last_patch_timeout_s
        _, is_there = await self._patch(url, offset, length, timeout_s)
        if await self._is_complete(is_there):
            return True
        raise Retry("the server does not say that the upload is complete")

    async def _patch(
        self, url: httpx.URL, offset: int, length: int, timeout_s: float
    ) -> tuple[int, bool]:
        await asyncio.to_thread(self._measured.require_same)
        pieces = self._measured.pieces(offset, length, self._moved)
        return await self._server.patch(url, offset, length, pieces, timeout_s)

    async def _is_complete(self, is_there: bool) -> bool:
        """The server's word, or else the object's own size."""
        if not is_there and self.read_back is not None:
            try:
                is_there = await self.read_back() == self._measured.size_bytes
            except SupabaseUnreachable as error:
                raise Retry(str(error)) from error
        if is_there:
            await self._ledger.keep(replace(self._begun(), is_complete=True))
        return is_there

    async def _begin_again(self, error: Retry) -> None:
        self._url, self._furthest = None, -1
        self._fresh_starts += 1
        await self._ledger.forget(self._file.object_name)
        if self._fresh_starts > self._settings.fresh_starts:
            raise SupabaseUnreachable(
                f"Supabase Storage keeps forgetting the upload of {self._file.object_name} "
                f"({error}). Try again later."
            ) from error

    async def _renew(self, error: Retry) -> None:
        self._refused_tokens += 1
        if self._refused_tokens > _FRESH_TOKENS:
            raise SupabaseUnauthorized(
                f"Supabase Storage refuses new tokens for {self._file.object_name} as well "
                f"({error}): is the clock of this machine right?"
            ) from error
        if self._refused_tokens > 1:
            await asyncio.sleep(self._delay_s(self._refused_tokens))
        self._server.token = await self._next_token()

    async def _wait(self, error: Retry) -> None:
        self._failures += 1
        delay_s = self._delay_s(self._failures) if error.after_s is None else error.after_s
        delay_s = min(delay_s, self._settings.longest_delay_s)
        if self._now() + delay_s - self._moved_at > self._settings.patience_s:
            raise SupabaseUnreachable(
                f"{self._file.object_name} does not get into Supabase Storage now: {error}. "
                "What is there stays; the upload goes on when it is tried again."
            ) from error
        await asyncio.sleep(delay_s)

    def _reached(self, offset: int) -> None:
        if offset > self._furthest:
            self._furthest, self._moved_at = offset, self._now()
            self._failures = self._refused_tokens = 0
        self._moved(offset)

    def _moved(self, sent_bytes: int) -> None:
        self._rate.add(self._now(), sent_bytes)
        size = self._measured.size_bytes
        self._on_progress(UploadProgress(sent_bytes, size, self._rate.bytes_per_s))

    def _begun(self) -> BegunUpload:
        measured = self._measured
        return BegunUpload(
            self._file.object_name, str(self._url), measured.size_bytes, measured.sha256
        )

    def _delay_s(self, failures: int) -> float:
        # Jitter, so that many files that lost one server do not come back in step.
        longest = self._settings.first_delay_s * 2.0 ** min(failures - 1, 16)
        return min(longest, self._settings.longest_delay_s) * random.uniform(0.5, 1.0)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _to_its_end(work: Coroutine[Any, Any, bool]) -> bool:
    """The work's result; cancelled meanwhile, it is still waited for, which its timeout bounds."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # seen: nobody else asks for it
        raise cancelled
    return task.result()
