"""A Unix socket before the agent's that goes silent in the middle of a chosen request or answer."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Literal, Self


class HeldSocket:
    """`with HeldSocket(agent_root, b"POST /x", what="answer") as held:`; consoles reach the agent
    through it meanwhile.

    `held.is_holding` is set once a request with these words has come by; from then on neither that
    request ("request") nor more than `after_bytes` of its answer ("answer") gets through.
    """

    def __init__(
        self,
        root: Path,
        words: bytes | None = None,
        *,
        what: Literal["request", "answer"] = "answer",
        after_bytes: int = 0,
    ) -> None:
        self._address_path = root / "agent.json"
        self._before = self._address_path.read_text()
        self._upstream = json.loads(self._before)["socket"]
        self._path = str(Path(self._upstream).with_name("held.sock"))
        self._words, self._what, self._after_bytes = words, what, after_bytes
        self._listener = socket.socket(socket.AF_UNIX)
        self._open: list[socket.socket] = []
        self.is_holding = threading.Event()
        self.requests: list[bytes] = []
        """What consoles sent, as it came."""

    def __enter__(self) -> Self:
        self._listener.bind(self._path)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        address = {**json.loads(self._before), "socket": self._path}
        self._address_path.write_text(json.dumps(address))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._address_path.write_text(self._before)
        for opened in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        Path(self._path).unlink()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                console, _ = self._listener.accept()
                agent = socket.socket(socket.AF_UNIX)
                agent.connect(self._upstream)
                self._open += [console, agent]
                is_held = threading.Event()
                for forward in (self._requests, self._answers):
                    threading.Thread(
                        target=forward, args=(console, agent, is_held), daemon=True
                    ).start()

    def _requests(
        self, console: socket.socket, agent: socket.socket, is_held: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while content := console.recv(65_536):
                self.requests.append(content)
                if self._words is not None and self._words in content:
                    is_held.set()
                if is_held.is_set() and self._what == "request":
                    self.is_holding.set()
                    continue
                agent.sendall(content)
            agent.shutdown(socket.SHUT_WR)

    def _answers(
        self, console: socket.socket, agent: socket.socket, is_held: threading.Event
    ) -> None:
        left = self._after_bytes
        with contextlib.suppress(OSError):
            while content := agent.recv(65_536):
                if is_held.is_set():
                    content, left = content[:left], max(0, left - len(content))
                    if not left:
                        self.is_holding.set()
                console.sendall(content)
            console.shutdown(socket.SHUT_WR)
