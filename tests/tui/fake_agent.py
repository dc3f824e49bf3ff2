"""A small real server on a Unix socket that speaks the contract from a list of records."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from shared.agent_protocol import PROTOCOL_VERSION
from shared.events import JournalRecord, encode
from shared.job_state import fold
from tests.shared.store.journal import job_spec

TOKEN = "a-token"


@dataclass
class FakeAgent:
    """What the agent knows, and how it misbehaves. Cursors that were asked for are in `asked`."""

    root: Path
    records: list[JournalRecord] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    logs: dict[int, bytes] = field(default_factory=dict)
    """What the trainer wrote, by attempt."""
    cut_after: list[int] = field(default_factory=list)
    """For each connection in turn: how many records to send before it breaks."""
    batch_size: int = 2
    repeat_last: bool = False
    """Begin each connection with the record at the cursor, which the console has already."""
    listed: dict[str, Any] = field(default_factory=dict)
    """Overrides of the artifact list, by path."""
    health: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] | None = None
    """What it tells of its machine; None: it is too old to know the question."""
    ignores_range: bool = False
    refuses_with: int | None = None
    """Status of the answer to every start."""
    asked: list[tuple[int, int]] = field(default_factory=list)
    asked_in_vain: int = 0
    """How often somebody wanted the events of a job that is not known."""
    ranges: list[str | None] = field(default_factory=list)
    log_requests: list[tuple[int | None, int]] = field(default_factory=list)
    """(attempt, offset), as asked for."""
    started: dict[str, Any] = field(default_factory=dict)

    @property
    def socket_path(self) -> Path:
        return self.root / "agent.sock"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeAgent]:
        """Serve until the end of the block; the socket's file stays, as after a kill."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.socket_path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.socket_path))
        listener.listen()
        config = uvicorn.Config(
            self._app(), log_level="critical", ws="websockets-sansio", lifespan="off"
        )
        server = uvicorn.Server(config)
        server.force_exit = True
        (self.root / "agent.token").write_text(TOKEN)
        (self.root / "agent.json").write_text(json.dumps({"socket": str(self.socket_path)}))
        task = asyncio.create_task(server._serve([listener]))
        try:
            yield self
        finally:
            server.should_exit = True
            await task
            listener.close()

    def _app(self) -> Starlette:
        job = "/training/jobs/{job_id}"
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/machine", self._machine),
                Route("/training/start", self._start, methods=["POST"]),
                Route(job, self._job),
                Route(f"{job}/cancel", self._cancel, methods=["POST"]),
                Route(f"{job}/logs", self._logs),
                Route(f"{job}/artifacts", self._artifacts),
                Route(f"{job}/artifacts/{{path:path}}", self._artifact),
                WebSocketRoute(f"{job}/events", self._events),
            ]
        )

    async def _health(self, request: Request) -> Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"detail": "wrong token"}, 401)
        health = {
            "version": "0.1.0",
            "protocol": PROTOCOL_VERSION,
            "agent_id": "11111111-1111-1111-1111-111111111111",
            "pid": 1,
            "started_at": "2026-11-22T15:00:00Z",
            "running": [],
            "root": str(self.root),
        }
        return JSONResponse({**health, **self.health})

    async def _machine(self, request: Request) -> Response:
        if self.machine is None:
            return JSONResponse({"detail": "Not Found"}, 404)
        return JSONResponse(self.machine)

    async def _start(self, request: Request) -> Response:
        spec = (await request.json())["job"]
        job_id = spec["job_id"]
        if self.refuses_with is not None:
            return JSONResponse({"detail": "not this one"}, self.refuses_with)
        is_new = self.started.setdefault(job_id, spec) is spec
        return JSONResponse({"job_id": job_id, "created": is_new}, 202 if is_new else 200)

    async def _job(self, request: Request) -> Response:
        job_id = request.path_params["job_id"]
        if not self._knows(job_id):
            return JSONResponse({"detail": f"no job {job_id}"}, 404)
        return JSONResponse(
            {
                "job": job_spec(job_id).model_dump(mode="json"),
                "state": json.loads(fold(self.records).model_dump_json()),
            }
        )

    async def _cancel(self, request: Request) -> Response:
        known = self._knows(request.path_params["job_id"])
        return JSONResponse({"detail": "no such job"}, 202 if known else 404)

    async def _logs(self, request: Request) -> Response:
        job_id, query = request.path_params["job_id"], request.query_params
        if not self._knows(job_id):
            return JSONResponse({"detail": f"no job {job_id}"}, 404)
        asked = int(query["attempt"]) if "attempt" in query else None
        self.log_requests.append((asked, int(query["offset"])))
        attempt = max(self.logs, default=1) if asked is None else asked
        content, offset = self.logs.get(attempt, b""), int(query["offset"])
        begin = min(offset, len(content)) if offset >= 0 else max(0, len(content) + offset)
        part = content[begin : begin + int(query["limit"])]
        place = {"offset": begin, "next_offset": begin + len(part), "size": len(content)}
        return JSONResponse({"attempt": attempt, **place, "text": part.decode()})

    async def _artifacts(self, request: Request) -> Response:
        files = [
            {
                "path": path,
                "size_bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                **self.listed.get(path, {}),
            }
            for path, content in self.files.items()
        ]
        return JSONResponse({"attempt": 1, "files": files})

    async def _artifact(self, request: Request) -> Response:
        content = self.files[request.path_params["path"]]
        wanted = None if self.ignores_range else request.headers.get("Range")
        self.ranges.append(request.headers.get("Range"))
        if wanted is None:
            return Response(content)
        begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
        span = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        return Response(content[begin:], 206, {"Content-Range": span})

    async def _events(self, websocket: WebSocket) -> None:
        await websocket.accept()
        if not self._knows(websocket.path_params["job_id"]):
            self.asked_in_vain += 1
            await websocket.close(4404)
            return
        cursor = (
            int(websocket.query_params["attempt"]),
            int(websocket.query_params["after"]),
        )
        self.asked.append(cursor)
        first = cursor if self.repeat_last else (cursor[0], cursor[1] + 1)
        records = [record for record in self.records if (record.attempt, record.seq) >= first]
        limit = self.cut_after.pop(0) if self.cut_after else len(records)
        for begin in range(0, min(limit, len(records)), self.batch_size):
            batch = records[begin : min(begin + self.batch_size, limit)]
            await websocket.send_text("\n".join(encode(record) for record in batch))
        if limit < len(records):
            await websocket.close(1011)
        elif fold(self.records).status.is_final:
            await websocket.close(1000)
        else:
            await websocket.receive()

    def _knows(self, job_id: str) -> bool:
        return job_id in self.started or any(record.job_id == job_id for record in self.records)
