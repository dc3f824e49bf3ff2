"""Remembers where each upload goes on, so that a killed process resumes. No token is in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from shared.manifest import write_atomic


@dataclass(frozen=True, slots=True)
class BegunUpload:
    """One object that was begun, of one content."""

    object_name: str
    url: str
    """Holds for 24 hours; useless without a token."""
    size_bytes: int
    sha256: str
    is_complete: bool = False
    """The server has said so."""


class UploadLedger(Protocol):
    """Where uploads are remembered."""

    async def find(self, object_name: str) -> BegunUpload | None: ...

    async def keep(self, upload: BegunUpload) -> None: ...

    async def forget(self, object_name: str) -> None: ...


class FileLedger:
    """One JSON file for many objects, read anew each time; safe to kill at any moment.

    Processes that write at the same moment may forget each other's uploads, which then begin again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = asyncio.Lock()

    async def find(self, object_name: str) -> BegunUpload | None:
        """None where it was never begun."""
        begun = await asyncio.to_thread(_load, self._path)
        return begun.get(object_name)

    async def all(self) -> list[BegunUpload]:
        """In the order of their beginning."""
        begun = await asyncio.to_thread(_load, self._path)
        return list(begun.values())

    async def keep(self, upload: BegunUpload) -> None:
        """Durable on return."""
        async with self._lock:
            begun = await asyncio.to_thread(_load, self._path)
            await asyncio.to_thread(_save, self._path, {**begun, upload.object_name: upload})

    async def forget(self, object_name: str) -> None:
        """Nothing happens where it is not known."""
        async with self._lock:
            begun = await asyncio.to_thread(_load, self._path)
            if begun.pop(object_name, None) is not None:
                await asyncio.to_thread(_save, self._path, begun)


def _save(path: Path, begun: dict[str, BegunUpload]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(path, json.dumps([asdict(upload) for upload in begun.values()], indent=1))


def _load(path: Path) -> dict[str, BegunUpload]:
    """A ledger that cannot be read costs a new upload, and nothing else."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {row["object_name"]: BegunUpload(**row) for row in rows}
    return {}
