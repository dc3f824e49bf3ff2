"""Asks whether a machine that is not known yet is the one that is meant."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalGroup
from textual.content import Content
from textual.widgets import Button, Static

from shared.clean_text import clean_line
from tui.screens.withdrawable import WithdrawableScreen

_MEANING = (
    "Nothing here has ever connected to it. Compare the fingerprint with what the machine itself "
    "or its provider says; if it differs, somebody else answers in its place: refuse. The machine "
    "itself says it by"
)
_LATER = "Once trusted, it is not asked again, and another key is refused."


class HostKeyScreen(WithdrawableScreen[bool]):
    """True: trust it. No single key says so, since it may come up while somebody types."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "refuse", "Refuse"),
        Binding("left,right,up,down", "app.focus_next", "Other answer", show=False),
    ]
    AUTO_FOCUS = "#refuse"
    DEFAULT_CSS = """
    HostKeyScreen > VerticalGroup { border: round $warning; }
    HostKeyScreen .fact { margin: 1 0 0 0; }
    """

    def __init__(self, host: str, key_type: str, fingerprint: str) -> None:
        super().__init__()
        self._host, self._key_type = clean_line(host), clean_line(key_type)
        self._fingerprint = clean_line(fingerprint)

    def compose(self) -> ComposeResult:
        command = f"ssh-keygen -lf {_public_key_file(self._key_type)}"
        with VerticalGroup():
            yield Static(Content(f"Is this {self._host}?"), id="question")
            yield Static(Content(f"Its {self._key_type} key has the fingerprint"), classes="fact")
            yield Static(Content.assemble((self._fingerprint, "bold $text-warning")))
            yield Static(Content(_MEANING), id="detail")
            yield Static(Content.assemble((command, "bold")), classes="fact")
            yield Static(Content(_LATER), classes="fact")
            with HorizontalGroup():
                yield Button("Trust", "warning", id="trust", compact=True)
                yield Button("Refuse", id="refuse", compact=True)

    def action_refuse(self) -> None:
        """Nothing is connected."""
        self.dismiss(False)

    @on(Button.Pressed)
    def _on_button(self, event: Button.Pressed) -> None:
        event.stop()
        self.dismiss(event.button.id == "trust")


def _public_key_file(key_type: str) -> str:
    """Where OpenSSH keeps the key of this type (sshd_config, HostKey)."""
    kinds = (kind for kind in ("ed25519", "ecdsa", "rsa") if kind in key_type.lower())
    return f"/etc/ssh/ssh_host_{next(kinds, '*')}_key.pub"
