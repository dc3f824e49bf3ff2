"""Entry point of `brightrun`: runs the command line and turns expected errors into exit codes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer import Typer


def main() -> None:
    """The `brightrun` script."""
    if sys.argv[1:] == ["--version"]:
        # Typer alone takes as long to import as this whole call may.
        print(version_line())
        return
    if not sys.argv[1:]:
        # For the same reason: the first paint waits for nothing that it does not need.
        from tui.console import open_console

        sys.exit(_run(open_console))
    from tui.command_line import app

    sys.exit(run_app(app, sys.argv[1:]))


def run_app(app: Typer, arguments: list[str]) -> int:
    """Run the command line; an expected error becomes one line on stderr and its exit code."""

    def run() -> int:
        try:
            app(arguments, prog_name="brightrun")
        except SystemExit as finished:
            return finished.code if isinstance(finished.code, int) else 1
        return 0

    return _run(run)


def _run(command: Callable[[], int]) -> int:
    from shared.errors import BrightRunError

    try:
        return command()
    except BrightRunError as error:
        from shared.clean_text import clean

        print(f"brightrun: {clean(str(error))}", file=sys.stderr)
        return error.exit_code


def version_line() -> str:
    """`brightrun 0.1.0`, as installed."""
    from importlib.metadata import version

    return f"brightrun {version('brightrun')}"
