"""Brings one object of Supabase Storage to the disk: streamed, resumed, verified.

A download that was cut, or whose process was killed, goes on where it stopped, if the object is
still the same by its ETag. The file has its name only once size and hash hold.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from shared.errors import IntegrityError, InvalidDataset, SupabaseRefused, SupabaseUnreachable
from shared.manifest import file_sha256, sync_directory, write_atomic
from tui.services.supabase.connection import Supabase, supabase_errors
from tui.services.supabase.storage import Storage
from tui.services.web_file_rows import BUCKET, StoredObject

OnProgress = Callable[[int, int], None]
"""Takes the bytes that are here, and those of the whole file; 0 where nobody says."""

_LINK_S = 600
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)


@dataclass(frozen=True, slots=True)
class DownloadPatience:
    """How often it is tried in a row without one more byte, and how long after each time."""

    tries: int = 5
    first_pause_s: float = 0.5
    longest_pause_s: float = 8.0


@dataclass(frozen=True, slots=True)
class Downloaded:
    """Bytes on the disk."""

    path: Path
    sha256: str
    size_bytes: int


async def download(
    supabase: Supabase,
    wanted: StoredObject,
    part: Path,
    on_progress: OnProgress,
    patience: DownloadPatience,
) -> Downloaded:
    """Bring the object to `part`, which holds what came before if it was tried before.

    Raises:
        SupabaseUnreachable: no more bytes; what has come is kept.
        SupabaseRefused: there is no such object, or it may not be read.
        IntegrityError: size or hash are not those of the row; what has come is removed.
        InvalidDataset: it cannot be written here.
    """
    failures, before = 0, -1
    while True:
        try:
            await _go_on(supabase, wanted, part, on_progress)
            break
        except SupabaseUnreachable:
            there = _size(part)
            failures = failures + 1 if there <= before else 1
            before = max(before, there)
            if failures >= patience.tries:
                raise
            pause_s = patience.first_pause_s * 2 ** (failures - 1)
            await asyncio.sleep(min(pause_s, patience.longest_pause_s))
        except OSError as error:
            raise _cannot_write(part, error) from error
    return await asyncio.to_thread(_verified, wanted, part)


def settle(downloaded: Downloaded, target: Path) -> None:
    """Give the verified file its name. Blocks.

    Raises:
        InvalidDataset: it cannot be written here.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.replace(downloaded.path, target)
        sync_directory(target.parent)
        _tag_file(downloaded.path).unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(target, error) from error


async def _go_on(
    supabase: Supabase, wanted: StoredObject, part: Path, on_progress: OnProgress
) -> None:
    """One request, from where the file ends to the object's end."""
    url = await Storage(supabase, BUCKET).signed_url(wanted.name, _LINK_S)
    part.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    offset, tag = _size(part), _read_tag(part)
    headers = {"Accept-Encoding": "identity"}
    if offset and tag:
        headers["Range"] = f"bytes={offset}-"
    with supabase_errors():
        async with supabase.http.stream("GET", url, headers=headers, timeout=_TIMEOUT) as answer:
            if answer.status_code == 416 and offset == wanted.size_bytes:
                return
            if answer.status_code not in (200, 206):
                await _refuse(answer, wanted, part)
            # If-Range is not known there (storage-api 1.11.2): another content would be appended.
            if answer.status_code == 206 and answer.headers.get("ETag") != tag:
                await _begin_anew(wanted, part)
            await _take(answer, wanted, part, on_progress)


async def _take(
    answer: httpx.Response, wanted: StoredObject, part: Path, on_progress: OnProgress
) -> None:
    goes_on = answer.status_code == 206
    if not goes_on:
        await asyncio.to_thread(_begin, part, answer.headers.get("ETag", ""))
    here = _size(part) if goes_on else 0
    length = int(answer.headers.get("Content-Length", 0))
    total = wanted.size_bytes or (here + length if length else 0)
    # 256 KiB at a time to the disk, each in a thread: the console stays responsive.
    with part.open("ab") as file:
        async for chunk in answer.aiter_raw(1 << 18):
            await asyncio.to_thread(file.write, chunk)
            here += len(chunk)
            if wanted.size_bytes is not None and here > wanted.size_bytes:
                break  # More than the row says: judged at the end.
            on_progress(here, total)
        await asyncio.to_thread(_sync, file.fileno(), file.flush)


async def _refuse(answer: httpx.Response, wanted: StoredObject, part: Path) -> None:
    await answer.aread()
    if answer.status_code == 416:  # It is shorter than what is here.
        await _begin_anew(wanted, part)
    if answer.status_code == 429 or answer.status_code >= 500:
        raise SupabaseUnreachable(
            f"Supabase Storage cannot answer now ({answer.status_code}) for {wanted.name}."
        )
    raise SupabaseRefused(f"Supabase Storage refuses {wanted.name} ({answer.status_code}).")


async def _begin_anew(wanted: StoredObject, part: Path) -> None:
    """It is another content than the one whose beginning is here."""
    await asyncio.to_thread(_begin, part, "")
    raise SupabaseUnreachable(f"Supabase Storage: {wanted.name} has changed; it begins anew.")


def _verified(wanted: StoredObject, part: Path) -> Downloaded:
    found_bytes, sha256 = _size(part), file_sha256(part)
    if wanted.size_bytes is not None and found_bytes != wanted.size_bytes:
        _remove(part)
        raise IntegrityError(
            f"{wanted.name}: has {found_bytes:,} bytes or more in Supabase Storage, and "
            f"{wanted.size_bytes:,} by its row: it was overwritten behind the row. Export it again "
            "in the web application."
        )
    if wanted.sha256 is not None and sha256 != wanted.sha256:
        _remove(part)
        raise IntegrityError(
            f"{wanted.name}: its bytes have sha256 {sha256[:12]}, and {wanted.sha256[:12]} by its "
            "row: it was overwritten behind the row. Export it again in the web application."
        )
    return Downloaded(part, sha256, found_bytes)


def _begin(part: Path, tag: str) -> None:
    """An empty file, of the content with this tag."""
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.close(descriptor)
    # A weak tag says that two contents mean the same, not that they have the same bytes.
    if tag and not tag.startswith("W/"):
        write_atomic(_tag_file(part), tag)
    else:
        _tag_file(part).unlink(missing_ok=True)


def _sync(descriptor: int, flush: Callable[[], None]) -> None:
    flush()
    os.fsync(descriptor)


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _read_tag(part: Path) -> str:
    try:
        return _tag_file(part).read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _remove(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> InvalidDataset:
    return InvalidDataset(f"{path}: cannot be written ({error.strerror}).")
