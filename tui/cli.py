"""Entry point of `brightrun`: runs the command line and turns expected errors into exit codes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer import Typer


def main() -> None:
    """The `brightrun` script."""
    if sys.argv[1:] == ["--version"]:
        # Typer alone takes as long to import as this whole call may.
        print(version_line())
        return
    from tui.command_line import app

    sys.exit(run_app(app, sys.argv[1:]))


def run_app(app: Typer, arguments: list[str]) -> int:
    """Run the command line; an expected error becomes one line on stderr and its exit code."""
    from shared.errors import BrightRunError

    try:
        app(arguments, prog_name="brightrun")
    except BrightRunError as error:
        from shared.clean_text import clean

        print(f"brightrun: {clean(str(error))}", file=sys.stderr)
        return error.exit_code
    except SystemExit as finished:
        return finished.code if isinstance(finished.code, int) else 1
    return 0


def version_line() -> str:
    """`brightrun 0.1.0`, as installed."""
    from importlib.metadata import version

    return f"brightrun {version('brightrun')}"
