"""Paints overlaid curves as lines of text with axes; knows Rich's `Text`, and no terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from tui.views.comparison import MARKS
from tui.views.overlaid_curves import JobCurves, Overlay, OverlayLook, draw_overlay

COLOURS = (
    "#56b4e9",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#d55e00",
    "#f0e442",
    "#0072b2",
    "#999999",
)
"""Of Okabe and Ito (2008), told apart with most kinds of colour blindness; grey for black."""

_ASCII = str.maketrans("│─└", "|-+")


def colour_of(mark: str) -> str:
    """The style of a job's letter and curves; "" for one that has none."""
    return COLOURS[MARKS.index(mark[0])] if mark and mark[0] in MARKS else ""


def overlay_text(curves: Sequence[JobCurves], look: OverlayLook, width: int, height: int) -> Text:
    """A caption and the picture below it: at most `height` lines, none longer than `width`."""
    if width < 1 or height < 1:
        return Text()
    caption = Text(_caption(look), style="dim")
    caption.truncate(width, overflow="ellipsis")
    text = Text().append_text(caption)
    if height > 1:
        drawn = draw_overlay(curves, look, width, height - 1)
        text.append("\n")
        if isinstance(drawn, str):
            text.append(drawn, style="dim")
        else:
            text.append_text(_painted(drawn, [colour_of(each.mark) for each in curves]))
    if look.marker == "ascii":
        text.plain = text.plain.translate(_ASCII)
    text.no_wrap = True
    return text


def _caption(look: OverlayLook) -> str:
    smoothed = f" smoothed ({look.smoothing:g})" if look.smoothing > 0 else ""
    what = {
        "loss": f"loss{smoothed}",
        "held out": "held-out loss",
        "both": f"loss{smoothed}, held-out loss in small letters",
    }
    return f"{what[look.shown]} against {look.against}"


def _painted(drawn: Overlay, colours: Sequence[str]) -> Text:
    labels = dict(drawn.y_ticks)
    margin = max((len(words) for words in labels.values()), default=0)
    text = Text()
    for row in reversed(range(drawn.rows)):
        text.append(labels.get(row, "").rjust(margin), style="dim")
        text.append("│", style="dim")
        for column in range(drawn.columns):
            number, character = drawn.cells.get((column, row), (-1, " "))
            text.append(character, style=colours[number] if number >= 0 else "")
        text.append("\n")
    text.append(" " * margin + "└" + "─" * drawn.columns + "\n", style="dim")
    text.append(" " * (margin + 1) + _x_labels(drawn), style="dim")
    return text


def _x_labels(drawn: Overlay) -> str:
    """Each under its column, moved inward at the edges."""
    line = [" "] * drawn.columns
    for column, words in drawn.x_ticks:
        begin = min(max(column - len(words) // 2, 0), max(drawn.columns - len(words), 0))
        line[begin : begin + len(words)] = words
    return "".join(line)[: drawn.columns].rstrip()
