"""The one address of the stand-in project: it checks keys, scripts faults and passes requests on.

    /rest/v1/*                        PostgREST, without the prefix
    /auth/v1/*                        the auth stub, in this process
    /storage/v1/upload/resumable*     the TUS server, path unchanged
    /storage/v1/*                     the storage double, path unchanged

Bodies are streamed both ways, so that a large upload costs no memory here.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.runpod.faults import Fault, Faults
from tests.fakes.supabase.auth import AuthStub

_CHUNK = 1 << 16
_OWN = {"host", "connection", "transfer-encoding", "keep-alive", "expect"}
"""Headers of one hop."""
CONCURRENT = 32
"""Requests at a time; more wait."""


@dataclass(frozen=True)
class Request:
    """One call, as the log of calls keeps it; `status` 0 is a connection without an answer."""

    method: str
    path: str
    query: str
    status: int


@dataclass
class Gateway:
    """Serves while started; the port stays the same over a stop and a start."""

    auth: AuthStub
    keys: dict[str, str]
    """The role that an API key stands for; take one out to revoke it."""
    role_token: Callable[[str], str]
    """A token for the role, that a key of the new kind is exchanged for."""
    postgrest_url: Callable[[], str]
    storage_url: str | None = None
    tus_url: str | None = None
    date_offset_s: float = 0.0
    """How far the clock in the Date header is ahead."""
    faults: Faults = field(default_factory=lambda: Faults(0))
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self._server: _Server | None = None
        self._slots = threading.BoundedSemaphore(CONCURRENT)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def calls(self, method: str, path: str) -> list[Request]:
        """The calls so far with this method whose path fits the regular expression."""
        return [r for r in self.requests if r.method == method and re.search(path, r.path)]

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _handler_for(self))
        self.port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="gateway", daemon=True
        ).start()

    def stop(self) -> None:
        """Refuse connections, and cut those that stand."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut()
            self._server = None

    def upstream(self, path: str) -> tuple[str | None, str]:
        """(base URL, path there) of a path here; None where nothing stands behind it."""
        if path.startswith("/rest/v1"):
            return self.postgrest_url(), path.removeprefix("/rest/v1") or "/"
        if path.startswith("/storage/v1/upload/resumable"):
            return self.tus_url, path
        if path.startswith("/storage/v1/"):
            return self.storage_url, path
        return None, path

    def may_enter(self) -> contextlib.AbstractContextManager[Any]:
        return self._slots


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no news."""

    def cut(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _handler_for(gateway: Gateway) -> type[BaseHTTPRequestHandler]:
    return type("GatewayHandler", (_Handler,), {"gateway": gateway})


class _Handler(BaseHTTPRequestHandler):
    gateway: Gateway
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        with self.gateway.may_enter():
            parts = urlsplit(self.path)
            fault = self.gateway.faults.take(self.command, parts.path)
            if fault and fault.delay_s:
                time.sleep(fault.delay_s)
            said = _Said(self)
            replaced = fault is not None and fault.instead
            if not replaced:
                self._answer(parts.path, parts.query, said)
            elif fault is not None and fault.after_doing:
                self._answer(parts.path, parts.query, _Said(None))
            else:
                self._swallow()
            if fault is not None and replaced:
                said.status = self._go_wrong(fault, said)
            self.gateway.requests.append(
                Request(self.command, parts.path, parts.query, said.status)
            )

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle

    def _answer(self, path: str, query: str, said: _Said) -> None:
        role = self._role(query)
        checked = path.startswith(("/rest/v1", "/auth/v1"))
        if checked and role is None:
            self._swallow()
            word = (
                "Invalid API key" if self.headers.get("apikey") else "No API key found in request"
            )
            said.json(401, {"message": word, "hint": "Double check your Supabase `apikey`."})
        elif path.startswith("/auth/v1"):
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, body = self.gateway.auth.answer(
                self.command, path.removeprefix("/auth/v1"), query, b"".join(self._body()), bearer
            )
            said.json(status, body)
        else:
            self._pass_on(path, query, role, said)

    def _role(self, query: str) -> str | None:
        key = self.headers.get("apikey") or "".join(parse_qs(query).get("apikey", []))
        return self.gateway.keys.get(key)

    def _pass_on(self, path: str, query: str, role: str | None, said: _Said) -> None:
        base, there = self.gateway.upstream(path)
        if base is None:
            self._swallow()
            said.json(404, {"message": "no Route matched with those values"})
            return
        connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=300)
        try:
            self._forward(connection, f"{there}?{query}" if query else there, role)
            said.copy(connection.getresponse())
        except (OSError, http.client.HTTPException):
            # As the gateway of a project says it when the server behind it is away.
            said.json(503, {"message": "name resolution failed"})
        finally:
            connection.close()

    def _forward(self, connection: http.client.HTTPConnection, path: str, role: str | None) -> None:
        connection.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _OWN | {"authorization"}:
                connection.putheader(name, value)
        connection.putheader("Host", self.headers.get("Host", ""))
        connection.putheader("X-Forwarded-Host", self.headers.get("Host", ""))
        connection.putheader("X-Forwarded-Proto", "http")
        if authorization := self._authorization(role):
            connection.putheader("Authorization", authorization)
        chunked = "Content-Length" not in self.headers and "Transfer-Encoding" in self.headers
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        for piece in self._body():
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            connection.send(b"0\r\n\r\n")

    def _authorization(self, role: str | None) -> str | None:
        """A key of the new kind is no token; the gateway puts one in its place."""
        said = self.headers.get("Authorization")
        if said and not said.startswith("Bearer sb_"):
            return said
        return f"Bearer {self.gateway.role_token(role)}" if role else said

    def _body(self) -> Iterator[bytes]:
        if "Content-Length" in self.headers:
            left = int(self.headers["Content-Length"])
            while left > 0:
                piece = self.rfile.read1(min(_CHUNK, left))
                if not piece:
                    raise ConnectionError("the client left")
                left -= len(piece)
                yield piece
        elif "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

    def _swallow(self) -> None:
        for _ in self._body():
            pass

    def _go_wrong(self, fault: Fault, said: _Said) -> int:
        """What the client gets instead of the answer."""
        self.close_connection = True
        if fault.reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif fault.hang:
            with contextlib.suppress(OSError):
                self.connection.recv(1)  # until the client gives up
        else:
            extra = {}
            if fault.retry_after_s is not None:
                extra["Retry-After"] = str(fault.retry_after_s)
            said.json(fault.status or 500, {"message": fault.detail}, extra)
            return said.status
        return 0

    def date_time_string(self, timestamp: float | None = None) -> str:
        now_s = time.time() if timestamp is None else timestamp
        return formatdate(now_s + self.gateway.date_offset_s, usegmt=True)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet."""


