"""A file that goes up: its size and hash before, its bytes on the way, and whether it changed.

Knows nothing of the network. Reading blocks, so it happens in threads.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.errors import IntegrityError
from shared.manifest import file_sha256

PIECE_BYTES = 2**20
"""What is in memory at a time."""


@dataclass(frozen=True, slots=True)
class UploadSource:
    """What is to go up, and what it is called there."""

    path: Path
    object_name: str
    """Within the bucket. It names the content: never used for other bytes."""
    bucket: str
    content_type: str = "application/octet-stream"
    sha256: str | None = None
    """What the file must have; None: whatever it has now."""


@dataclass(frozen=True, slots=True)
class MeasuredFile:
    """A file as it was when it was hashed."""

    path: Path
    size_bytes: int
    sha256: str
    _stamp: tuple[int, int, int, int]

    def require_same(self) -> None:
        """Raises IntegrityError if it is not the file that was hashed. Blocks."""
        with _readable(self.path):
            stamp = _stamp(self.path)
        if stamp != self._stamp:
            raise IntegrityError(f"{self.path}: has changed while it was uploaded; start again.")

    async def pieces(
        self, offset: int, length: int, on_read: Callable[[int], None]
    ) -> AsyncIterator[bytes]:
        """`length` bytes from `offset`; `on_read` hears how many of them have left."""
        with _readable(self.path):
            descriptor = await asyncio.to_thread(os.open, self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            end = offset + length
            while offset < end:
                wanted = min(PIECE_BYTES, end - offset)
                with _readable(self.path):
                    piece = await asyncio.to_thread(os.pread, descriptor, wanted, offset)
                if not piece:
                    raise IntegrityError(f"{self.path}: has become shorter while it was uploaded.")
                yield piece
                offset += len(piece)
                on_read(offset)
        finally:
            os.close(descriptor)


def measure(file: UploadSource) -> MeasuredFile:
    """Hash the file. Blocks.

    Raises:
        IntegrityError: it is not there, or is not the one that was meant.
    """
    with _readable(file.path):
        stamp = _stamp(file.path)
        sha256 = file_sha256(file.path)
    measured = MeasuredFile(file.path, stamp[0], sha256, stamp)
    measured.require_same()
    if file.sha256 is not None and sha256 != file.sha256:
        raise IntegrityError(
            f"{file.path}: has sha256 {sha256[:12]}, not {file.sha256[:12]} as it is to be "
            "recorded. It was changed; nothing was uploaded."
        )
    return measured


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IntegrityError(f"{path}: cannot be read ({error.strerror}).") from error


def _stamp(path: Path) -> tuple[int, int, int, int]:
    """Size, and what changes with every write or replacement."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev
