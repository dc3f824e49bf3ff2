"""`brightrun webhook test`: one signed message to a receiver, and what came back."""

from __future__ import annotations

import secrets
from uuid import UUID

from shared.errors import InvalidInput
from shared.events import utc_now
from shared.job_state import JobState
from shared.signing import SECRET_VARIABLE
from shared.webhook import WebhookTarget, checked_target, message_id, webhook_body
from shared.webhook_sending import Delivery, WebhookSender
from tui import exit_codes
from tui.commands.output import print_json, print_pairs, say_line
from tui.commands.terminal_session import open_terminal_session
from tui.services.webhook_targets import (
    URL_VARIABLE,
    default_target,
    web_id_of,
    webhook_secret,
)

_NO_JOB = str(UUID(int=0))


async def send_test(
    url: str | None, job_id: str | None, *, allow_private: bool, as_json: bool
) -> int:
    """Send it once; exit code 1 where it was not taken.

    Raises:
        InvalidInput: nobody has said where to, or there is nothing to sign with.
        UnknownJob: no such job.
    """
    secret = webhook_secret()
    if secret is None:
        raise InvalidInput(f"there is nothing to sign with: set {SECRET_VARIABLE}.")
    target = default_target()
    web_id, state = _NO_JOB, JobState()
    if job_id is not None:
        async with open_terminal_session() as session:
            # As fresh as can be: a receiver may believe what it is told.
            job = (await session.mirror.catch_up(await session.store.get_job(job_id))).job
            web_id, state = await web_id_of(session.store, job.job_id), job.state
            stored = await session.store.webhooks.target(job.job_id)
            target = target if stored is None else stored.target
    if url is not None:
        target = checked_target(url, allow_private=allow_private)
    if target is None:
        raise InvalidInput(f"say where to, with --url or {URL_VARIABLE}.")
    body = webhook_body(web_id, state, utc_now())
    delivery = await _send(target, secret, web_id, body, allow_private=allow_private)
    _print(target, body, delivery, as_json=as_json)
    return exit_codes.OK if delivery.taken else 1


async def _send(
    target: WebhookTarget, secret: str, web_id: str, body: str, *, allow_private: bool
) -> Delivery:
    is_allowed = allow_private or target.allow_private
    async with WebhookSender(secret, allow_private=is_allowed) as sender:
        name = message_id(web_id, f"test_{secrets.token_hex(8)}")
        return await sender.send(target.url, name, body)


def _print(target: WebhookTarget, body: str, delivery: Delivery, *, as_json: bool) -> None:
    if as_json:
        told = {
            "url": target.url,
            "taken": delivery.taken,
            "status_code": delivery.status_code,
            "detail": delivery.detail,
            "seconds": round(delivery.seconds, 3),
            "headers": dict(delivery.headers),
            "body": body,
        }
        print_json(told)
        return
    status = "no answer" if delivery.status_code is None else str(delivery.status_code)
    outcome = "taken" if delivery.taken else f"not taken: {delivery.detail}"
    print_pairs(
        [
            ("to", target.url),
            *delivery.headers.items(),
            ("body", body),
            ("answer", f"{status} after {delivery.seconds:.2f} s"),
            ("outcome", outcome),
        ]
    )
    if not delivery.taken:
        say_line("It was tried once. Webhooks of jobs are tried again for a day.")
