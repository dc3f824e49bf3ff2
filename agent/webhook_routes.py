"""The routes by which a console hands a job's webhooks over, and takes them back."""

from __future__ import annotations

from fastapi import FastAPI

from agent.webhooks import Webhooks
from shared.webhook_protocol import WebhookMessages, WebhookSetting, WebhookState


def add_webhook_routes(app: FastAPI, webhooks: Webhooks) -> None:
    """`/training/jobs/{id}/webhook` is the setting, `.../webhooks` are the messages."""

    @app.put("/training/jobs/{job_id}/webhook")
    async def put(job_id: str, setting: WebhookSetting) -> WebhookState:
        return await webhooks.put(job_id, setting)

    @app.get("/training/jobs/{job_id}/webhook")
    async def state(job_id: str) -> WebhookState:
        return await webhooks.state(job_id)

    @app.get("/training/jobs/{job_id}/webhooks")
    async def messages(job_id: str, undelivered: bool = False) -> WebhookMessages:
        found = await webhooks.messages(job_id)
        chosen = [each for each in found if not undelivered or each.outcome == "waiting"]
        return WebhookMessages(messages=tuple(chosen))

    @app.post("/training/jobs/{job_id}/webhooks/release")
    async def release(job_id: str) -> WebhookMessages:
        return WebhookMessages(messages=tuple(await webhooks.release(job_id)))
