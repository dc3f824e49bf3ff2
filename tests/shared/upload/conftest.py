"""A bucket behind a real TUS server, and files to put into it."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from shared.upload.client import NextToken, ReadBack, UploadedObject, UploadSettings, upload_file
from shared.upload.file import UploadSource
from shared.upload.ledger import FileLedger
from shared.upload.progress import UploadProgress
from tests.fakes.supabase.rig import SupabaseRig

BUCKET = "model-artifacts"
CHUNK = 64 * 1024
FAST = UploadSettings(
    chunk_bytes=CHUNK, patience_s=20, first_delay_s=0.01, longest_delay_s=0.1, request_timeout_s=10
)


@dataclass
class Bucket:
    """The rig's bucket, with the tokens of a service key."""

    rig: SupabaseRig
    directory: Path
    seen: list[UploadProgress] = field(default_factory=list)
    tokens_given: int = 0
    sent: list[str] = field(default_factory=list)
    """The methods of all requests of this process."""

    @property
    def endpoint(self) -> str:
        return f"{self.rig.url}/storage/v1/upload/resumable/sign"

    @property
    def ledger_path(self) -> Path:
        return self.directory / "uploads.json"

    def file(self, chunks: float = 5.5, name: str = "adapter_model.safetensors") -> UploadSource:
        """A file of so many chunks, named by its content."""
        content = random.Random(chunks).randbytes(int(chunks * CHUNK))
        path = self.directory / name
        path.write_bytes(content)
        digits = hashlib.sha256(content).hexdigest()[:16]
        return UploadSource(path, f"jobs/some-job/{digits}/{name}", BUCKET)

    def token(self, name: str, *, age_s: float = 0, lifetime_s: float = 7200) -> str:
        now = time.time()
        claims: dict[str, Any] = {"url": f"{BUCKET}/{name}", "owner": None, "upsert": False}
        claims |= {"iat": int(now - age_s), "exp": int(now - age_s + lifetime_s)}
        return jwt.encode(claims, self.rig.jwt_secret, algorithm="HS256")

    def tokens(self, file: UploadSource) -> NextToken:
        """Counts how often one was asked for."""

        async def next_token() -> str:
            self.tokens_given += 1
            return self.token(file.object_name)

        return next_token

    async def upload(
        self,
        file: UploadSource,
        settings: UploadSettings = FAST,
        *,
        endpoint: str | None = None,
        token: Callable[[], Awaitable[str]] | None = None,
        read_back: ReadBack | None = None,
        on_answer: Callable[[httpx.Response], Awaitable[None]] | None = None,
    ) -> UploadedObject:
        async def count(request: httpx.Request) -> None:
            self.sent.append(request.method)

        hooks: Any = {"request": [count], "response": [on_answer] if on_answer else []}
        async with httpx.AsyncClient(event_hooks=hooks) as http:
            return await upload_file(
                http,
                endpoint or self.endpoint,
                file,
                FileLedger(self.ledger_path),
                token or self.tokens(file),
                self.seen.append,
                settings,
                read_back=read_back,
            )

    def content(self, file: UploadSource) -> bytes:
        """What is in the bucket under the file's name."""
        return self.rig.storage.bytes_of(BUCKET, file.object_name)

    def is_there(self, file: UploadSource) -> bool:
        rows = self.rig.execute("select 1 from storage.objects where name = $1", file.object_name)
        return bool(rows)

    def calls(self, method: str) -> int:
        """How many requests this process sent."""
        return self.sent.count(method)


@pytest.fixture
def bucket(fresh_supabase: SupabaseRig, tmp_path: Path) -> Bucket:
    return Bucket(fresh_supabase, tmp_path)
