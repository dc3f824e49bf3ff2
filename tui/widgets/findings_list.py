"""What the dataset check found, worst first. Its texts are foreign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from shared.dataset.findings import Finding, Severity
from tui.views.finding_lines import finding_place, shortened

_MOST_SHOWN = 200
"""Each is measured on the event loop: 200 take 80 ms (2026-11, two shared cores)."""

_STYLES = {
    Severity.ERROR: "bold $text-error",
    Severity.WARNING: "bold $text-warning",
    Severity.NOTE: "bold $text-muted",
}


class FindingsList(OptionList):
    """A finding is a few lines: where, what, the text there, and what to do."""

    DEFAULT_CSS = """
    FindingsList {
        height: 1fr;
        border: none;
        padding: 0;
        background: transparent;
        scrollbar-size-vertical: 1;
        &:focus { border: none; background-tint: $foreground 3%; }
        & > .option-list--option { padding: 0 1; }
        & > .option-list--option-highlighted { background: transparent; text-style: none; }
        &:focus > .option-list--option-highlighted {
            color: $foreground; background: $primary 25%; text-style: none;
        }
    }
    """

    @dataclass
    class Chosen(Message):
        """Somebody wants to look at the place of this one."""

        finding: Finding

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._findings: Sequence[Finding] = ()

    def show(self, findings: Sequence[Finding]) -> None:
        """Replace what is shown; the same findings keep their place."""
        if findings == self._findings:
            return
        self._findings = findings
        options = [Option(_described(finding)) for finding in findings[:_MOST_SHOWN]]
        if (left := len(findings) - _MOST_SHOWN) > 0:
            more = f"… and {left:,} more: `brightrun dataset check --findings 0` lists them."
            options.append(Option(Content(more), disabled=True))
        self.set_options(options)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Chosen(self._findings[event.option_index]))

    def on_focus(self) -> None:
        if self.highlighted is None:
            self.action_first()


def _described(finding: Finding) -> Content:
    place = finding_place(finding)
    snippet = f"\n«{shortened(finding.snippet)}»" if finding.snippet else ""
    return Content.assemble(
        (f"{finding.severity.value}", _STYLES[finding.severity]),
        (f"  {place}" if place else "", "$text-muted"),
        "\n",
        shortened(finding.message),
        (snippet, "italic $text-muted"),
        (f"\n→ {shortened(finding.advice)}" if finding.advice else "", "$text-success"),
        "\n",
    )
