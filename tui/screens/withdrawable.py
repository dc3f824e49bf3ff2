"""A dialog that whoever opened it may close again, whatever stands above it by then."""

from __future__ import annotations

from typing import TypeVar

from textual.screen import ModalScreen

Answer = TypeVar("Answer")


class WithdrawableScreen(ModalScreen[Answer | None]):
    """None: no answer, since the person gave none or nobody waits for it any more."""

    DEFAULT_CSS = """
    WithdrawableScreen {
        align: center middle;
        & > VerticalGroup {
            width: 76; max-width: 100%; max-height: 100%; overflow-y: auto;
            padding: 1 2; background: $surface; border: round $primary;
        }
        #question { text-style: bold; }
        #detail { margin: 1 0 0 0; color: $text-muted; }
        HorizontalGroup { margin: 1 0 0 0; align-horizontal: right; }
        Button { margin: 0 0 0 2; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_withdrawn = False

    def withdraw(self) -> None:
        """Close it without an answer; one that has been answered stays as it is."""
        self._is_withdrawn = True
        if self.is_active:
            self.dismiss(None)

    def on_screen_resume(self) -> None:
        # Only the top of the stack can leave it: something stood above when it was withdrawn.
        if self._is_withdrawn:
            self.dismiss(None)
