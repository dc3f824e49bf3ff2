"""Where a version's files lie, and their removal: on this machine and in Supabase Storage.

Copies that somebody has fetched to a place of their own are theirs, and are never touched; neither
is what lies on another machine or on a network volume, which is named instead.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from shared.errors import BrightRunError, InvalidInput
from shared.manifest import MANIFEST_NAME, manifest_sha256
from shared.model_version import ModelVersion, checked_reason, why_not_deleted
from shared.number_text import many, short_path
from shared.store.model_versions import Change
from shared.store.uploads import ArtifactType, StoredUpload, UploadState
from tui.config import Config
from tui.services.hosts.names import LOCAL, shown_host
from tui.services.session import Session
from tui.services.supabase.settings import load_settings
from tui.services.who import who_acts

_NOT_SEEN = (
    "in Supabase that this login does not see: they are another user's, or somebody else has "
    "removed them"
)


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of a version's files, in words."""

    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """What is not this program's to remove, and where it is."""
    troubles: tuple[str, ...] = ()
    """What should be gone and is not; deleting again tries again."""

    def __add__(self, other: Removal) -> Removal:
        return Removal(
            self.removed + other.removed, self.kept + other.kept, self.troubles + other.troubles
        )


def local_copies(config: Config, version: ModelVersion) -> list[Path]:
    """The directories of this machine that hold the version's adapter; blocks."""
    copies = [config.home / "adapters" / version.job_id]
    if version.facts.host == LOCAL and version.facts.path:
        path, own = Path(version.facts.path), config.agent_root / "jobs" / version.job_id
        # The path is a trainer's word: only what the agent keeps for this job is meant.
        if path.resolve().is_relative_to(own.resolve()):
            copies.append(path)
    return [path for path in copies if path.is_dir()]


def places(config: Config, version: ModelVersion, upload_states: frozenset[str]) -> list[str]:
    """Where the version's files are, in words; blocks."""
    if version.is_deleted:
        return ["deleted"]
    found = [short_path(path) for path in local_copies(config, version)]
    host = version.facts.host
    if host.startswith("ssh:"):
        found.append(f"{shown_host(host)}: {version.facts.path}")
    if "verified" in upload_states:
        found.append("Supabase")
    return found


async def delete_version(
    session: Session, version: ModelVersion, why: str
) -> tuple[ModelVersion, Removal]:
    """Write down that it is deleted, then remove its files; once more removes what was left.

    Raises:
        InvalidInput: it is in production, or was changed by somebody else meanwhile.
    """
    if refusal := why_not_deleted(version):
        raise InvalidInput(refusal)
    if not version.is_deleted:
        change = Change(who_acts(session.config), checked_reason(why))
        # First the record: a version without files that looks whole would be promoted.
        version = await session.store.models.delete(version, change)
    removal = await asyncio.to_thread(_remove_local, session.config, version)
    return version, removal + _elsewhere(version) + await _remove_uploads(session, version)


def _remove_local(config: Config, version: ModelVersion) -> Removal:
    removal = Removal()
    for path in local_copies(config, version):
        if not _is_of(path, version):
            removal += Removal(kept=(f"{short_path(path)}, which is another adapter by now",))
            continue
        try:
            shutil.rmtree(path)
            removal += Removal(removed=(short_path(path),))
        except OSError as error:
            removal += Removal(troubles=(f"{short_path(path)}: {error.strerror or error}",))
    return removal


def _is_of(path: Path, version: ModelVersion) -> bool:
    """True as well for what an interrupted removal has left, which has no manifest any more."""
    manifests = list(path.rglob(MANIFEST_NAME))
    return all(manifest_sha256(each.parent) == version.manifest_sha256 for each in manifests)


def _elsewhere(version: ModelVersion) -> Removal:
    host = version.facts.host
    if host.startswith("ssh:") and version.facts.path:
        return Removal(kept=(f"{version.facts.path} on {shown_host(host)}",))
    return Removal()


async def _remove_uploads(session: Session, version: ModelVersion) -> Removal:
    uploads = _of_version(await session.store.uploads.of_job(version.job_id), version)
    if not uploads:
        return Removal()
    try:
        settings = load_settings()
        target = None if settings is None else settings.target
        here = [each for each in uploads if each.target == target]
        others = sorted({each.target for each in uploads} - {target})
        kept = tuple(f"what was uploaded to {other}" for other in others)
        if settings is None or not here:
            return Removal(kept=kept)
        from tui.services.supabase.connection import connected
        from tui.services.supabase.storage import Storage

        names = [each.object_name for each in here]
        async with connected(settings, session.config.supabase_session_path) as supabase:
            removed = await Storage(supabase).remove(names)
        if removed == 0:  # Row level security hides what is another user's, and says nothing.
            return Removal(kept=kept, troubles=(f"{many(len(names), 'object')} {_NOT_SEEN}",))
        for name in names:
            await session.store.uploads.forget(name)
    except BrightRunError as error:
        return Removal(troubles=(str(error),))
    return Removal(removed=(f"{many(removed, 'object')} in Supabase",), kept=kept)


def _of_version(uploads: Sequence[StoredUpload], version: ModelVersion) -> list[StoredUpload]:
    """Its weights in all forms, and what lies beside them; a job's log and report stay."""
    of_attempt = [
        each
        for each in uploads
        if each.attempt == version.attempt and each.state is not UploadState.REMOVED
    ]
    folders = {
        PurePosixPath(each.object_name).parent
        for each in of_attempt
        if each.artifact_type is not ArtifactType.FILE
    }
    return [each for each in of_attempt if PurePosixPath(each.object_name).parent in folders]
