"""The curves of several jobs over each other, in the room that there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

from shared.store.stored import MetricsPoint
from tui.views.chart_dots import Marker
from tui.views.overlaid_curves import Against, OverlayLook, Shown, curves_of
from tui.views.overlaid_text import overlay_text

Choice = TypeVar("Choice")

_SHOWN: tuple[Shown, ...] = ("loss", "held out", "both")
_AGAINST: tuple[Against, ...] = ("step", "epoch", "tokens")
_SMOOTHINGS = (0.6, 0.9, 0.0)
_MARKERS: tuple[Marker, ...] = ("braille", "block", "ascii")


class OverlaidChart(Widget):
    """Drawn again when it is given something else."""

    shown: reactive[Shown] = reactive[Shown]("loss")
    against: reactive[Against] = reactive[Against]("step")
    smoothing = reactive(_SMOOTHINGS[0])
    marker: reactive[Marker] = reactive[Marker]("braille")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._points: Mapping[str, Sequence[MetricsPoint]] = {}

    def show(self, points: Mapping[str, Sequence[MetricsPoint]]) -> None:
        """Letter -> what was measured; the first is drawn over the others."""
        self._points = points
        self.refresh()

    def show_next(self) -> None:
        """Loss, held-out loss, both."""
        self.shown = _after(self.shown, _SHOWN)

    def take_next_axis(self) -> None:
        """Steps, epochs, tokens."""
        self.against = _after(self.against, _AGAINST)

    def take_next_smoothing(self) -> None:
        """Some, much, none."""
        self.smoothing = _after(self.smoothing, _SMOOTHINGS)

    def take_next_marker(self) -> None:
        """Braille, blocks, ASCII."""
        self.marker = _after(self.marker, _MARKERS)

    def render(self) -> Text:
        """The caption and the picture."""
        look = OverlayLook(self.shown, self.against, self.smoothing, self.marker)
        curves = [curves_of(mark, points, look) for mark, points in self._points.items()]
        return overlay_text(curves, look, *self.size)


def _after(current: Choice, choices: Sequence[Choice]) -> Choice:
    """The next of the choices, round and round."""
    return choices[(choices.index(current) + 1) % len(choices)]
