"""The picture of what was spent: painted again when its values, its size or the theme change."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from tui.views.cost_picture import Bars, Role, Run, draw_bars, legend_runs

MakeBars = Callable[[int], Bars]
"""From how many bars there is room for."""

_SMALLEST = 10
_FRAME = 9
"""Cells that the labels of the axis may take."""

_STYLES: Mapping[Role, str] = {
    "bar": "cyan",
    "expected": "bright_black",
    "limit": "yellow",
    "frame": "dim",
}


class CostChart(Widget):
    """Upright bars with a legend above them."""

    def __init__(self, *, id: str | None = None, ascii_only: bool = False) -> None:
        super().__init__(id=id)
        self._make: MakeBars | None = None
        self._ascii_only = ascii_only

    def show(self, make: MakeBars) -> None:
        """Draw these from now on."""
        self._make = make
        self.refresh()

    def render(self) -> Text:
        width, height = self.size
        if self._make is None or width < _SMALLEST or height < 1:
            return Text()
        bars = self._make(width - _FRAME)
        return chart_text(bars, width, height, ascii_only=self._ascii_only)


def chart_text(bars: Bars, width: int, height: int, *, ascii_only: bool = False) -> Text:
    """The legend and the picture: `height` lines, none longer than `width`."""
    legend = _painted(legend_runs(bars, ascii_only=ascii_only))
    legend.truncate(width, overflow="ellipsis")
    picture = draw_bars(bars, width, height - 1, ascii_only=ascii_only)
    if isinstance(picture, str):
        words = Text(picture, style="dim")
        words.truncate(width, overflow="ellipsis")
        return Text("\n").join([legend, Text(), words])
    text = Text("\n").join([legend, *map(_painted, picture)])
    text.no_wrap = True
    return text


def _painted(runs: list[Run]) -> Text:
    return Text.assemble(*((words, Style.parse(_STYLES[role])) for role, words in runs))
