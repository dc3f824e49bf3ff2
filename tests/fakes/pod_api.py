"""The provider as one pod sees it: answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class PodApi:
    """A server on loopback, and what a test says and asks of it."""

    url: str
    answers: dict[str, int] = field(default_factory=lambda: {"DELETE": 204, "POST": 200})
    """Status by method."""
    requests: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    """Method, path, Authorization, body."""

    @property
    def asked(self) -> list[str]:
        """`DELETE /v2/pods/pod1`, and with a body that too."""
        told = [(method, path, body.decode()) for method, path, _, body in self.requests]
        return [" ".join(parts).rstrip() for parts in told]


@contextlib.contextmanager
def serve_pod_api() -> Iterator[PodApi]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            authorization = self.headers.get("Authorization", "")
            made.requests.append((self.command, self.path, authorization, body))
            self.send_response(made.answers[self.command])
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_DELETE = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = PodApi(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
