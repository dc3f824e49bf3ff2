"""One line on a check that is under way: which file, how far, and how to stop it."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from shared.clean_text import clean_line

_WIDTH = 24
"""Cells of the bar."""


class CheckProgress(Static):
    """Takes no room while nothing is checked."""

    DEFAULT_CSS = """
    CheckProgress {
        height: 1; padding: 0 1; display: none; background: $panel; color: $text-accent;
        text-wrap: nowrap; text-overflow: ellipsis;
        &.-busy { display: block; }
    }
    """

    def show(self, what: str, done: int = 0, total: int = 0) -> None:
        """`what` is being done; without `total` nobody knows how far it is."""
        self.add_class("-busy")
        share = min(done / total, 1.0) if total else 0.0
        filled = round(share * _WIDTH)
        bar = f"  {'█' * filled}{'░' * (_WIDTH - filled)} {share:4.0%}" if total else " …"
        self.update(Content.assemble(clean_line(what), bar, ("   Esc stops", "dim")), layout=False)

    def hide(self) -> None:
        self.remove_class("-busy")
