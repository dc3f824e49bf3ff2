"""`brightrun webhook list`: what was told of a job, by both ends that tell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.errors import AgentError, ProtocolError
from shared.number_text import date_and_clock
from shared.store.stored import StoredJob
from shared.store.webhooks import StoredTarget, WebhookEnd
from shared.webhook import WebhookMessage
from tui import exit_codes
from tui.commands.output import print_json, print_table, say, say_line
from tui.commands.terminal_session import open_terminal_session
from tui.services.session import Session

_WHO_DELIVERS = {
    WebhookEnd.CONSOLE: "this end, while a console or `brightrun serve` runs",
    WebhookEnd.AGENT: "the job's agent",
    WebhookEnd.NOBODY: "nobody: everything is settled",
}


@dataclass(frozen=True, slots=True)
class _Row:
    message: WebhookMessage
    outcome: str
    tries: int
    error: str

    @property
    def status(self) -> str:
        return str(json.loads(self.message.body).get("status", ""))

    @property
    def step(self) -> str:
        return str(json.loads(self.message.body).get("step", ""))

    def to_dict(self) -> dict[str, Any]:
        created_at: datetime = self.message.created_at
        return {
            "id": self.message.id,
            "outcome": self.outcome,
            "tries": self.tries,
            "error": self.error,
            "created_at": created_at.isoformat(),
            "body": json.loads(self.message.body),
        }


async def list_webhooks(job_id: str, *, as_json: bool) -> int:
    """Print them in the order in which they go out."""
    async with open_terminal_session() as session:
        job = await session.store.get_job(job_id)
        stored = await session.store.webhooks.target(job.job_id)
        if stored is None:
            say(f"nobody is told of {job.job_id}; `brightrun start --webhook URL` would.")
            return exit_codes.OK
        rows, trouble = await _rows(session, job)
    if as_json:
        plain = [row.to_dict() for row in rows]
        print_json({"url": stored.target.url, "sender": stored.sender, "messages": plain})
        return exit_codes.OK
    _print(stored, rows, trouble)
    return exit_codes.OK


async def _rows(session: Session, job: StoredJob) -> tuple[list[_Row], str]:
    """Both ends' messages; a message that both know is the agent's to say."""
    ours = await session.store.webhooks.messages(job.job_id)
    found = {e.message.id: _Row(e.message, e.outcome, e.tries, e.error) for e in ours}
    trouble = ""
    if not job.status.is_final or not job.state.rented:
        try:
            async with session.host_of(job).client() as client:
                theirs = (await client.webhook_messages(job.job_id)).messages
                trouble = (await client.webhook(job.job_id)).error
        except (AgentError, ProtocolError) as error:
            theirs, trouble = (), f"the agent cannot be asked: {error}"
        for each in theirs:
            known = found.get(each.message.id)
            if known is None or known.outcome == "handed_over":
                found[each.message.id] = _Row(each.message, each.outcome, each.tries, "")
    return sorted(found.values(), key=_order), trouble


def _order(row: _Row) -> tuple[int, datetime]:
    first_and_last = {"queued": 0, "end": 2}
    place = row.message.id.rpartition("_")[2]
    return first_and_last.get(place, 1), row.message.created_at


def _print(stored: StoredTarget, rows: Sequence[_Row], trouble: str) -> None:
    print_table(
        ["WHEN", "STATUS", "STEP", "OUTCOME", "TRIES", "ID", "ERROR"],
        [
            [
                date_and_clock(row.message.created_at),
                row.status,
                row.step,
                row.outcome,
                str(row.tries),
                row.message.id,
                row.error,
            ]
            for row in rows
        ],
        shrinking="ERROR",
        numbers=("STEP", "TRIES"),
    )
    say_line(f"to {stored.target.url}; delivered by {_WHO_DELIVERS[stored.sender]}.")
    if trouble:
        say_line(trouble)
