"""Puts a local or merged training file into the web application: its bytes and its row.

The row's id is made of the bytes and of whose it is, so that doing it again, after a kill at any
moment too, comes to the same row and the same object.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from shared.clean_text import clean_line
from shared.errors import IntegrityError, InvalidDataset, SupabaseRefused
from shared.events import utc_now
from shared.store.web_training_files import WebFile
from shared.upload.client import upload_file
from shared.upload.file import UploadSource
from shared.upload.ledger import FileLedger
from shared.upload.progress import UploadProgress
from tui.services.check_run import run_check
from tui.services.dataset_check import CheckSettings
from tui.services.session import Session
from tui.services.supabase.connection import Supabase, supabase_errors
from tui.services.supabase.storage import ObjectExists, Storage
from tui.services.web_file_download import OnProgress
from tui.services.web_file_rows import BUCKET, READY, UPLOADING, RemoteFile, remote_file
from tui.services.web_files import web_application

_NAMESPACE = UUID("0c9d6b57-52b5-4d55-9a0e-5f3a7c4be8d1")
"""Drawn once, at random, for this project."""
_TABLE = "training_files"
_SUFFIXES = {".json": "application/json", ".jsonl": "application/jsonl"}
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Registered:
    """The row, and whether it was there already."""

    remote: RemoteFile
    was_there: bool


async def register_training_file(
    session: Session,
    path: Path,
    name: str = "",
    description: str = "",
    *,
    settings: CheckSettings | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Registered:
    """Check the file, upload it, and let the web application know of it; again changes nothing.

    Raises:
        InvalidDataset: the file has errors, or is neither JSON nor JSONL.
        InvalidInput: no project is named.
        SupabaseError: the project refuses it or cannot be reached; the same call goes on.
        IntegrityError: what lies there is not what was sent.
    """
    if path.suffix not in _SUFFIXES:
        raise InvalidDataset(f"{path}: must end in .json or .jsonl to be registered.")
    checked = await run_check(
        session.store, str(path), settings or CheckSettings("tiny"), lambda done, total: None
    )
    file = checked.file
    if file.errors:
        raise InvalidDataset(
            f"{path}: has errors; nothing was registered. `brightrun dataset check` shows them."
        )
    row = {
        "name": clean_line(name or path.stem)[:_LONGEST_NAME],
        "description": description or None,
        "conversation_count": file.conversations,
        "total_training_pairs": file.targets if file.targets is not None else file.trained_targets,
        "sha256": file.sha256,
        "metadata": {"shape": file.shape, "tokens": file.tokens, "source": "brightrun"},
    }
    async with web_application(session) as supabase:
        there, was_ready = await _row(supabase, row, path.suffix, file.size_bytes)
        if not was_ready:
            await _upload(session, supabase, path, there, file.sha256, on_progress)
            there = await _mark_ready(supabase, there.id)
    here = WebFile(there.id, file.sha256, there.name, str(path.absolute()), utc_now())
    await session.store.web_files.put(here)
    return Registered(there, was_ready)


async def _row(
    supabase: Supabase, row: dict[str, Any], suffix: str, size_bytes: int
) -> tuple[RemoteFile, bool]:
    """The row with these bytes, and whether its object is complete; made where it is missing."""
    found = await _with_hash(supabase, row["sha256"])
    if found is None:
        owner = supabase.user_id or ""
        file_id = str(uuid5(_NAMESPACE, f"{owner}/{row['sha256']}"))
        new = {**row, **_place(file_id, suffix, size_bytes), "id": file_id, "status": UPLOADING}
        if supabase.user_id is not None:
            new["created_by"] = supabase.user_id
        with supabase_errors():
            # Before the bytes: whose the object is, is told by the row.
            query = supabase.table(_TABLE).upsert(new, on_conflict="id", ignore_duplicates=True)
            await query.execute()
        found = await _with_hash(supabase, row["sha256"])
    if found is None:
        raise SupabaseRefused(
            "Supabase took the row of the training file and does not show it again: row level "
            "security hides it. `brightrun supabase doctor` says more."
        )
    return found, found.status != UPLOADING


async def _with_hash(supabase: Supabase, sha256: str) -> RemoteFile | None:
    with supabase_errors():
        query = supabase.table(_TABLE).select("*").eq("sha256", sha256)
        if supabase.user_id is not None:  # A service key sees everybody's.
            query = query.eq("created_by", supabase.user_id)
        answer = await query.order("created_at").order("id").limit(1).execute()
    return remote_file(answer.data[0]) if answer.data else None


async def _upload(
    session: Session,
    supabase: Supabase,
    path: Path,
    there: RemoteFile,
    sha256: str,
    on_progress: OnProgress,
) -> None:
    wanted = there.bytes_there
    storage = Storage(supabase, BUCKET)
    source = UploadSource(path, wanted.name, BUCKET, _SUFFIXES[wanted.suffix], sha256)
    ledger_path = session.config.home / "uploads" / "training-files.json"
    await asyncio.to_thread(ledger_path.parent.mkdir, parents=True, exist_ok=True, mode=0o700)

    def tell(progress: UploadProgress) -> None:
        on_progress(progress.sent_bytes, progress.size_bytes)

    async def token() -> str:
        return await storage.sign_upload(wanted.name)

    async def size_there() -> int | None:
        facts = await storage.facts(wanted.name)
        return None if facts is None else facts.size_bytes

    ledger = FileLedger(ledger_path)
    # It may have been complete when somebody was killed; what it holds is read below.
    with suppress(ObjectExists):
        await upload_file(
            supabase.http,
            storage.upload_endpoint,
            source,
            ledger,
            token,
            tell,
            read_back=size_there,
        )
    await _require_same(storage, wanted.name, sha256)
    await ledger.forget(wanted.name)


async def _require_same(storage: Storage, name: str, sha256: str) -> None:
    digest = hashlib.sha256()
    async with storage.download(name) as (_, chunks):
        async for chunk in chunks:
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise IntegrityError(
            f"{name}: read back from Supabase Storage it has sha256 {digest.hexdigest()[:12]}, and "
            f"{sha256[:12]} here. Remove that object, then register the file again."
        )


async def _mark_ready(supabase: Supabase, file_id: str) -> RemoteFile:
    with supabase_errors():
        query = supabase.table(_TABLE).update({"status": READY}).eq("id", file_id)
        answer = await query.execute()
    if not answer.data:  # An update of no row is no error there.
        raise SupabaseRefused(f"Supabase has no row {file_id} to mark as ready; register again.")
    return remote_file(answer.data[0])


def _place(file_id: str, suffix: str, size_bytes: int) -> dict[str, Any]:
    kind = suffix.removeprefix(".")
    return {f"{kind}_file_path": f"{file_id}/training{suffix}", f"{kind}_file_size": size_bytes}
