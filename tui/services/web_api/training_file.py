"""The bytes behind a `training_file_id`, for whoever they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.errors import InvalidDataset
from tui.services.session import Session
from tui.services.supabase.settings import load_settings
from tui.services.web_api.problems import ProblemError
from tui.services.web_files import fetch_training_file, find_training_file, web_application


@dataclass(frozen=True, slots=True)
class TrainingFile:
    """On this machine."""

    path: Path
    name: str


async def training_file(session: Session, file_id: str, user_id: str | None) -> TrainingFile:
    """Fetch the file where it is not here; `user_id` is the user it must belong to, None: any.

    Raises:
        ProblemError: there is no such file, or it is another user's: nobody learns which.
        SupabaseError, IntegrityError: it cannot be had, or not as its row says.
    """
    if load_settings() is None:
        return await _known_here(session, file_id, user_id)
    async with web_application(session) as supabase:
        try:
            remote = await find_training_file(supabase, file_id)
        except InvalidDataset as error:
            raise _none_such(file_id) from error
    # A service key passes row level security, so what it sees is not yet what a user may use.
    if user_id is not None and remote.created_by != user_id:
        raise _none_such(file_id)
    return TrainingFile(await fetch_training_file(session, file_id), remote.name)


async def _known_here(session: Session, file_id: str, user_id: str | None) -> TrainingFile:
    """Without Supabase: one that was fetched before. Whose it is, nobody can say then."""
    known = await session.store.web_files.get(file_id)
    if known is None or user_id is not None:
        raise _none_such(file_id, " (this server knows no Supabase: SUPABASE_URL is not set)")
    return TrainingFile(Path(known.path), known.name)


def _none_such(file_id: str, why: str = "") -> ProblemError:
    return ProblemError(404, f"There is no training file {file_id}{why}; nothing was started.")
