"""Asks before money is spent or something is ended. Without a person and without --yes: no."""

from __future__ import annotations

import sys

from shared.clean_text import clean_line
from shared.errors import InvalidInput
from tui.commands.terminal_session import interruptible


def require_asker(what: str, *, yes: bool) -> None:
    """Find out before any work is done that nobody will be there to agree.

    Raises:
        InvalidInput: no terminal, and no --yes.
    """
    if not yes and not _is_somebody_there():
        raise InvalidInput(f"Nobody is here to agree to {what}: add --yes. Nothing was done.")


def agreed(question: str, *, yes: bool) -> bool:
    """True if the user agrees; what is not a clear yes is a no."""
    if yes:
        return True
    require_asker("that", yes=False)
    sys.stderr.write(f"{clean_line(question)} [y/N] ")
    sys.stderr.flush()
    return interruptible(input).strip().lower() in ("y", "yes")


def _is_somebody_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
