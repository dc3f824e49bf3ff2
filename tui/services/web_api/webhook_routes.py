"""The route that takes webhooks: a signed hint to look at a job, and nothing more.

What a message says of a status is never written anywhere, so an old, doubled or overtaken one can
do no harm.
"""

from __future__ import annotations

import time

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from shared import signing
from shared.events import utc_now
from tui.services.session import Session
from tui.services.web_api.bodies import WebhookAnswer, WebhookBody
from tui.services.web_api.follower import Follower
from tui.services.web_api.job_ids import find_job
from tui.services.web_api.problems import ProblemError
from tui.services.web_api.routes import WEBHOOK_PATH, described
from tui.services.web_api.settings import ApiSettings

_SIGNED_BY: list[dict[str, list[str]]] = [
    {"webhookSignature": [], "webhookId": [], "webhookTimestamp": []}
]
_BODY = {"schema": {"$ref": f"#/components/schemas/{WebhookBody.__name__}"}}


def add_webhook_route(
    api: FastAPI, session: Session, settings: ApiSettings, follower: Follower
) -> None:
    """The one route; without a secret it takes nothing."""

    @api.post(
        WEBHOOK_PATH,
        response_model=WebhookAnswer,
        responses=described(400, 404, 408, 413, 415, 422, 503),
        openapi_extra={
            "security": _SIGNED_BY,
            "requestBody": {"required": True, "content": {"application/json": _BODY}},
        },
    )
    async def take_webhook(request: Request) -> WebhookAnswer:
        """Look at the job that the message is of. A second delivery is answered like the first."""
        if not settings.webhook_secrets:
            raise ProblemError(503, f"No secret is set here: {signing.SECRET_VARIABLE}.")
        raw = await request.body()
        verified = signing.verify(settings.webhook_secrets, request.headers, raw, time.time())
        job = await find_job(session, _read(raw).job_id)
        is_first = await session.store.received_webhooks.take(verified.message_id, utc_now())
        if is_first and not job.status.is_final:
            follower.glance(job)
        return WebhookAnswer(duplicate=not is_first)


def _read(raw: bytes) -> WebhookBody:
    try:
        return WebhookBody.model_validate_json(raw)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from error
