"""Rented jobs in the console: follows the ledger, controls where nobody else does, notifies.

The app owns one. Nothing heavy is imported before it runs.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from textual.app import App
from textual.signal import Signal

from shared.clean_text import clean_line
from tui.views.rental_status import control_words

if TYPE_CHECKING:
    from shared.money.records import MoneyNotice
    from tui.services.controller.controller import Controller
    from tui.services.rental_watch import RentalSight, RentalWatch
    from tui.services.session import Session
    from tui.views.rental_notices import Notice, RentalNotices

logger = logging.getLogger(__name__)

_LONGEST_NOTICE = 240
_LONGEST_TROUBLE = 100
_CONTROLLER = "tui.services.controller.controller"


class RentalDesk:
    """What the console knows of rented jobs, and the controller it runs for them."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._watch: RentalWatch | None = None
        self._notices: RentalNotices | None = None
        self._controller: Controller | None = None
        self.sights: dict[str, RentalSight] = {}
        """Every job that was ever rented for, by its id."""
        self.news: Signal[RentalSight] = Signal(app, "rental news")

    async def run(self, session: Session) -> None:
        """Follow and control until cancelled."""
        from tui.services.rental_watch import RentalWatch
        from tui.services.spending.money_watch import follow_notices
        from tui.views.rental_notices import RentalNotices

        self._notices = RentalNotices()
        self._watch = RentalWatch(session.store, self._tell)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch.run(self._on_look))
            group.create_task(self._control(session))
            group.create_task(follow_notices(session.store, self._tell_money))

    def look_now(self) -> None:
        """This process has changed something about a rented job."""
        if self._watch is not None:
            self._watch.look_now()

    @property
    def open_ones(self) -> list[RentalSight]:
        """Those that are not done."""
        return [sight for sight in self.sights.values() if sight.rental.phase.value != "done"]

    @property
    def leads(self) -> bool:
        """True while this console acts for rented jobs."""
        return self._controller is not None and self._controller.leads

    def control(self) -> str:
        """Who acts for rented jobs, or why this console cannot; "" where nothing is rented."""
        if not self.open_ones or self._watch is None:
            return ""
        words = control_words(self._watch.lease, self.leads, datetime.now(UTC))
        trouble = "" if self._controller is None else self._controller.trouble
        return f"{words} ({clean_line(trouble)[:_LONGEST_TROUBLE]})" if trouble else words

    def goes_on_without_us(self) -> bool:
        """True if another process leads."""
        lease = None if self._watch is None else self._watch.lease
        return lease is not None and not self.leads and lease.expires_at > datetime.now(UTC)

    def _tell(self, sight: RentalSight) -> None:
        self.sights[sight.job_id] = sight
        self.news.publish(sight)
        if self._notices is not None:
            for notice in self._notices.of(sight, datetime.now(UTC)):
                self._notify(sight.job_id, notice)

    def _on_look(self) -> None:
        if self._notices is not None:
            for job_id, notice in self._notices.alarms(datetime.now(UTC)):
                self._notify(job_id, notice)

    def _notify(self, job_id: str, notice: Notice) -> None:
        names = getattr(self._app, "news", {})
        name = names[job_id].job.spec.name if job_id in names else job_id
        words = f"{clean_line(name)}: {notice.words}"[:_LONGEST_NOTICE]
        timeout = 10 if notice.severity == "information" else 30
        self._app.notify(words, severity=notice.severity, timeout=timeout, markup=False)

    def _tell_money(self, notice: MoneyNotice) -> None:
        from tui.views.rental_notices import Notice

        severity: Literal["warning", "error"] = "error" if notice.share >= 1 else "warning"
        about = notice.key if notice.scope.value != "month" else "monthly limit"
        self._notify(about, Notice(clean_line(notice.message), severity))

    async def _control(self, session: Session) -> None:
        # It brings asyncssh along: half a second that the screen need not wait for.
        await asyncio.to_thread(importlib.import_module, _CONTROLLER)
        from tui.services.controller.controller import Controller

        self._controller = Controller(session, kind="console", on_news=self._on_controller_news)
        await self._controller.run()

    def _on_controller_news(self, words: str) -> None:
        logger.info("%s", words)
        self.look_now()
