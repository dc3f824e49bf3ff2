"""From a training file, or from one of its findings, to the preview of a conversation."""

from __future__ import annotations

from pathlib import Path

from shared.dataset.findings import Finding
from shared.dataset.report import DatasetReport
from tui.screens.console_screen import ConsoleScreen, Result

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
        screen.notify(_OF_THE_FILE, markup=False)
        return
    from tui.screens.dataset_preview import DatasetPreviewScreen

    conversation = None if finding is None else finding.conversation_id
    codes = codes_by_conversation(report)
    screen.app.push_screen(
        DatasetPreviewScreen(path, base_model, max_seq_length, conversation, codes)
    )


def codes_by_conversation(report: DatasetReport | None) -> dict[str, set[str]]:
    """What was found in each conversation."""
    codes: dict[str, set[str]] = {}
    for finding in report.findings if report is not None else ():
        if finding.conversation_id is not None:
            codes.setdefault(finding.conversation_id, set()).add(finding.code)
    return codes
