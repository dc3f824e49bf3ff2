"""From an id in a request to a job of the store, for those who may see it."""

from __future__ import annotations

from shared.errors import UnknownJob
from shared.store.api_tokens import StoredToken
from shared.store.stored import StoredJob
from shared.web_id import web_job_id
from tui.services.session import Session
from tui.services.web_objects import store_mark


async def find_job(session: Session, text: str, token: StoredToken | None = None) -> StoredJob:
    """The job of this UUID, or of our own id in full; `token` says whose it must be.

    Raises:
        UnknownJob: there is none, or it is another user's: nobody learns which.
    """
    job = await _job(session, text.lower())
    if job is None or (token is not None and not may_see(token, job)):
        raise UnknownJob("There is no such job.")
    return job


def may_see(token: StoredToken, job: StoredJob) -> bool:
    """A user's token is for that user's jobs, any other for all."""
    return token.user_id is None or token.user_id == job.created_by


async def _job(session: Session, text: str) -> StoredJob | None:
    store = session.store
    known = await store.job_versions()
    if text not in known:
        mark = await store_mark(store)
        found = (job_id for job_id in known if web_job_id(mark, job_id) == text)
        text = next(found, "")
    return await store.get_job(text) if text else None
