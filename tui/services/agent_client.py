"""Speaks with one agent over its Unix socket; the only module that sees httpx and websockets.

Their errors end here: nobody there is `AgentUnreachable`, an answer that says no is `AgentRefused`,
and bytes that make no sense are a `ProtocolError`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode

import httpx
from websockets.asyncio.client import unix_connect
from websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedOK,
    InvalidHandshake,
    InvalidStatus,
)

from shared.agent_protocol import (
    CLOSED_COMPLETELY,
    CLOSED_NO_TOKEN,
    CLOSED_UNKNOWN_JOB,
    PROTOCOL_VERSION,
    Answer,
    AnswerT,
    ArtifactList,
    CancelRequest,
    ErrorAnswer,
    Health,
    JobAnswer,
    JobsAnswer,
    LogSlice,
    MachineFacts,
    MachineLimits,
    SelfEndAnswer,
    StartAnswer,
    StartRequest,
    decode_answer,
)
from shared.errors import AgentRefused, AgentUnreachable, ProtocolError
from shared.events import JournalRecord, decode_journal_records
from shared.job_spec import JobSpec
from shared.store.cursor import BEGINNING, Cursor, records_after
from shared.upload.contract import UploadableFiles, UploadsAnswer, UploadsRequest
from shared.webhook_protocol import WebhookMessages, WebhookSetting, WebhookState
from tui.services.joined_frames import joined

_TIMEOUT_S = 10.0
_PROBE_TIMEOUT_S = 40.0
"""The agent itself waits 30 s for its provider."""
_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 2.0
_LARGEST_FRAME_BYTES = 64 * 2**20
"""200 lines of a journal; each may carry a generated answer."""
_CLOSE_CODES = {
    CLOSED_NO_TOKEN: (401, "the agent refused the token."),
    CLOSED_UNKNOWN_JOB: (404, "unknown job."),
}


@dataclass(frozen=True, slots=True)
class AgentAddress:
    """Where an agent listens, and the token it asks for."""

    socket: Path
    token: str
    label: str = ""
    """What an error calls it; empty: its socket."""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def __repr__(self) -> str:
        return f"AgentAddress({str(self.socket)!r}, token=...)"

    def __str__(self) -> str:
        return self.label or str(self.socket)


class AgentClient:
    """One typed method for each call of the contract; use it as a context manager."""

    def __init__(self, address: AgentAddress) -> None:
        self._address = address
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(address.socket), verify=False),
            base_url="http://agent",
            headers=address.headers,
            timeout=_TIMEOUT_S,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def health(self) -> Health:
        """The version handshake.

        Raises:
            ProtocolError: the agent speaks another version of the protocol.
        """
        health = await self._call(Health, "GET", "/health")
        if health.protocol != PROTOCOL_VERSION:
            raise ProtocolError(
                f"the agent {health.version} (pid {health.pid}) speaks protocol {health.protocol}, "
                f"this console {PROTOCOL_VERSION}: install the same version at both ends."
            )
        return health

    async def machine(self) -> MachineFacts:
        """The machine's GPUs, disk and memory.

        Raises:
            AgentRefused: with status 404 by an agent from before it could tell.
        """
        return await self._call(MachineFacts, "GET", "/machine")

    async def self_end(self) -> SelfEndAnswer:
        """Whether the rented machine of the agent can end itself."""
        return await self._call(SelfEndAnswer, "GET", "/machine/self-end", timeout=_PROBE_TIMEOUT_S)

    async def start(
        self, spec: JobSpec, *, first_attempt: int = 1, limits: MachineLimits | None = None
    ) -> StartAnswer:
        """Start the job; the same spec again changes nothing but the machine's limits."""
        request = StartRequest(job=spec, first_attempt=first_attempt, limits=limits)
        body = request.model_dump(mode="json")
        return await self._call(StartAnswer, "POST", "/training/start", json=body)

    async def jobs(self) -> tuple[JobAnswer, ...]:
        """All jobs that the agent knows."""
        return (await self._call(JobsAnswer, "GET", "/training/jobs")).jobs

    async def job(self, job_id: str) -> JobAnswer:
        """One job, with its state so far."""
        return await self._call(JobAnswer, "GET", _job_path(job_id))

    async def cancel(self, job_id: str, reason: str) -> None:
        """Ask for the job to stop; asking again, or after its end, changes nothing."""
        body = CancelRequest(reason=reason).model_dump()
        await self._call(Answer, "POST", _job_path(job_id, "cancel"), json=body)

    async def checkpoint(self, job_id: str) -> None:
        """Have the trainer save at the end of the current step."""
        await self._call(Answer, "POST", _job_path(job_id, "checkpoint"))

    async def put_webhook(self, job_id: str, setting: WebhookSetting) -> WebhookState:
        """Have the agent tell the web application of the job; the same again changes nothing."""
        body = setting.model_dump(mode="json")
        body["secret"] = setting.secret.get_secret_value()
        return await self._call(WebhookState, "PUT", _job_path(job_id, "webhook"), json=body)

    async def webhook(self, job_id: str) -> WebhookState:
        """How far the agent has come with telling."""
        return await self._call(WebhookState, "GET", _job_path(job_id, "webhook"))

    async def webhook_messages(self, job_id: str) -> WebhookMessages:
        """All that the agent has told, or is to tell."""
        return await self._call(WebhookMessages, "GET", _job_path(job_id, "webhooks"))

    async def release_webhooks(self, job_id: str) -> WebhookMessages:
        """Have the agent tell nothing more, and say what it has not told."""
        return await self._call(WebhookMessages, "POST", _job_path(job_id, "webhooks/release"))

    async def logs(
        self, job_id: str, *, attempt: int | None = None, offset: int = 0, limit: int = 65_536
    ) -> LogSlice:
        """Part of the trainer's log; a negative offset counts from the end, None is the latest."""
        params = {"offset": offset, "limit": limit}
        if attempt is not None:
            params["attempt"] = attempt
        return await self._call(LogSlice, "GET", _job_path(job_id, "logs"), params=params)

    async def artifacts(self, job_id: str) -> ArtifactList:
        """The files of the committed adapter."""
        return await self._call(ArtifactList, "GET", _job_path(job_id, "artifacts"))

    async def uploadable(self, job_id: str) -> UploadableFiles:
        """What the agent could upload by itself: adapter and whole checkpoints."""
        return await self._call(UploadableFiles, "GET", _job_path(job_id, "uploadable"))

    async def start_uploads(self, job_id: str, request: UploadsRequest) -> UploadsAnswer:
        """Hand over upload tokens; the same files again with new tokens go on."""
        body = request.model_dump(mode="json")
        return await self._call(UploadsAnswer, "POST", _job_path(job_id, "uploads"), json=body)

    async def uploads(self, job_id: str) -> UploadsAnswer:
        """How far the agent's uploads are."""
        return await self._call(UploadsAnswer, "GET", _job_path(job_id, "uploads"))

    async def give_up_uploads(self, job_id: str) -> UploadsAnswer:
        """Stop them; what was sent stays, so that they can go on later."""
        return await self._call(UploadsAnswer, "DELETE", _job_path(job_id, "uploads"))

    @asynccontextmanager
    async def download(
        self, job_id: str, path: str, offset: int
    ) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """The bytes of an artifact from `offset`; yields where they really begin, and the chunks.

        An agent that ignores the range begins at 0.
        """
        url = _job_path(job_id, "artifacts", *path.split("/"))
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with _translated(self._address):
            request = self._http.build_request("GET", url, headers=headers)
            response = await self._http.send(request, stream=True)
        try:
            if response.is_error:
                with _translated(self._address):
                    _raise_refusal(response.status_code, await response.aread())
            # Outside of any translation: an error of the caller's own disk is not the agent's.
            yield _first_byte(response, offset), self._chunks(response)
        finally:
            await response.aclose()

    async def _chunks(self, response: httpx.Response) -> AsyncIterator[bytes]:
        with _translated(self._address):
            async for chunk in response.aiter_bytes():
                yield chunk

    async def events(
        self, job_id: str, after: Cursor = BEGINNING, *, patience_s: float = 30.0
    ) -> AsyncGenerator[list[JournalRecord]]:
        """The job's records after a cursor as they come, until its last one was sent.

        A lost connection is taken up where it broke, with no gap and no duplicate.

        Raises:
            AgentUnreachable: nobody answered for `patience_s` seconds.
            AgentRefused: unknown job, or a token that does not fit.
            ProtocolError: a gap, or something that is not a record.
        """
        loop = asyncio.get_running_loop()
        delay_s = _FIRST_DELAY_S
        lost_at: float | None = None
        while True:
            try:
                async with aclosing(self._frames(job_id, after)) as frames:
                    async for frame in frames:
                        lost_at = None
                        received = decode_journal_records(frame)
                        if records := records_after(after, job_id, received):
                            delay_s = _FIRST_DELAY_S
                            after = Cursor(records[-1].attempt, records[-1].seq)
                            yield records
                return
            except AgentUnreachable:
                lost_at = lost_at or loop.time()
                # Jitter, so that consoles that lost one agent do not come back in step.
                delay_s = min(delay_s * 2, _LONGEST_DELAY_S) * random.uniform(0.5, 1.0)
                if loop.time() + delay_s - lost_at > patience_s:
                    raise
            await asyncio.sleep(delay_s)

    async def _frames(self, job_id: str, after: Cursor) -> AsyncGenerator[bytes]:
        """The frames of one connection, until the agent closes it in good order.

        The first is empty and our own: it says that the agent was reached.
        """
        query = urlencode({"attempt": after.attempt, "after": after.seq})
        with _translated(self._address):
            async with unix_connect(
                str(self._address.socket),
                f"ws://agent{_job_path(job_id, 'events')}?{query}",
                additional_headers=self._address.headers,
                open_timeout=_TIMEOUT_S,
                close_timeout=1,
                max_size=_LARGEST_FRAME_BYTES,
                proxy=None,
            ) as connection:
                yield b""
                try:
                    async with aclosing(joined(lambda: connection.recv(decode=False))) as frames:
                        async for frame in frames:
                            yield frame
                except ConnectionClosedOK as closed:
                    if closed.rcvd is None or closed.rcvd.code != CLOSED_COMPLETELY:
                        raise

    async def _call(self, kind: type[AnswerT], method: str, path: str, **values: Any) -> AnswerT:
        with _translated(self._address):
            response = await self._http.request(method, path, **values)
        if response.is_error:
            _raise_refusal(response.status_code, response.content)
        return decode_answer(kind, response.content)


