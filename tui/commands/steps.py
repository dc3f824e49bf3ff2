"""Shows what is being done about a host, while a command waits for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from shared.clean_text import clean_line
from tui.commands.output import say
from tui.services.hosts.host import Step, in_silence
from tui.services.hosts.names import LOCAL

EMPTY_LINE = "\r\x1b[2K"
"""The line of the cursor, cleared (ECMA-48: CR, EL 2)."""


@contextmanager
def shown_steps(host: str) -> Iterator[Step]:
    """A line that changes where a person looks on, else a line for each step; all on stderr."""
    if host == LOCAL:
        yield in_silence
    elif sys.stderr.isatty():
        try:
            yield _show_in_place
        finally:
            sys.stderr.write(EMPTY_LINE)
            sys.stderr.flush()
    else:
        yield _say_once()


def _show_in_place(step: str) -> None:
    """Without a thread that draws: a question may come in between."""
    width = Console(stderr=True).width
    text = Text(clean_line(step))
    text.truncate(width - 1, overflow="ellipsis")
    sys.stderr.write(EMPTY_LINE + text.plain)
    sys.stderr.flush()


def _say_once() -> Step:
    """Without the figures that follow a colon, which come by the dozen."""
    said = ""

    def step(text: str) -> None:
        nonlocal said
        begin = text.partition(":")[0] if text.endswith("%") else text
        if begin != said:
            said = begin
            say(begin)

    return step
