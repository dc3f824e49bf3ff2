"""`open_console` on an app that does, once READY is on the screen, what the first argument says."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable

from rich.traceback import Traceback
from textual import work
from textual.app import ComposeResult
from textual.css.query import NoMatches
from textual.widgets import Static

from tui import terminal_signals
from tui.config import Config
from tui.console import open_console
from tui.crash_safe_app import CrashSafeApp

MODE = sys.argv[1]


class DrawsItself(Exception):
    def __rich__(self) -> Traceback:
        return Traceback(show_locals=True)


class StandInApp(CrashSafeApp[None]):
    CSS = "Static { color: }" if MODE == "css" else ""

    def __init__(self, config: Config, *, job: object = None, demo: object = None) -> None:
        if MODE == "init":
            fail("at once")
        super().__init__(config.home / "crashes")

    def compose(self) -> ComposeResult:
        if MODE == "compose":
            fail("while composing")
        yield Static("READY")

    def on_mount(self) -> None:
        self.call_after_refresh(self._act)

    def _act(self) -> None:
        acts: dict[str, Callable[[], object]] = {
            "handler": lambda: fail(f"[/] \x1b]52;c;eA==\x07{os.environ['PLANTED_TOKEN']}"),
            "group": self._fail_together,
            "rich": self._fail_and_draw,
            "worker": self._work,
            "thread": self._work_in_thread,
            "panic": lambda: self.panic("[red]gave up", Traceback.from_exception(*_caught())),
            "exit": lambda: self.exit(return_code=7),
            "stuck": lambda: time.sleep(3600),
            "held-up": self._exit_and_hang,
            "stray": self._write_everywhere,
        }
        acts.get(MODE, lambda: None)()

    def _fail_together(self) -> None:
        planted_local = "sesame-local"
        errors = [ValueError("one"), NoMatches("two"), KeyError(os.environ["PLANTED_TOKEN"])]
        raise ExceptionGroup(f"all {len(planted_local)}", errors)

    def _fail_and_draw(self) -> None:
        planted_local = "sesame-local"
        raise DrawsItself(f"{len(planted_local)}")

    @work
    async def _work(self) -> None:
        fail("in a worker")

    @work(thread=True)
    def _work_in_thread(self) -> None:
        fail("in a thread")

    @work(thread=True)
    def _exit_and_hang(self) -> None:
        self.call_from_thread(self.exit)
        time.sleep(3600)

    @work
    async def _write_everywhere(self) -> None:
        os.write(2, b"STRAY descriptor hf_0123456789abcdefghijkl\n")
        subprocess.run(["sh", "-c", "echo STRAY child >&2"], check=True)
        print("STRAY print")
        print("STRAY print to stderr", file=sys.stderr)
        logging.getLogger("own handler").warning("STRAY own handler")
        logging.getLogger("library").warning("STRAY record %s", os.environ["PLANTED_TOKEN"])
        warnings.warn("STRAY warning", stacklevel=1)
        thread = threading.Thread(target=fail, args=("STRAY thread",))
        thread.start()
        thread.join()
        task = asyncio.create_task(self._fail_unseen())
        await asyncio.wait([task])
        del task
        self.exit()

    async def _fail_unseen(self) -> None:
        fail("STRAY task")


def fail(message: str) -> None:
    planted_local = "sesame-local"
    raise ValueError(message, len(planted_local)) if MODE == "init" else ValueError(message)


def _caught() -> tuple[type[BaseException], BaseException, types.TracebackType | None]:
    try:
        fail("caught")
    except ValueError as error:
        return type(error), error, error.__traceback__
    raise AssertionError


if __name__ == "__main__":
    terminal_signals.GRACE_S = 0.5
    own = logging.getLogger("own handler")
    own.addHandler(logging.StreamHandler())
    own.propagate = False
    module = types.ModuleType("tui.app")
    vars(module)["BrightRunApp"] = StandInApp
    sys.modules["tui.app"] = module
    sys.exit(open_console())
