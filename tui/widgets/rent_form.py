"""What is typed about the machine to rent, with help for the field at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Select, Static

from shared.clean_text import clean_line
from shared.number_text import usd
from tui.services.providers.provider import NetworkVolume
from tui.views.rent_draft import AFTER, CLOUDS, FIELDS, NEW_VOLUME, NO_VOLUME, RentDraft
from tui.widgets.safe_input import SafeInput
from tui.widgets.setting_row import SettingRow

_CHOICES = {"cloud": tuple(CLOUDS), "after": AFTER, "volume": (NO_VOLUME, NEW_VOLUME)}


class RentForm(Vertical):
    """Keeps the draft; tells of every change."""

    DEFAULT_CSS = """
    RentForm {
        #rent-fields { height: 1fr; scrollbar-gutter: stable; scrollbar-size-vertical: 1; }
        SettingRow .label { width: 20; }
        #rent-help { height: 3; padding: 0 1 0 2; border-top: solid $panel; color: $text-muted; }
    }
    """

    @dataclass
    class Changed(Message):
        """Something was typed or chosen."""

        draft: RentDraft

    def __init__(self, draft: RentDraft) -> None:
        super().__init__()
        self.draft = draft

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="rent-fields", can_focus=False):
            for name in FIELDS:
                value = getattr(self.draft, name)
                yield SettingRow(
                    name, self._choices(name) if name in _CHOICES else SafeInput(value)
                )
        yield Static(id="rent-help")

    def on_mount(self) -> None:
        self._mark()

    def offer_volumes(self, volumes: Sequence[NetworkVolume]) -> None:
        """The account's network volumes, beside none and a new one."""
        select = self.query_exactly_one("#row-volume Select", Select)
        options = [(name, name) for name in _CHOICES["volume"]]
        options += [(_volume_words(volume), volume.volume_id) for volume in volumes]
        chosen = self.draft.volume
        if all(value != chosen for _, value in options):
            options.append((clean_line(chosen), chosen))
        with self.prevent(Select.Changed):
            select.set_options(options)
            select.value = chosen

    def go_to(self, field: str) -> None:
        """Focus a field."""
        self._row(field).editor.focus()

    def _choices(self, name: str) -> Select[str]:
        chosen = getattr(self.draft, name)
        texts = list(dict.fromkeys([*_CHOICES[name], chosen]))
        options = [(clean_line(text), text) for text in texts]
        return Select(options, value=chosen, allow_blank=False, compact=True)

    @on(Input.Changed)
    @on(Select.Changed)
    def _on_field(self, message: Input.Changed | Select.Changed) -> None:
        message.stop()
        row = message.control.parent
        if not isinstance(row, SettingRow):
            return
        changed: dict[str, Any] = {row.field: str(message.value)}
        draft = replace(self.draft, **changed)
        if draft != self.draft:
            self.draft = draft
            self._mark()
            self.post_message(self.Changed(draft))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self._show_help()

    def _mark(self) -> None:
        problems = self.draft.problems()
        usual = RentDraft()
        for name in FIELDS:
            is_changed = getattr(self.draft, name) != getattr(usual, name)
            self._row(name).show(problem=problems.get(name, ""), is_changed=is_changed)
        self._show_help()

    def _show_help(self) -> None:
        focused = self.screen.focused
        row = focused.parent if focused is not None else None
        if not isinstance(row, SettingRow) or row.field not in FIELDS:
            return
        purpose, allowed = FIELDS[row.field]
        words = [(purpose, "$text"), ("  ", ""), (allowed, "dim")]
        if row.problem:
            words = [(clean_line(row.problem), "bold $text-error"), ("  ", ""), (purpose, "dim")]
        self.query_exactly_one("#rent-help", Static).update(Content.assemble(*words), layout=False)

    def _row(self, field: str) -> SettingRow:
        return self.query_exactly_one(f"#row-{field}", SettingRow)


def _volume_words(volume: NetworkVolume) -> str:
    price = "" if volume.usd_per_month is None else f" {usd(volume.usd_per_month)}/month"
    return clean_line(f"{volume.name} {volume.size_gb} GB {volume.data_center}{price}")
