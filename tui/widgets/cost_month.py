"""How the month stands against its limit, and how good estimates and ledger were: four lines."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from tui.services.cost_report import CostReport
from tui.views.costs import (
    accuracy_words,
    added_up,
    bill_words,
    is_beyond,
    month_share,
    month_style,
    month_words,
    notable,
    notable_words,
    outlook_words,
)

_WIDEST_BAR = 40
_NARROWEST_BAR = 8
_PERCENT = 6


class CostMonth(Static):
    """Draws what it is given."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._report: CostReport | None = None

    def show(self, report: CostReport) -> None:
        """Draw this from now on."""
        self._report = report
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._report is not None and self.size.width:
            lines = month_lines(self._report, self.size.width)
            for line in lines:
                line.truncate(self.size.width, overflow="ellipsis")
            self.update(Text("\n").join(lines), layout=False)


def month_lines(report: CostReport, width: int) -> list[Text]:
    """The month with a bar as wide as there is room for, what may come, estimates, the bill."""
    month = report.month
    share = month_share(month)
    words = month_words(month)
    room = min(max(width - len(words) - _PERCENT - 2, _NARROWEST_BAR), _WIDEST_BAR)
    done = min(round(share * room), room)
    style = month_style(share)
    first = Text.assemble(
        (words, "bold"), "  ", ("━" * done, style), ("─" * (room - done), "dim"), f" {share:.0%}"
    )
    outlook = Text(outlook_words(month), "yellow" if is_beyond(month) else "")
    total = added_up(report.lines)
    bill = Text(bill_words(total, may_grow=report.bill_may_grow))
    if found := notable(report.differences):
        bill = Text(f"the bill: {notable_words(found)[0]}", "yellow")
    return [first, outlook, Text(accuracy_words(report.accuracy)), bill]
