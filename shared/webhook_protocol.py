"""What console and agent say to each other about a job's webhooks; bodies only, as the others are.

The secret goes one way, from the console to the agent, and no answer has it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from shared.agent_protocol import Answer
from shared.lifecycle import JobStatus
from shared.webhook import WebhookMessage, WebhookTarget

Outcome = Literal["waiting", "delivered", "superseded", "given_up", "gone", "handed_over"]
"""`superseded`: figures that newer ones replaced while nothing could be delivered. `gone`: the
receiver wants no more (410). `handed_over`: the agent has it now."""


class WebhookSetting(BaseModel):
    """Body of `PUT /training/jobs/{id}/webhook`; the same again changes nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: WebhookTarget
    secret: SecretStr
    """The agent keeps it in memory and on tmpfs, never beside the job."""
    web_job_id: Annotated[str, Field(pattern=r"^[0-9a-f-]{36}$")]
    tells_end: bool
    """False for a rented job: its end is the controller's to tell, once the machine is gone."""
    status_before: JobStatus = JobStatus.QUEUED
    """The job's, where earlier attempts were lost with their machine."""
    first: tuple[WebhookMessage, ...] = ()
    """What the console has not delivered yet; it goes before everything of the agent's own."""


class WebhookState(Answer):
    """How far the agent has come with a job's webhooks."""

    is_set: bool
    """False: nobody has said where they go, or the machine has lost its memory since."""
    waiting: int = 0
    delivered: int = 0
    given_up: int = 0
    """With those that were superseded, and those that the receiver did not want."""
    is_complete: bool = False
    """True once everything that the job will ever say from here is settled."""
    error: str = ""
    """Why the last try failed; "" if it did not."""
    failing_since: datetime | None = None


class TracedMessage(Answer):
    """A message, and what became of it."""

    message: WebhookMessage
    outcome: Outcome
    tries: int = 0
    settled_at: datetime | None = None


class WebhookMessages(Answer):
    """A job's messages in the order in which they go out."""

    messages: tuple[TracedMessage, ...]
