"""Who is told of a job, and which end tells: kept with the job, handed to its agent, taken back.

Nothing here sends a webhook, and nothing here keeps a job from starting or ending: what cannot be
handed over now is handed over by `tui.services.webhooks` later.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from pydantic import SecretStr

from shared.errors import AgentError, BrightRunError, InvalidInput, ProtocolError
from shared.lifecycle import JobStatus
from shared.signing import SECRET_VARIABLE, sign
from shared.store.store import Store
from shared.store.stored import StoredJob
from shared.store.webhooks import StoredTarget, WebhookEnd
from shared.web_id import web_job_id
from shared.webhook import (
    WebhookMessage,
    WebhookTarget,
    checked_target,
    end_message,
    queued_message,
)
from shared.webhook_protocol import WebhookSetting
from tui.services.agent_client import AgentClient
from tui.services.session import Session
from tui.services.web_objects import job_objects

logger = logging.getLogger(__name__)

URL_VARIABLE = "BRIGHTRUN_WEBHOOK_URL"
PRIVATE_VARIABLE = "BRIGHTRUN_WEBHOOK_ALLOW_PRIVATE"

_PATIENCE_S = 10.0


def webhook_secret(environ: Mapping[str, str] = os.environ) -> str | None:
    """What signs; None where there is none.

    Raises:
        InvalidInput: it is no secret.
    """
    secret = environ.get(SECRET_VARIABLE, "").strip()
    if not secret:
        return None
    sign(secret, "msg", 0, b"")
    return secret


def default_target(environ: Mapping[str, str] = os.environ) -> WebhookTarget | None:
    """Where webhooks go unless a start says otherwise; None where nobody has said.

    Raises:
        InvalidInput: a URL to which none goes.
    """
    url = environ.get(URL_VARIABLE, "").strip()
    if not url:
        return None
    allow_private = environ.get(PRIVATE_VARIABLE, "").strip().lower() in ("1", "true", "yes")
    try:
        return checked_target(url, allow_private=allow_private)
    except InvalidInput as error:
        error.args = (f"{URL_VARIABLE}: {error}",)
        raise


def target_to_use(
    url: str | None, interval_steps: int | None, *, allow_private: bool
) -> WebhookTarget | None:
    """Where the webhooks of a job go by what was typed; None where nothing was.

    Raises:
        InvalidInput: no such URL; options without one; or nothing to sign with.
    """
    default = default_target()
    is_typed = url is not None or interval_steps is not None or allow_private
    if url is None and default is None:
        if is_typed:
            raise InvalidInput(
                "--webhook-every and --webhook-allow-private say how: say where with "
                f"--webhook URL or {URL_VARIABLE}."
            )
        return None
    if webhook_secret() is None:
        raise InvalidInput(
            f"webhooks are signed, and there is no secret: set {SECRET_VARIABLE} to what the "
            "receiver has too."
        )
    if not is_typed:
        return None
    if default is not None:
        allow_private = allow_private or (url is None and default.allow_private)
        url = url or default.url
    assert url is not None
    return checked_target(url, interval_steps, allow_private=allow_private)


async def keep_target(
    store: Store, job_id: str, target: WebhookTarget | None = None, like: str | None = None
) -> None:
    """Write down where a job's webhooks go: as given, else as of the job `like`, else the default.

    A job that is there already keeps what it has, unless another target is given.
    """
    if target is None and await store.webhooks.target(job_id) is not None:
        return
    before = None if like is None else await store.webhooks.target(like)
    try:
        chosen = target or (default_target() if before is None else before.target)
        if chosen is None or webhook_secret() is None:
            return
    except InvalidInput as error:  # Of the environment: the background says it as well.
        logger.warning("no webhooks of job %s: %s", job_id, error)
        return
    job = await store.get_job(job_id)
    web_id = await web_id_of(store, job_id)
    await store.webhooks.keep_target(
        job_id, chosen, queued_message(web_id, job.state, job.created_at)
    )


async def web_id_of(store: Store, job_id: str) -> str:
    """The job's id in the web application."""
    return web_job_id(await store.rentals.mark(), job_id)


async def hand_over_webhooks(session: Session, client: AgentClient, job_id: str) -> bool:
    """Have the job's agent tell from now on, what is left to tell here first; False if it is not
    to, or nothing can be signed.

    Raises:
        AgentError, ProtocolError: it did not arrive.
    """
    store = session.store
    stored, secret = await store.webhooks.target(job_id), webhook_secret()
    if stored is None or secret is None or stored.sender is WebhookEnd.NOBODY:
        return False
    waiting = await _waiting(store, job_id)
    setting = await _setting(store, stored, secret, waiting)
    await client.put_webhook(job_id, setting)
    await store.webhooks.handed_over(job_id, [message.id for message in waiting])
    return True


async def try_to_hand_over(session: Session, client: AgentClient, job_id: str) -> None:
    """`hand_over_webhooks`, which may as well happen later."""
    try:
        await hand_over_webhooks(session, client, job_id)
    except BrightRunError as error:
        logger.warning("webhooks of job %s are handed over later: %s", job_id, error)


async def take_back_webhooks(
    session: Session, connecting: AbstractAsyncContextManager[AgentClient], job_id: str
) -> bool:
    """Before a machine ends: have what its agent has not delivered here; True if it is.

    It does not wait long, and does not fail.
    """
    stored = await session.store.webhooks.target(job_id)
    if stored is None or stored.sender is not WebhookEnd.AGENT:
        return True
    try:
        async with asyncio.timeout(_PATIENCE_S), connecting as client:
            left = await client.release_webhooks(job_id)
    except (AgentError, ProtocolError, TimeoutError) as error:
        logger.warning("webhooks of job %s are still with its machine: %s", job_id, error)
        return False
    await session.store.webhooks.taken_back(job_id, [each.message for each in left.messages])
    return True


async def last_message(session: Session, job: StoredJob) -> WebhookMessage:
    """How the job has ended, by the controller's word."""
    [as_object] = await job_objects(session, [job])
    state = job.state.model_copy(update={"detail": job.error_message or job.state.detail})
    return end_message(
        await web_id_of(session.store, job.job_id),
        state,
        job.state.ended_at or job.updated_at,
        as_object["lora_artifact_path"],
    )


async def _waiting(store: Store, job_id: str) -> list[WebhookMessage]:
    stored = await store.webhooks.messages(job_id)
    return [each.message for each in stored if each.outcome == "waiting"]


async def _setting(
    store: Store, stored: StoredTarget, secret: str, first: list[WebhookMessage]
) -> WebhookSetting:
    job = await store.get_job(stored.job_id)
    rental = await store.rentals.get(stored.job_id)
    # What a disk took with it is not in the next agent's journal.
    is_told_elsewhere = rental is not None and rental.rental.attempts_lost > 0
    return WebhookSetting(
        target=stored.target,
        secret=SecretStr(secret),
        web_job_id=await web_id_of(store, stored.job_id),
        tells_end=not job.state.rented,
        status_before=job.status if is_told_elsewhere else JobStatus.QUEUED,
        first=tuple(first),
    )
