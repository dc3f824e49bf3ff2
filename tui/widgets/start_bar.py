"""The button that goes on to the review, and why it cannot, or what is under way."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Button, Static

from shared.clean_text import clean_line


class StartBar(Horizontal):
    """One line above the footer."""

    DEFAULT_CSS = """
    StartBar {
        height: 1;
        background: $panel;
        Button { margin: 0 1 0 0; }
        #status { width: 1fr; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #status.-error { color: $text-error; text-style: bold; }
        #status.-busy { color: $text-accent; }
    }
    """

    def compose(self) -> ComposeResult:
        yield Button("Review & start", "primary", id="review", compact=True)
        yield Button("Summary", id="other-side", compact=True)
        yield Static(id="status")

    def show(self, *, busy: str, error: str, reasons: Sequence[str], is_counting: bool) -> None:
        """What is under way, else why the last start failed, else why none is possible."""
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        reason = f"not yet: {reasons[0]}{more}" if reasons else ""
        status = self.query_exactly_one("#status", Static)
        status.set_class(bool(busy), "-busy")
        status.set_class(not busy and bool(error or reason), "-error")
        otherwise = "counting …" if is_counting else "ready to review"
        status.update(Content(clean_line(busy or error or reason or otherwise)), layout=False)
        self.query_exactly_one("#review", Button).disabled = bool(busy)
