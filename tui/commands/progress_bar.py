"""A progress bar on stderr for what takes long; nothing where nobody watches or nothing waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from shared.clean_text import clean_line

_PATIENCE_S = 0.5
"""What is done by then needs no bar."""
_LOOK_S = 0.05
"""Between two updates, whatever the caller reports."""


@contextmanager
def shown_progress(
    what: str, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int], None]]:
    """Within the block, takes the bytes done and those in all; the bar is gone at its end."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task(Text(clean_line(what)).plain, total=None)
    shown = last_look = clock()

    def update(done: int, total: int) -> None:
        nonlocal last_look
        now = clock()
        if now - shown < _PATIENCE_S or now - last_look < _LOOK_S:
            return
        last_look = now
        bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield update
    finally:
        bar.stop()
