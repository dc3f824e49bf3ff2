"""What the console says of the web application's copy of the jobs; empty where there is none."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

from shared.clean_text import clean_line
from shared.errors import BrightRunError

if TYPE_CHECKING:
    from tui.services.session import Session

_POLL_S = 2.0
_LAG = "tui.services.supabase.lag"


class MirrorLine:
    """Looks into the store now and then, whichever process sends."""

    def __init__(self) -> None:
        self.words = ""
        """For a line on the screen."""

    async def run(self, session: Session) -> None:
        """Until cancelled, or until it is clear that there is nothing to say."""
        from tui.services.supabase.settings import is_named

        if not is_named():
            return
        await asyncio.to_thread(importlib.import_module, _LAG)
        while True:
            self.words = clean_line(await _words(session))
            await asyncio.sleep(_POLL_S)


async def _words(session: Session) -> str:
    from shared.events import utc_now
    from tui.services.supabase.lag import lag

    try:
        found = await lag(session)
    except BrightRunError as error:
        return str(error)
    return "" if found is None else found.words(utc_now())
