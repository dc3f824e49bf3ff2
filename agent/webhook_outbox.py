"""The webhooks of one job that are to be delivered, beside the job on its disk: append-only JSONL.

A line is a message, or what became of one. What was sent and not yet written down as delivered is
sent again with the same id: at least once, never in silence. No secret and no address stands here.
Methods block; one task at a time writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from shared.events import utc_now
from shared.webhook import WebhookMessage
from shared.webhook_protocol import Outcome, TracedMessage

MOST_WAITING = 200
"""Beyond this, figures that newer ones replace are dropped; changes of the status never are."""


class Outbox:
    """Read back when it is made; `check` is asked before each write and may refuse."""

    def __init__(self, path: Path, check: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._check = check
        self._traced: dict[str, TracedMessage] = {}
        self._waiting: dict[str, WebhookMessage] = {}
        self._size = 0
        self._read()

    @property
    def waiting(self) -> list[WebhookMessage]:
        """In the order in which they go out."""
        return list(self._waiting.values())

    @property
    def next(self) -> WebhookMessage | None:
        return next(iter(self.waiting), None)

    @property
    def traced(self) -> list[TracedMessage]:
        """All that there ever were."""
        return list(self._traced.values())

    def count(self, *outcomes: Outcome) -> int:
        return sum(each.outcome in outcomes for each in self.traced)

    def add(self, messages: Iterable[WebhookMessage]) -> bool:
        """Keep new messages; those that are there already change nothing. False if all were."""
        new = [message for message in messages if message.id not in self._traced]
        if new:
            self._append([{"message": message.model_dump(mode="json")} for message in new])
            for message in new:
                self._traced[message.id] = TracedMessage(message=message, outcome="waiting")
                self._waiting[message.id] = message
        return bool(new)

    def failed(self, message_id: str) -> None:
        """One more try was in vain; not worth a write, so a restart forgets the count."""
        traced = self._traced[message_id]
        self._traced[message_id] = traced.model_copy(update={"tries": traced.tries + 1})

    def settle(self, message_ids: Iterable[str], outcome: Outcome) -> None:
        """These are done with."""
        now = utc_now()
        settled = [each for each in message_ids if each in self._waiting]
        if not settled:
            return
        self._append(
            [{"settled": each, "outcome": outcome, "at": now.isoformat()} for each in settled]
        )
        for each in settled:
            self._note(each, outcome, now)

    def drop_superseded(self, most: int = MOST_WAITING) -> None:
        """Where too many wait, keep every change of the status and the newest figures."""
        if len(self._waiting) <= most:
            return
        metrics = [message.id for message in self._waiting.values() if message.is_metrics]
        # The first may be on its way this moment.
        self.settle(
            [each for each in metrics[:-1] if each != next(iter(self._waiting))], "superseded"
        )

    def _read(self) -> None:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        for line in content.splitlines(keepends=True):
            # A crash leaves half a line at most, and the next write cuts it off.
            if not line.endswith(b"\n") or not self._take(line):
                break
            self._size += len(line)

    def _take(self, line: bytes) -> bool:
        try:
            told = json.loads(line)
            if "message" in told:
                message = WebhookMessage.model_validate(told["message"])
                self._traced[message.id] = TracedMessage(message=message, outcome="waiting")
                self._waiting[message.id] = message
            else:
                self._note(told["settled"], told["outcome"], told["at"])
        except (ValueError, KeyError, TypeError):
            return False
        return True

    def _note(self, message_id: str, outcome: Outcome, at: Any) -> None:
        traced = self._traced[message_id]
        self._traced[message_id] = TracedMessage(
            message=traced.message,
            outcome=outcome,
            tries=traced.tries + (outcome == "delivered"),
            settled_at=at,
        )
        self._waiting.pop(message_id, None)

    def _append(self, lines: list[dict[str, Any]]) -> None:
        content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        self._check()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, self._size)
            view, position = memoryview(content), self._size
            while view:
                written = os.pwrite(descriptor, view, position)
                view, position = view[written:], position + written
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._size += len(content)
