"""From a training file, or from one of its findings, to the preview of a conversation."""

from __future__ import annotations

from pathlib import Path

from shared.dataset.findings import Finding
from shared.dataset.report import DatasetReport
from tui.screens.console_screen import ConsoleScreen, Result
from tui.views.finding_lines import finding_place, shortened

_READ_ON_S = 15
_OF_THE_FILE = "This finding is about the file, not about one conversation."


def open_preview(
    screen: ConsoleScreen[Result],
    path: Path,
    base_model: str,
    max_seq_length: int,
    report: DatasetReport | None,
    finding: Finding | None = None,
) -> None:
    """Above `screen`, at the finding's conversation; without one, at the first."""
    if finding is not None and finding.conversation_id is None:
        _say_why_not(screen, finding, report)
        return
    from tui.screens.dataset_preview import DatasetPreviewScreen

    conversation = None if finding is None else finding.conversation_id
    codes = codes_by_conversation(report)
    screen.app.push_screen(
        DatasetPreviewScreen(path, base_model, max_seq_length, conversation, codes)
    )


def _say_why_not(
    screen: ConsoleScreen[Result], finding: Finding, report: DatasetReport | None
) -> None:
    """A place that belongs to no conversation is one that could not be read."""
    if finding.location is None:
        screen.notify(_OF_THE_FILE, markup=False)
        return
    is_line = report is not None and report.shape.endswith("JSONL")
    words = [
        f"This {'line' if is_line else 'place'} cannot be shown as a conversation, because it "
        "cannot be read.",
        f"{finding_place(finding)}: {shortened(finding.message)}",
        shortened(finding.advice),
    ]
    if finding.snippet:
        words.insert(2, f"«{shortened(finding.snippet)}»")
    text = "\n".join(filter(None, words))
    screen.notify(text, severity="warning", timeout=_READ_ON_S, markup=False)


def codes_by_conversation(report: DatasetReport | None) -> dict[str, set[str]]:
    """What was found in each conversation."""
    codes: dict[str, set[str]] = {}
    for finding in report.findings if report is not None else ():
        if finding.conversation_id is not None:
            codes.setdefault(finding.conversation_id, set()).add(finding.code)
    return codes
