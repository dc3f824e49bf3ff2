"""The fake over HTTP: a real server on loopback, scripted faults, and a control API beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import uvicorn

from tests.fakes.runpod.api import Answer, Api, Call, LogStream, decode_body, refused
from tests.fakes.runpod.clock import rfc3339
from tests.fakes.runpod.container import can_make_containers, needs_a_shell
from tests.fakes.runpod.control import CONTROL, command
from tests.fakes.runpod.faults import Fault
from tests.fakes.runpod.image import Machine
from tests.fakes.runpod.problem import Refusal
from tests.fakes.runpod.provider import Provider
from tests.fakes.runpod.schema import read_schema
from tests.fakes.runpod.settings import Settings
from tests.remote.sshd import fresh_user


@dataclass(frozen=True)
class Request:
    """One call, as the log of calls keeps it; `status` 0 is a connection without an answer."""

    method: str
    path: str
    query: str
    body: Any
    status: int
    at_s: float
    """By the fake's clock."""


class FakeRunpod(Provider):
    """The provider with its server; made by `fake_runpod`."""

    def __init__(self, directory: Path, user: str | None, seed: int, settings: Settings) -> None:
        super().__init__(directory, user, seed, settings)
        self.requests: list[Request] = []
        self.schema = read_schema()
        self.url = ""
        self._api = Api(self, self.schema)
        self._ending = False
        self._server: uvicorn.Server | None = None
        self._server_thread: threading.Thread | None = None

    def calls(self, method: str, path: str) -> list[Request]:
        """The calls so far with this method whose path fits the regular expression."""
        return [r for r in self.requests if r.method == method and re.search(path, r.path)]

    def serve(self, port: int = 0) -> None:
        """Answer on 127.0.0.1; returns when it does."""
        listener = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            self._app,
            http="h11",
            interface="asgi3",
            proxy_headers=False,
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._server_thread = threading.Thread(
            target=self._server.run, args=([listener],), name="runpod-server", daemon=True
        )
        self._server_thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            assert time.monotonic() < deadline, "the fake's server does not start"
            time.sleep(0.005)

    def stop_serving(self) -> None:
        """Answer no longer."""
        self._ending = True
        if self._server and self._server_thread:
            self._server.should_exit = True
            self._server_thread.join(timeout=10)

    async def _app(self, scope: Any, receive: Callable[..., Any], send: Any) -> None:
        if scope["type"] != "http":
            return
        raw = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            raw += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["path"].startswith(CONTROL):
            await self._send(send, await asyncio.to_thread(command, self, scope["path"], raw))
            return
        await self._answer(scope, raw, send)

    async def _answer(self, scope: Any, raw: bytes, send: Any) -> None:
        fault = self.faults.take(scope["method"], scope["path"])
        if fault and fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        body: Any = None
        try:
            body = decode_body(raw)
            answer = Answer(0)
            if fault is None or not fault.instead or fault.after_doing:
                answer = self._do(_call(scope, body), fault)
        except Refusal as refusal:
            answer = refused(refusal)
        if fault and fault.status is not None:
            answer = _told(fault, fault.status)
        silent = fault is not None and (fault.reset or fault.hang)
        status = 0 if silent else answer.status
        query = scope["query_string"].decode()
        self.requests.append(
            Request(scope["method"], scope["path"], query, body, status, self.clock.now_s())
        )
        if fault and fault.reset:
            _reset(send)
        elif fault and fault.hang:
            await self._hang(send)
        elif answer.log is not None:
            await self._stream(send, answer.log)
        else:
            await self._send(send, answer)

    def _do(self, call: Call, fault: Fault | None) -> Answer:
        machine = Machine(**fault.pod) if fault and fault.pod else None
        answer = self._api.answer(call, machine)
        if fault and fault.omit is not None and answer.status == 200 and "pods" in answer.body:
            kept = [p for p in answer.body["pods"] if not re.search(fault.omit, p["name"])]
            return Answer(200, {"pods": kept})
        if answer.status == 201 and needs_a_shell(args := (call.body or {}).get("args", "")):
            self.violations.append(f"args needs a shell, and images get words: {args[:200]}")
        return answer

    async def _send(self, send: Any, answer: Answer) -> None:
        kind = "application/problem+json" if answer.status >= 400 else "application/json"
        content = b"" if answer.body is None else json.dumps(answer.body).encode()
        headers = {"content-type": kind, "content-length": str(len(content)), **answer.headers}
        if answer.status == 204:
            headers, content = dict(answer.headers), b""
        await send(_start(answer.status, headers))
        await send({"type": "http.response.body", "body": content})

    async def _stream(self, send: Any, log: LogStream) -> None:
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        await send(_start(200, {"content-type": "text/event-stream", **headers}))
        after = log.after
        transport = send.__self__.transport
        while not self._ending and not log.pod.forgotten and not transport.is_closing():
            for line in log.lines(after):
                stamp = rfc3339(self.clock.utc(line.at_s))
                data = json.dumps({"ts": stamp, "source": line.source, "line": line.line})
                event = f"id: {stamp}/{line.number:012d}\ndata: {data}\n\n".encode()
                await send({"type": "http.response.body", "body": event, "more_body": True})
                after = line.number
            await asyncio.sleep(0.02)
        await send({"type": "http.response.body", "body": b""})

    async def _hang(self, send: Any) -> None:
        transport = send.__self__.transport
        while not self._ending and not transport.is_closing():
            await asyncio.sleep(0.02)
        transport.abort()


def _call(scope: Any, body: Any) -> Call:
    query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
    headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
    return Call(scope["method"], scope["path"], query, headers, body)


def _told(fault: Fault, status: int) -> Answer:
    if status == 204:
        return Answer(204)
    return refused(Refusal(status, fault.detail, (), fault.retry_after_s))


def _start(status: int, headers: dict[str, str]) -> dict[str, Any]:
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


def _reset(send: Any) -> None:
    # ASGI cannot reset a connection; uvicorn's `send` is a method of the cycle that owns it.
    transport = send.__self__.transport
    linger_zero = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
    transport.abort()


@contextlib.contextmanager
def fake_runpod(
    *,
    processes: bool = True,
    seed: int = 0,
    port: int = 0,
    directory: Path | None = None,
    settings: Settings | None = None,
) -> Iterator[FakeRunpod]:
    """A fake for one or more tests; everything of it is gone at the end.

    Args:
        processes: pods are real processes, which needs root and sshd; else only records.
        directory: for its files, where other users can look into; None: a temporary one, removed.
    """
    if processes and not can_make_containers():
        pytest.skip("needs namespaces: unshare --mount --pid")
    root = directory or Path(tempfile.mkdtemp(prefix="runpod-"))
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    with contextlib.ExitStack() as stack:
        if directory is None:
            stack.callback(shutil.rmtree, root, ignore_errors=True)
        user = stack.enter_context(fresh_user(root / "home")) if processes else None
        fake = FakeRunpod(root, user, seed, settings or Settings())
        fake.start()
        stack.callback(fake.close)
        fake.serve(port)
        stack.callback(fake.stop_serving)
        yield fake
