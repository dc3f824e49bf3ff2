"""What a new job would train as it stands, and what the dataset check found."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from shared.dataset.report import DatasetReport
from tui.views.finding_lines import checks_in_words
from tui.views.job_summary import Counted, summary_lines
from tui.widgets.findings_list import FindingsList
from tui.widgets.line_list import LineList


class JobOutlook(Vertical):
    """The summary above, the findings below."""

    DEFAULT_CSS = """
    JobOutlook {
        #summary-scroll { height: auto; max-height: 60%; scrollbar-size-vertical: 1; }
        .section { height: 1; color: $text-primary; text-style: bold; }
        #findings-title { margin: 1 0 0 0; }
        &.-counting LineList .value { text-style: dim; }
    }
    """

    def __init__(self, counted: Counted) -> None:
        super().__init__()
        self._summary = LineList(summary_lines(counted), id="summary")

    def compose(self) -> ComposeResult:
        yield Static("Summary", classes="section")
        with VerticalScroll(id="summary-scroll", can_focus=False):
            yield self._summary
        yield Static(classes="section", id="findings-title")
        yield FindingsList(id="findings")

    def show(self, counted: Counted) -> None:
        """What is known now."""
        report = counted.report
        self._summary.show(summary_lines(counted))
        self.query_exactly_one(FindingsList).show(report.findings if report else ())
        title = self.query_exactly_one("#findings-title", Static)
        title.update(_findings_title(report), layout=False)

    def show_counting(self, is_counting: bool) -> None:
        """What is shown belongs to an earlier draft."""
        self.set_class(is_counting, "-counting")


def _findings_title(report: DatasetReport | None) -> Content:
    found = "" if report is None else checks_in_words(report) if report.findings else "none"
    return Content.assemble("Findings  ", (found, "not bold $text-muted"))
