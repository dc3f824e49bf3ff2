"""Asks before a job is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label

from shared.clean_text import clean_line
from tui.widgets.safe_input import SafeInput

if TYPE_CHECKING:
    from shared.store.stored import StoredJob


_KEPT = (
    "The trainer saves a checkpoint before it stops; "
    "`brightrun resume` goes on from it as a new job."
)
RENTED_KEPT = (
    "The trainer saves a checkpoint to the network volume before its machine is ended; "
    "`brightrun resume` goes on from it as a new job."
)
RENTED_LOST = (
    "Its machine is ended, and its checkpoints with it: there is no network volume. "
    "An adapter that is not here yet is lost."
)


class CancelScreen(ModalScreen[str | None]):
    """Gives the reason, which may be empty; None where the job shall go on."""

    CSS = """
    CancelScreen {
        align: center middle;
        #dialog {
            width: 66; max-width: 100%; height: auto; max-height: 100%; padding: 1 2;
            background: $surface; border: round $error;
        }
        #question { text-style: bold; width: 1fr; }
        #detail { color: $text-muted; width: 1fr; margin-bottom: 1; }
        Horizontal { height: auto; margin-top: 1; }
        Button { margin-right: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "go_on", "Let it run")]
    AUTO_FOCUS = "#reason"

    def __init__(self, job: StoredJob, kept: str = _KEPT) -> None:
        """`kept` says what is left of the job's work."""
        super().__init__()
        self._job = job
        self._kept = kept

    def compose(self) -> ComposeResult:
        state = self._job.state
        where = f"at step {state.step} of {state.total_steps}" if state.total_steps else "queued"
        with Vertical(id="dialog"):
            question = f"Cancel “{clean_line(self._job.spec.name)}” ({where})?"
            yield Label(question, id="question", markup=False)
            yield Label(self._kept, id="detail", markup=False)
            yield SafeInput(placeholder="reason, kept with the job (optional)", id="reason")
            with Horizontal():
                yield Button("Cancel the job", variant="error", id="cancel")
                yield Button("Let it run", id="go-on")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "cancel":
            self._confirm()
        else:
            self.dismiss(None)

    def on_input_submitted(self) -> None:
        self._confirm()

    def action_go_on(self) -> None:
        """Nothing happens to the job."""
        self.dismiss(None)

    def _confirm(self) -> None:
        self.dismiss(self.query_one("#reason", Input).value.strip())
