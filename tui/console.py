"""Opens the full-screen console: the checks before it, the safety around it, the code after it.

Textual is imported only once there is a terminal to draw on.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, TextIO

from tui import exit_codes
from tui.config import Config, load_config

if TYPE_CHECKING:
    from tui.demo import DemoOptions

_HEADLESS = "Headless: brightrun jobs, brightrun watch JOB, brightrun --help."


def open_console(job: str | None = None, *, demo: DemoOptions | None = None) -> int:
    """Run the console to its end; returns the process's exit code."""
    if (trouble := _trouble_with_terminal()) is not None:
        print(f"brightrun: the console needs a terminal ({trouble}). {_HEADLESS}", file=sys.stderr)
        return exit_codes.INVALID_INPUT
    from shared.errors import BrightRunError

    config = load_config()
    try:
        return _run(config, job, demo)
    except BrightRunError:
        raise
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except Exception as error:
        # What did not pass through the app: an import, its construction, its last steps.
        from tui.crash_report import crash_lines, write_crash_report

        directory = config.home / "crashes"
        report = write_crash_report(error, directory, facts={"where": "outside the app"})
        print(crash_lines(error, report, directory), end="", file=sys.stderr)
        return exit_codes.JOB_FAILED


def _run(config: Config, job: str | None, demo: DemoOptions | None) -> int:
    # Collecting while everything is loaded finds nothing; the app turns it on again.
    gc.disable()
    # Before stderr is led into the log: what keeps a `sys.stderr` of its own is logged, too.
    from tui.app import BrightRunApp
    from tui.console_log import logged_to
    from tui.terminal_signals import ended_by_signals

    try:
        with logged_to(config.home / "console.log"):
            app = BrightRunApp(config, job=job, demo=demo)
            with ended_by_signals(app):
                app.run()
    finally:
        gc.enable()
    return app.return_code or 0


def _trouble_with_terminal() -> str | None:
    """Why nothing can be drawn; Textual would write escape codes into a pipe until killed."""
    streams: dict[str, TextIO | None] = {
        "stdin": sys.stdin,
        "stdout": sys.stdout,
        "stderr": sys.stderr,  # Textual draws on this one.
    }
    for name, stream in streams.items():
        if stream is None or stream.closed or not stream.isatty():
            return f"{name} is not one"
    if (term := os.environ.get("TERM", "")) in ("", "dumb", "unknown"):
        return f"TERM is {term or 'not set'}"
    return None