class _Said:
    """The answer on its way to the client, or to nobody."""

    def __init__(self, handler: _Handler | None) -> None:
        self._handler = handler
        self.status = 0

    def json(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self.status = status
        if self._handler is None:
            return
        raw = b"" if body is None else json.dumps(body).encode()
        self._handler.send_response(status)
        self._handler.send_header("Content-Type", "application/json; charset=utf-8")
        self._handler.send_header("Content-Length", str(len(raw)))
        for name, value in (headers or {}).items():
            self._handler.send_header(name, value)
        self._handler.end_headers()
        if self._handler.command != "HEAD":
            self._handler.wfile.write(raw)

    def copy(self, answer: http.client.HTTPResponse) -> None:
        """Pass on what the server behind says, piece by piece."""
        self.status = answer.status
        handler = self._handler
        if handler is None:
            answer.read()
            return
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _OWN | {"date", "server"}:
                handler.send_header(name, value)
        bare = handler.command == "HEAD" or answer.status in (204, 304)
        known = answer.getheader("Content-Length") is not None or bare
        if not known:
            handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        if bare:
            return
        while piece := answer.read1(_CHUNK):
            handler.wfile.write(piece if known else b"%x\r\n%b\r\n" % (len(piece), piece))
        if not known:
            handler.wfile.write(b"0\r\n\r\n")