@contextmanager
def _translated(address: AgentAddress) -> Iterator[None]:
    try:
        yield
    except ConnectionClosed as error:
        code = error.rcvd.code if error.rcvd else 1006
        if code in _CLOSE_CODES:
            raise AgentRefused(*_CLOSE_CODES[code]) from error
        raise AgentUnreachable(f"{address}: the connection was lost ({code}).") from error
    except InvalidStatus as error:
        status_code = error.response.status_code
        if status_code < 500:
            _raise_refusal(status_code, error.response.body or b"")
        raise AgentUnreachable(f"{address}: answered {status_code}.") from error
    except (httpx.HTTPError, httpx.StreamError, InvalidHandshake, OSError, EOFError) as error:
        cause = str(error) or type(error).__name__
        raise AgentUnreachable(f"{address}: {cause}.") from error


def _raise_refusal(status_code: int, content: bytes) -> None:
    try:
        detail = decode_answer(ErrorAnswer, content).detail
    except ProtocolError:
        detail = f"the agent answered {status_code}."
    raise AgentRefused(status_code, detail)


def _first_byte(response: httpx.Response, offset: int) -> int:
    """Where the body begins: what Content-Range says, and 0 for a whole file."""
    if response.status_code != 206:
        return 0
    said = response.headers.get("Content-Range", "")
    if not said.startswith(f"bytes {offset}-"):
        raise ProtocolError(f"asked for bytes from {offset}, the agent sent {said!r}.")
    return offset


def _job_path(*parts: str) -> str:
    return "/training/jobs/" + "/".join(quote(part, safe="") for part in parts)
