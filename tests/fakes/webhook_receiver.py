"""A receiver of webhooks on loopback: answers as a test scripts it, and remembers what it took.

It checks every signature with the package `standardwebhooks`, by its own clock, as a customer's
server would; what does not verify is answered with 401.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock

import standardwebhooks.webhooks
from standardwebhooks import Webhook, WebhookVerificationError

from tests.fakes.runpod.faults import Faults

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@dataclass(frozen=True)
class Received:
    """One request that was signed as it must be, whatever it was answered."""

    id: str
    body: dict[str, Any]
    raw: bytes
    headers: dict[str, str]
    at: float
    """On the monotonic clock."""
    status: int | None
    """None: it was not answered."""

    @property
    def told(self) -> tuple[str, int]:
        """(status of the job, step)."""
        return self.body["status"], self.body["step"]


@dataclass
class WebhookReceiver:
    """What a test says to it, and what it has seen."""

    url: str
    faults: Faults = field(default_factory=lambda: Faults(0))
    secret: str = SECRET
    clock_ahead_s: float = 0.0
    redirect_to: str = ""
    requests: list[Received] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Why requests did not verify."""
    paths: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    """Set at the end: what hangs lets go."""

    @property
    def taken(self) -> list[Received]:
        """What was answered with a success, duplicates included."""
        return [each for each in self.requests if each.status is not None and each.status < 300]

    @property
    def told(self) -> list[tuple[str, int]]:
        """(status, step) of every message taken, in the order of their coming, each once."""
        return [each.told for each in {each.id: each for each in self.taken}.values()]

    @property
    def statuses(self) -> list[str]:
        """The job's statuses as they were told, without repetition."""
        told = [status for status, _ in self.told]
        return [s for index, s in enumerate(told) if index == 0 or told[index - 1] != s]


@contextlib.contextmanager
def serve_webhook_receiver(tls: ssl.SSLContext | None = None) -> Iterator[WebhookReceiver]:
    """Until the end of the block, on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    scheme = "http"
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    receiver = WebhookReceiver(f"{scheme}://127.0.0.1:{server.server_port}/hook")
    server.receiver = receiver  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def receiver(self) -> WebhookReceiver:
        return self.server.receiver  # type: ignore[attr-defined,no-any-return]

    def do_POST(self) -> None:
        receiver = self.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver.paths.append(self.path)
        if complaint := self._complaint(headers, body):
            receiver.refused.append(complaint)
            self._answer(401, complaint)
            return
        fault = receiver.faults.take("POST", self.path)
        if fault is not None and fault.delay_s:
            receiver.released.wait(fault.delay_s)
        status: int | None = 204
        if receiver.redirect_to:
            status = 307
        if fault is not None and fault.instead and not fault.after_doing:
            status = fault.status
        message = Received(
            headers["webhook-id"], json.loads(body), body, headers, time.monotonic(), status
        )
        receiver.requests.append(message)
        if fault is not None and fault.hang:
            receiver.released.wait(60)
        if fault is not None and (fault.hang or fault.reset):
            self.close_connection = True
            return
        answered = fault.status if fault is not None and fault.status else status
        assert answered is not None
        retry_after_s = None if fault is None else fault.retry_after_s
        self._answer(answered, "" if answered == 204 else "as told", retry_after_s)

    def _complaint(self, headers: dict[str, str], body: bytes) -> str:
        class Ahead(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return datetime.fromtimestamp(time.time() + ahead_s, tz)

        ahead_s = self.receiver.clock_ahead_s
        try:
            with mock.patch.object(standardwebhooks.webhooks, "datetime", Ahead):
                Webhook(self.receiver.secret).verify(body, headers)
        except WebhookVerificationError as error:
            return str(error)
        return ""

    def _answer(self, status: int, text: str, retry_after_s: int | None = None) -> None:
        content = text.encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            if retry_after_s is not None:
                self.send_header("Retry-After", str(retry_after_s))
            if status == 307:
                self.send_header("Location", self.receiver.redirect_to)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def date_time_string(self, timestamp: float | None = None) -> str:
        moment = time.time() + self.receiver.clock_ahead_s
        return datetime.fromtimestamp(moment, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")

    def log_message(self, *_: object) -> None:
        pass
