"""Receivers of notifications on loopback: an HTTP server with a script, and a mail server."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class NoticeReceiver(ThreadingHTTPServer):
    """Keeps what is posted to it; `answers` are the next statuses, 200 once they are used up."""

    daemon_threads = True

    def __init__(self) -> None:
        self.posts: list[tuple[str, Any]] = []
        self.answers: list[int] = []
        self.hang_s = 0.0
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def titles(self) -> list[str]:
        return [str(post["title"]) for _, post in self.posts]


class _Handler(BaseHTTPRequestHandler):
    server: NoticeReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.server.hang_s)
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status == 200:
            self.server.posts.append((self.path, json.loads(body)))
        self.send_response(status)
        if status in (301, 302, 307):
            self.send_header("Location", f"http://127.0.0.1:{self.server.port}/elsewhere")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


class MailReceiver(socketserver.ThreadingTCPServer):
    """Takes mail without a login, as a relay on the same machine does."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.mails: list[str] = []
        super().__init__(("127.0.0.1", 0), _MailHandler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _MailHandler(socketserver.StreamRequestHandler):
    server: MailReceiver

    def handle(self) -> None:
        self._say("220 loopback")
        while line := self.rfile.readline().decode().strip():
            verb = line.split(maxsplit=1)[0].upper()
            if verb == "DATA":
                self._say("354 go on")
                mail = []
                while (part := self.rfile.readline()) != b".\r\n":
                    mail.append(part.decode())
                self.server.mails.append("".join(mail))
            self._say("221 bye" if verb == "QUIT" else "250 ok")
            if verb == "QUIT":
                return

    def _say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """The server at work in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
