"""What a webhook says, when one is due, and where it goes: the seed's body and nothing beside it.

Pure: the same journal makes the same messages with the same ids, on the pod, after a restart of its
agent, and on the machine that comes after it. Sending them is `shared.webhook_sending`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.clean_text import clean_line
from shared.errors import InvalidInput
from shared.events import JournalRecord, Metrics
from shared.job_state import JobState, fold
from shared.lifecycle import JobStatus
from shared.redaction import redact

DEFAULT_INTERVAL_STEPS = 50
"""The seed's: a report every 50 steps ..."""
FEWEST_REPORTS = 10
"""... and oftener in a run so short that there would be fewer than about so many."""
LEAST_PAUSE_S = 2.0
"""Between two reports of metrics, by the job's own times; the first and the last step go out
whatever this says."""
MAX_URL_LENGTH = 2000
_LONGEST_ERROR = 1000


class WebhookTarget(BaseModel):
    """Where a job's webhooks go; the secret that signs them is never part of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    interval_steps: Annotated[int, Field(ge=1)] | None = None
    """None: `DEFAULT_INTERVAL_STEPS`, fewer in a short run."""
    allow_private: bool = False
    """Also to this machine and its networks, and without TLS."""


class WebhookMessage(BaseModel):
    """One message, the same at every try."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")]
    body: str
    """The very text that is signed."""
    created_at: AwareDatetime
    is_metrics: bool = False
    """True where the next one says everything that it says."""


def checked_target(
    url: str, interval_steps: int | None = None, *, allow_private: bool = False
) -> WebhookTarget:
    """Raises InvalidInput for a URL to which no webhook goes."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"the webhook's URL cannot be read: {error}.") from error
    if parts.scheme not in ("http", "https") or not host or len(url) > MAX_URL_LENGTH:
        raise InvalidInput("the webhook's URL must be https://HOST[:PORT]/PATH.")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(
            "the webhook's URL has a user or a password in it; what proves the sender is the "
            "signature. Leave them out."
        )
    if parts.scheme == "http" and not allow_private:
        raise InvalidInput(
            "the webhook's URL is http: everybody on the way could read and hold back what it "
            "says. Use https, or --webhook-allow-private for a receiver of your own network."
        )
    if interval_steps is not None and interval_steps < 1:
        raise InvalidInput("--webhook-every must be 1 step or more.")
    return WebhookTarget(url=url, interval_steps=interval_steps, allow_private=allow_private)


def message_id(web_id: str, place: str) -> str:
    """The id of a job's message; `place` says which of the job's it is."""
    return f"msg_{web_id.replace('-', '')[:16]}_{place}"


def queued_message(web_id: str, state: JobState, created_at: datetime) -> WebhookMessage:
    """The first of every job, which only the console can send."""
    queued = JobState(total_steps=state.total_steps)
    return WebhookMessage(
        id=message_id(web_id, JobStatus.QUEUED.value),
        body=webhook_body(web_id, queued, created_at),
        created_at=created_at,
    )


def end_message(
    web_id: str, state: JobState, ended_at: datetime, lora_path: str | None = None
) -> WebhookMessage:
    """The last of every job. Whoever sends it gives it the same id, so nobody takes it twice."""
    return WebhookMessage(
        id=message_id(web_id, "end"),
        body=webhook_body(web_id, state, ended_at, lora_path),
        created_at=ended_at,
    )


def webhook_body(web_id: str, state: JobState, time: datetime, lora_path: str | None = None) -> str:
    """The seed's body; what is not known yet is null.

    `lora_path` is where the adapter lies in Supabase Storage; a path of some machine's disk would
    help no receiver.
    """
    body: dict[str, object] = {
        "job_id": web_id,
        "status": state.status.value,
        "step": state.step,
        "total_steps": state.total_steps,
        "metrics": {
            "loss": state.loss,
            "learning_rate": state.learning_rate,
            "grad_norm": state.grad_norm,
            "epoch": state.epoch,
        },
        "timestamp": time.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
    }
    if state.status is JobStatus.COMPLETED and lora_path:
        body["lora_path"] = lora_path
    if state.status is JobStatus.FAILED:
        reason = state.detail or (state.stop_reason and state.stop_reason.value) or "failed"
        body["error_message"] = clean_line(redact(reason))[:_LONGEST_ERROR]
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def interval_for(wanted: int | None, total_steps: int | None) -> int:
    """Steps between two reports; an interval that somebody asked for is obeyed as it is."""
    if wanted is not None:
        return wanted
    if total_steps is None:
        return DEFAULT_INTERVAL_STEPS
    return min(DEFAULT_INTERVAL_STEPS, max(1, total_steps // FEWEST_REPORTS))


class Teller:
    """Hears a job's journal from its beginning and says which messages it makes.

    `status` is the job's before the first record: more than queued where earlier attempts were
    lost with their machine. Without `tells_end` the final status is left to somebody else.
    """

    def __init__(
        self,
        web_id: str,
        interval_steps: int | None = None,
        *,
        tells_end: bool = True,
        status: JobStatus = JobStatus.QUEUED,
    ) -> None:
        self._web_id = web_id
        self._wanted = interval_steps
        self._tells_end = tells_end
        self._state = JobState(status=status)
        self._told_step: int | None = None
        self._told_at: datetime | None = None

    def hear(self, record: JournalRecord) -> WebhookMessage | None:
        """At most one message for each record; its id is the record's place in the journal."""
        before, self._state = self._state, fold([record], self._state)
        state = self._state
        if state.status is not before.status:
            if state.status.is_final:
                is_told = self._tells_end
                return end_message(self._web_id, state, record.time) if is_told else None
            return self._message(record)
        if isinstance(record.event, Metrics) and self._is_due(record.event.step, record.time):
            self._told_step, self._told_at = record.event.step, record.time
            return self._message(record, is_metrics=True)
        return None

    def _is_due(self, step: int, time: datetime) -> bool:
        if self._told_step is None or self._told_at is None:
            return True
        if step <= self._told_step:  # Taken again after an interruption.
            return False
        if step == self._state.total_steps:
            return True
        interval = interval_for(self._wanted, self._state.total_steps)
        waited_s = abs((time - self._told_at).total_seconds())
        return step - self._told_step >= interval and waited_s >= LEAST_PAUSE_S

    def _message(self, record: JournalRecord, *, is_metrics: bool = False) -> WebhookMessage:
        return WebhookMessage(
            id=message_id(self._web_id, f"{record.attempt}_{record.seq}"),
            body=webhook_body(self._web_id, self._state, record.time),
            created_at=record.time,
            is_metrics=is_metrics,
        )
