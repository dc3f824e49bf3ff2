"""Puts the questions of a connection to the person at the full-screen console, one at a time.

Asked by services, which know no screens, from tasks that are no workers of Textual's.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tui.services.ssh.asker import may_ask

if TYPE_CHECKING:
    from textual.app import App

    from tui.screens.withdrawable import WithdrawableScreen

Answer = TypeVar("Answer")


class ConsoleAsker:
    """Whatever nobody has just asked for gets a no, and so does a console that is closing."""

    def __init__(self, app: App[None]) -> None:
        self._app = app
        self._one_at_a_time = asyncio.Lock()
        self._answered: asyncio.Future[Any] | None = None
        """Of the question that is on the screen."""
        self._is_closed = False

    def close(self) -> None:
        """Nobody answers any more: a no to what is asked now and from now on."""
        self._is_closed = True
        if self._answered is not None:
            _settle(self._answered, None)

    async def trust_host_key(self, host: str, key_type: str, fingerprint: str) -> bool:
        """Whether the person says that this is the machine."""
        from tui.screens.host_key import HostKeyScreen

        answer: bool | None = await self._ask(HostKeyScreen(host, key_type, fingerprint))
        return bool(answer)

    async def passphrase(self, key_path: str) -> str | None:
        """What the person typed."""
        from tui.screens.passphrase import PassphraseScreen

        given = await self._ask(PassphraseScreen(key_path))
        return None if given is None else given.value

    async def _ask(self, question: WithdrawableScreen[Answer]) -> Answer | None:
        if not may_ask():
            return None
        async with self._one_at_a_time:
            if self._is_closed:
                return None
            answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
            self._answered = answered
            # By the app's own loop, whose context new screens need.
            self._app.call_next(self._show, question, answered)
            try:
                return await answered
            finally:
                # Whoever asked may have been cancelled.
                self._app.call_next(question.withdraw)

    async def _show(
        self, question: WithdrawableScreen[Answer], answered: asyncio.Future[Answer | None]
    ) -> None:
        if not answered.done():
            await self._app.push_screen(question, partial(_settle, answered))


def _settle(answered: asyncio.Future[Answer | None], answer: Answer | None) -> None:
    if not answered.done():
        answered.set_result(answer)
