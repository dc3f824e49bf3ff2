"""An App whose crash restores the terminal, writes a report and prints three plain lines.

Upstream prints the traceback with local variables, or whatever the error renders itself as; a key
in a local would stand on the terminal. Knows nothing of jobs.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from io import StringIO
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text
from rich.traceback import Traceback
from textual.app import App, ReturnType
from textual.css.stylesheet import StylesheetParseError
from textual.css.tokenizer import TokenError
from textual.worker import WorkerFailed

from tui.config import load_config
from tui.crash_report import crash_lines, write_crash_report

logger = logging.getLogger(__name__)


class Panic(Exception):
    """Textual gave up without raising; the message is what it wanted to print."""


class CrashSafeApp(App[ReturnType]):
    """Base of an App. What `run_test` raises again is the original error, as upstream."""

    def __init__(self, crash_directory: Path | None = None) -> None:
        """`crash_directory` takes the reports; None is the one in the user's home."""
        super().__init__()
        self._crash_directory = crash_directory or load_config().home / "crashes"
        self._crash: str | None = None
        """What stands on the terminal in the end; None as long as all is well."""

    def crash_facts(self) -> Mapping[str, str]:
        """What the report says about this app; to be extended, without contents of data."""
        return {
            "screens": " > ".join(type(screen).__name__ for screen in self.screen_stack),
            "focused": type(self.focused).__name__,
            "size": f"{self.size.width}x{self.size.height}",
        }

    def panic(self, *renderables: RenderableType) -> None:
        """End the app; upstream calls it for errors that render themselves, too."""
        for error in renderables:
            if isinstance(error, BaseException):
                if isinstance(error, StylesheetParseError | TokenError):
                    error.add_note(_drawn(error))
                return self._end_by(error)
        self._end_by(Panic("\n".join(map(_told, renderables))))

    def _fatal_error(self) -> None:
        """Called by `_handle_exception`, which keeps the first error in `_exception`."""
        error = self._exception
        assert error is not None
        # A worker's error comes wrapped, and only what is within has a traceback.
        self._end_by(error.error if isinstance(error, WorkerFailed) else error)

    def _end_by(self, error: BaseException) -> None:
        self._return_code = 1
        if self._crash is None:
            report = write_crash_report(error, self._crash_directory, facts=self._safe_facts())
            self._crash = crash_lines(error, report, self._crash_directory)
        else:
            logger.error("an error after the one that ended the app", exc_info=True)
        self._close_messages_no_wait()

    def _safe_facts(self) -> Mapping[str, str]:
        try:
            return self.crash_facts()
        except Exception as error:
            # Without a screen, or with half an app, there are no facts; the report counts more.
            return {"facts": f"none, because of {type(error).__name__}"}

    def _print_error_renderables(self) -> None:
        """Called twice by upstream where a stylesheet is wrong."""
        if self._crash is None:
            return super()._print_error_renderables()
        self._exit_renderables.clear()
        lines, self._crash = self._crash, ""
        with suppress(OSError, ValueError):  # the terminal may be what went away
            sys.stderr.write(lines)
            sys.stderr.flush()
        return None


def _drawn(error: RenderableType) -> str:
    """Place and rule of an error in a stylesheet."""
    console = Console(file=StringIO(), width=100, color_system=None, highlight=False)
    with console.capture() as capture:
        console.print(error, markup=False)
    return capture.get()


def _told(renderable: RenderableType) -> str:
    """A renderable in words; of a traceback only the errors, since frames may hold locals."""
    if isinstance(renderable, Traceback):
        stacks = renderable.trace.stacks
        return " from ".join(f"{stack.exc_type}: {stack.exc_value}" for stack in stacks)
    return str(renderable) if isinstance(renderable, str | Text) else type(renderable).__name__
