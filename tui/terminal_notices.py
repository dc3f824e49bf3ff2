"""The console's call for attention: bell, desktop, and a toast of what no other part tells.

Every open console has one; it reads the store and writes nothing.
"""

from __future__ import annotations

import asyncio
import importlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from textual.app import App

from shared.errors import StoreError

if TYPE_CHECKING:
    from shared.notification import Notification
    from tui.services.session import Session

_LOOKOUT = "tui.services.notify.lookout"
_POLL_S = 3.0
_TOASTED = ("artifact", "dataset")
"""Ends, alarms, questions and money have toasts of their own, which come at once."""


class TerminalNotices:
    """Rings for the kinds that were chosen."""

    def __init__(self, app: App[Any], *, poll_s: float = _POLL_S) -> None:
        self._app = app
        self._poll_s = poll_s

    async def run(self, session: Session) -> None:
        """Until cancelled; what was before is not news."""
        await asyncio.to_thread(importlib.import_module, _LOOKOUT)
        from shared.events import utc_now
        from tui.services.notify.lookout import Lookout

        lookout = Lookout(session.store, utc_now())
        is_first = True
        while True:
            with suppress(StoreError):  # Whoever follows the jobs complains about the store.
                news = await lookout.look()
                if news and not is_first:
                    await self._tell(session, news)
                is_first = False
            await asyncio.sleep(self._poll_s)

    async def _tell(self, session: Session, news: list[Notification]) -> None:
        from tui.services.notify.choices import TerminalNotice, load_choices
        from tui.services.notify.terminal import can_ring, desktop_sequence

        for one in news:
            if one.kind.value in _TOASTED:
                self._app.notify(one.title, markup=False)
        choices = await load_choices(session.store.settings)
        wanted = [one for one in news if one.kind in choices.kinds]
        if not wanted or choices.terminal is TerminalNotice.OFF or not can_ring():
            return
        self._app.bell()
        if choices.terminal is TerminalNotice.DESKTOP:
            latest = wanted[-1]
            more = f" (and {len(wanted) - 1} more)" if len(wanted) > 1 else ""
            self._write(desktop_sequence(latest.title, f"{latest.body}{more}"))

    def _write(self, sequence: str) -> None:
        # The way that Textual's own bell and clipboard take; there is no public one.
        driver = self._app._driver
        if sequence and driver is not None and not self._app.is_headless:
            driver.write(sequence)
