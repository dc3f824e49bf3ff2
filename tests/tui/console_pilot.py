"""Drives the full-screen console in a test: opens it, waits for what is seen, reads the screen."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar
from unittest import mock

from textual.app import App
from textual.pilot import Pilot

from tests.tui.local_console import Console
from tui.app import BrightRunApp
from tui.config import Config
from tui.screens.job import JobScreen


def config_of(console: Console) -> Config:
    return Config(console.home, console.root)


AppT = TypeVar("AppT", bound=App[None])


class ScreenPilot(Generic[AppT]):
    """An app on the screen: its keys, its text, and waiting for what is seen."""

    def __init__(self, app: AppT, pilot: Pilot[None]) -> None:
        self.app = app
        self.press = pilot.press
        self.click = pilot.click
        self.pilot = pilot

    async def until(self, condition: Callable[[], object], timeout_s: float = 20) -> None:
        """Let the app work until the condition holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not seen in {timeout_s} s:\n{self.text}"
            await self.pilot.pause(0.02)

    async def until_seen(self, *words: str, timeout_s: float = 20) -> None:
        """Until all these words stand on the screen."""
        await self.until(lambda: all(word in self.text for word in words), timeout_s)

    async def until_gone(self, *words: str) -> None:
        """Until none of these words stands on the screen."""
        await self.until(lambda: not any(word in self.text for word in words))

    @property
    def text(self) -> str:
        """The whole screen as text."""
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())


class ConsolePilot(ScreenPilot[BrightRunApp]):
    """A console on the screen."""

    @property
    def job_screen(self) -> JobScreen:
        assert isinstance(self.app.screen, JobScreen)
        return self.app.screen


@asynccontextmanager
async def open_app(
    console: Console, size: tuple[int, int] = (120, 40), job: str | None = None
) -> AsyncIterator[ConsolePilot]:
    """The console on this home, once it has read the store."""
    app = BrightRunApp(config_of(console), job=job)
    with mock.patch.dict(os.environ, console.environment):
        async with app.run_test(size=size, notifications=True) as pilot:
            opened = ConsolePilot(app, pilot)
            await opened.until(lambda: app.session is not None)
            await opened.until_gone("opening ...")
            if job is not None:
                await opened.until(lambda: isinstance(app.screen, JobScreen) and app.screen.history)
            yield opened
