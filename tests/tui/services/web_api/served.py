"""The API served by a real uvicorn on loopback, in the test's own loop, and callers of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from shared.errors import BrightRunError
from shared.signing import sign
from tests.shared.store.journal import job_spec
from tui.services.session import Session
from tui.services.web_api.server import serve_api
from tui.services.web_api.settings import ApiSettings
from tui.services.web_api.tokens import TokenScope, make_token

USER_ONE = "11111111-1111-4111-8111-111111111111"
USER_TWO = "22222222-2222-4222-8222-222222222222"
FILE = "0f0e0d0c-0b0a-4908-8706-050403020100"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "the-secret-of-before"

JOBS = "/api/training/jobs"
START = "/api/training/start-job"
WEBHOOK = "/api/training/webhook"

BOTH = (TokenScope.JOBS_READ, TokenScope.JOBS_WRITE)


@dataclass
class Served:
    """A server that answers at `url`."""

    session: Session
    url: str
    said: list[str] = field(default_factory=list)

    async def token(
        self, name: str = "a", scopes: tuple[str, ...] = BOTH, user: str | None = None
    ) -> str:
        return await make_token(self.session.store, name, scopes, user)

    @asynccontextmanager
    async def caller(
        self, token: str | None = None, **headers: str
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Who calls with a token; None: without one."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30) as client:
            yield client

    async def add_job(
        self, job_id: str, created_by: str | None = None, file: str | None = None, **values: Any
    ) -> None:
        await self.session.store.add_job(
            job_spec(job_id, **values),
            "local",
            created_by=created_by,
            training_file_id=file,
            waits_for_turn=True,
        )


@asynccontextmanager
async def served(session: Session, settings: ApiSettings) -> AsyncIterator[Served]:
    """Serve until left."""
    said: list[str] = []
    answers = asyncio.Event()

    def say(text: str) -> None:
        said.append(text)
        if "answers at" in text:
            answers.set()

    serving = asyncio.create_task(serve_api(session, settings, say))
    try:
        async with asyncio.timeout(20):
            await answers.wait()
        yield Served(session, said[-1].rpartition(" ")[2], said)
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError, BrightRunError):
            await serving


def signed(secret: str, message_id: str, timestamp: float, body: bytes) -> dict[str, str]:
    """All headers of a webhook."""
    headers = sign(secret, message_id, int(timestamp), body)
    return {**headers, "Content-Type": "application/json"}


def is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem that the answer is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status and body["success"] is False
    assert body["type"] == "about:blank" and body["title"] and body["detail"]
    return body
