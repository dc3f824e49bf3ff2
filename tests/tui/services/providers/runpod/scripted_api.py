"""An HTTP server whose answers are scripted byte by byte: for answers that no sane server gives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

RESET = b"reset"
"""The connection breaks once the request has arrived."""
SILENCE = b"silence"
"""The request arrives and is never answered."""


@dataclass(slots=True)
class ScriptedApi:
    """`script` is used up answer by answer; its last one is given for ever."""

    script: list[bytes]
    url: str = ""
    requests: list[str] = field(default_factory=list)
    """`METHOD /path?query`, in order."""
    heads: list[str] = field(default_factory=list)
    """The same with headers."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lengths = [line for line in head.splitlines() if line.lower().startswith("content-le")]
            await reader.readexactly(int(lengths[0].split(":")[1]) if lengths else 0)
            self.requests.append(" ".join(head.split()[:2]))
            self.heads.append(head)
            reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            if reply is SILENCE:
                await reader.read()
            elif reply is RESET:
                writer.transport.abort()
            else:
                writer.write(reply)
                await writer.drain()
        finally:
            writer.close()


def answer(status: int, body: object = None, **headers: str) -> bytes:
    """A whole answer; header names are written with underscores. Text is sent as it stands."""
    content = body if isinstance(body, str) else json.dumps(body) if body is not None else ""
    lines = [
        f"HTTP/1.1 {status} Words",
        f"Content-Length: {len(content.encode())}",
        "Connection: close",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + content).encode()


def problem(status: int, detail: str, *errors: str, **headers: str) -> bytes:
    """An error as in RFC 9457."""
    body = {"title": "Problem", "status": status, "detail": detail, "errors": list(errors)}
    return answer(status, body, **headers)


@asynccontextmanager
async def scripted_api(*script: bytes) -> AsyncGenerator[ScriptedApi]:
    """On a port of its own."""
    api = ScriptedApi(list(script))
    server = await asyncio.start_server(api.answer, "127.0.0.1", 0)
    api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield api
