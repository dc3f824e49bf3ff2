"""Training files of the web application: listed, and brought here to be trained like any other.

What was fetched stays under its own hash, so that a job that was given it can go on with it though
the web application has another content by then.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from shared.errors import InvalidDataset, InvalidInput, SupabaseRefused
from shared.events import utc_now
from shared.manifest import file_sha256
from shared.store.web_training_files import WebFile
from tui.services.session import Session
from tui.services.supabase.connection import Supabase, connected, supabase_errors
from tui.services.supabase.settings import load_settings
from tui.services.web_file_download import (
    Downloaded,
    DownloadPatience,
    OnProgress,
    download,
    settle,
)
from tui.services.web_file_rows import RemoteFile, checked_file_id, remote_file

PAGE_ROWS = 100
_TABLE = "training_files"
_HASH_CHARACTERS = 16
_LOCK_POLL_S = 0.2
_NO_SUCH_RANGE = "PGRST103"
NOT_CONFIGURED = (
    "no Supabase project is named: set SUPABASE_URL and a key; `brightrun supabase doctor` says "
    "what is missing."
)


@dataclass(frozen=True, slots=True)
class RemoteFiles:
    """One page, newest first."""

    files: tuple[RemoteFile, ...]
    page: int
    """From 1."""
    pages: int
    total: int


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A row there, and its bytes here."""

    remote: RemoteFile
    path: Path
    sha256: str
    was_here: bool
    """Nothing had to be downloaded."""
    earlier: WebFile | None = None
    """What was fetched of the same row before, if that was another content."""


@asynccontextmanager
async def web_application(session: Session) -> AsyncIterator[Supabase]:
    """A connection to the web application's project.

    Raises:
        InvalidInput: no project is named.
        SupabaseError: it cannot be used.
    """
    settings = load_settings()
    if settings is None:
        raise InvalidInput(NOT_CONFIGURED)
    async with connected(settings, session.config.supabase_session_path) as supabase:
        yield supabase


async def list_training_files(session: Session, search: str = "", page: int = 1) -> RemoteFiles:
    """Those that whoever is logged in may see; `search` is looked for in name and description.

    A page beyond the last one is the last one.

    Raises:
        InvalidInput: no project is named.
        SupabaseError: they cannot be asked for.
    """
    async with web_application(session) as supabase:
        try:
            return await _page(supabase, search.strip(), max(page, 1))
        except SupabaseRefused as error:
            if _NO_SUCH_RANGE not in str(error):
                raise
        first = await _page(supabase, search.strip(), 1)
        return first if first.pages == 1 else await _page(supabase, search.strip(), first.pages)


async def _page(supabase: Supabase, search: str, page: int) -> RemoteFiles:
    with supabase_errors():
        # Selects are cut at 1000 rows without a word: a page is always asked for by its range.
        query = supabase.table(_TABLE).select("*", count="exact")
        if search:
            query = _searched(query, search)
        query = query.order("created_at", desc=True).order("id")
        first = (page - 1) * PAGE_ROWS
        answer = await query.range(first, first + PAGE_ROWS - 1).execute()
    total = answer.count or 0
    files = tuple(remote_file(row) for row in answer.data)
    return RemoteFiles(files, page, max(-(-total // PAGE_ROWS), 1), total)


async def fetch_training_file(
    session: Session, file_id: str, on_progress: OnProgress = lambda done, total: None
) -> Path:
    """Where the file's bytes are, once they are here and their hash holds; as `fetch`."""
    return (await fetch(session, file_id, on_progress)).path


async def fetch(
    session: Session,
    file_id: str,
    on_progress: OnProgress = lambda done, total: None,
    patience: DownloadPatience | None = None,
) -> FetchedFile:
    """Bring the file here, unless the bytes that the row names by their hash are here already.

    Raises:
        InvalidInput: no project is named.
        InvalidDataset: no such row that may be seen, or it names no file.
        SupabaseError: it cannot be asked for, or there is no such object.
        IntegrityError: its bytes are not those of the row.
    """
    file_id = checked_file_id(file_id)
    folder = session.config.training_sets_path / "web" / file_id
    async with web_application(session) as supabase, _alone(folder):
        remote = await find_training_file(supabase, file_id)
        known = await session.store.web_files.get(file_id)
        if known is not None and await asyncio.to_thread(_is_current, known, remote):
            return FetchedFile(remote, Path(known.path), known.sha256, was_here=True)
        part = folder / f".{remote.bytes_there.suffix.removeprefix('.')}.part"
        downloaded = await _downloaded(supabase, remote, part, on_progress, patience)
        name = f"{remote.file_name}{remote.bytes_there.suffix}"
        path = folder / downloaded.sha256[:_HASH_CHARACTERS] / name
        await asyncio.to_thread(settle, downloaded, path)
        file = WebFile(file_id, downloaded.sha256, remote.name, str(path), utc_now())
        await session.store.web_files.put(file)
    earlier = known if known is not None and known.sha256 != file.sha256 else None
    return FetchedFile(remote, path, file.sha256, was_here=False, earlier=earlier)


async def find_training_file(supabase: Supabase, file_id: str) -> RemoteFile:
    """The row.

    Raises:
        InvalidDataset: there is none, or none that may be seen.
        SupabaseError: it cannot be asked for.
    """
    with supabase_errors():
        answer = await supabase.table(_TABLE).select("*").eq("id", file_id).limit(1).execute()
    if not answer.data:
        raise InvalidDataset(
            f"there is no training file {file_id} in the web application, or none that you may "
            "see: `brightrun dataset remote list` shows those."
        )
    return remote_file(answer.data[0])


async def _downloaded(
    supabase: Supabase,
    remote: RemoteFile,
    part: Path,
    on_progress: OnProgress,
    patience: DownloadPatience | None,
) -> Downloaded:
    wanted = remote.bytes_there
    try:
        return await download(supabase, wanted, part, on_progress, patience or DownloadPatience())
    except SupabaseRefused as error:
        state = f" Its row is {remote.status!r}." if remote.status not in ("", "ready") else ""
        raise SupabaseRefused(
            f"training file {remote.id} ({wanted.name}): {error}{state}"
        ) from error


def _searched(query: Any, words: str) -> Any:
    try:
        return query.eq("id", str(UUID(words)))
    except ValueError:
        pass
    # Twice: a pattern's own characters, but for the * that stands for anything, then the quotes'.
    pattern = re.sub(r"([\\%_])", r"\\\1", words)
    quoted = pattern.replace("\\", "\\\\").replace('"', '\\"')
    return query.or_(f'name.ilike."*{quoted}*",description.ilike."*{quoted}*"')


def _is_current(known: WebFile, remote: RemoteFile) -> bool:
    """What the row names by its hash is here, unchanged. Blocks."""
    if remote.bytes_there.sha256 != known.sha256:
        return False  # Also where the row has no hash: then only the bytes themselves can tell.
    try:
        return file_sha256(Path(known.path)) == known.sha256
    except OSError:
        return False


@asynccontextmanager
async def _alone(folder: Path) -> AsyncIterator[None]:
    """One fetch of a row at a time, of all processes: they would write the same partial file."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidDataset(f"{folder}: cannot be written ({error.strerror}).") from error
    try:
        while not _locked(descriptor):
            await asyncio.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
