"""The chart of a training, drawn again when there is news and somebody can see it.

plotext draws the frame and turns cells into a picture. It is given whole cells and nothing else:
what falls into which cell is decided in `tui.views`, so no number of a training reaches plotext.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from rich.color import Color as RichColor
from rich.color import ColorSystem
from rich.style import Style
from rich.text import Text
from textual import events
from textual.color import Color
from textual.errors import NoWidget
from textual.reactive import reactive
from textual.timer import Timer
from textual_plotext import PlotextPlot
from textual_plotext.plot import Plot

from shared.clean_text import clean_line
from tui.views.chart_dots import Marker
from tui.views.chart_picture import (
    ROWS_BELOW,
    LegendEntry,
    Look,
    Picture,
    Quantity,
    Role,
    draw,
    legend,
)
from tui.views.curves import DEFAULT_SMOOTHING, TrainingCurves

Choice = TypeVar("Choice")

_SECONDS_BETWEEN_LOOKS = 0.5
_QUANTITIES: tuple[Quantity, ...] = ("loss", "grad_norm", "learning_rate")
_SMOOTHINGS = (0.6, 0.9, 0.0)
_WINDOWS = (None, 50, 200, 1000)
_MARKERS: tuple[Marker, ...] = ("braille", "block", "ascii")

PlotColor = tuple[int, int, int] | int | str
"""RGB, one of the terminal's own 16 colours, or "default"."""

_ASCII = str.maketrans("┌┐└┘├┤┬┴┼─│–…", "+++++++++-|-~")
# Variables of a Textual theme that are legible on its background.
_BRIGHT: dict[Role, str] = {
    "only": "text-primary",
    "smoothed": "text-primary",
    "held_out": "text-warning",
    "checkpoint": "text-success",
    "resumed": "text-error",
}
_THEME_VARIABLES = ("background", "foreground", "primary", *_BRIGHT.values())
_BRIGHT_BLACK, _BRIGHT_BLUE = 8, 12
_BETWEEN_ENTRIES = "  "

Palette = Mapping[Role | Literal["frame"], PlotColor]


def palette_of(theme_variables: Mapping[str, str]) -> Palette:
    """Colours that go with a theme; a theme of the terminal's own colours gets those."""
    background, foreground, primary = (
        Color.parse(theme_variables[name]) for name in ("background", "foreground", "primary")
    )
    palette: dict[Role | Literal["frame"], PlotColor] = {
        role: _plot_color(Color.parse(theme_variables[name])) for role, name in _BRIGHT.items()
    }
    if foreground.ansi is not None:
        palette["frame"] = palette["raw"] = _BRIGHT_BLACK
        palette["only"] = palette["smoothed"] = _BRIGHT_BLUE
        return palette
    greys = [background.blend(foreground, share) for share in (0.45, 0.55, 0.65, 0.8)]
    tints = [background.blend(primary, share) for share in (0.8, 0.65, 0.5)]
    smoothed = Color.parse(theme_variables[_BRIGHT["smoothed"]])
    return palette | {
        "frame": _unlike(greys, background).rgb,
        # Fainter than the smoothed curve, with 16 colours too.
        "raw": _unlike([*tints, *greys], background, smoothed).rgb,
    }


def _unlike(candidates: Sequence[Color], *others: Color) -> Color:
    """The first that a terminal of 16 colours tells from the others; else the first."""
    taken = {_of_16(other) for other in others}
    return next((color for color in candidates if _of_16(color) not in taken), candidates[0])


def _of_16(color: Color) -> int | None:
    return RichColor.from_rgb(*color.rgb).downgrade(ColorSystem.STANDARD).number


def _plot_color(color: Color) -> PlotColor:
    if color.ansi is None:
        return color.rgb
    return "default" if color.ansi < 0 else color.ansi


class LossChart(PlotextPlot):
    """Loss, gradient norm or learning rate of one training."""

    quantity: reactive[Quantity] = reactive[Quantity]("loss")
    smoothing = reactive(DEFAULT_SMOOTHING)
    """The weight of the past in the smoothed loss, from 0 (none is drawn) to below 1."""
    log_scale = reactive(False)
    window: reactive[int | None] = reactive[int | None](None)
    """Show so many last steps; None shows all."""
    marker: reactive[Marker] = reactive[Marker]("braille")

    def __init__(
        self, *, name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.drawings = 0
        """How often the picture was made."""
        self._curves = TrainingCurves()
        self._drawn_version = -1
        self._key: tuple[object, ...] | None = None
        self._text = Text()
        self._timer: Timer | None = None

    def show(self, curves: TrainingCurves) -> None:
        """Draw these from now on; what is added to them appears by itself."""
        if curves is not self._curves:
            self._curves = curves
            self._key = None
            self.refresh()

    def show_next_quantity(self) -> None:
        self.quantity = _after(self.quantity, _QUANTITIES)

    def take_next_smoothing(self) -> None:
        self.smoothing = _after(self.smoothing, _SMOOTHINGS)

    def take_next_window(self) -> None:
        self.window = _after(self.window, _WINDOWS)

    def take_next_marker(self) -> None:
        self.marker = _after(self.marker, _MARKERS)

    def validate_smoothing(self, smoothing: float) -> float:
        return min(max(smoothing, 0.0), 0.999)

    def validate_window(self, window: int | None) -> int | None:
        return None if window is None else max(window, 2)

    def on_mount(self) -> None:
        self._timer = self.set_interval(_SECONDS_BETWEEN_LOOKS, self.look_for_news, pause=True)

    def on_show(self, event: events.Show) -> None:
        if self._timer is not None:
            self._timer.resume()
        self.look_for_news()

    def on_hide(self, event: events.Hide) -> None:
        if self._timer is not None:
            self._timer.pause()

    def look_for_news(self) -> None:
        """Draw again if something was added and somebody sees it; the chart does so by itself."""
        if self._curves.version != self._drawn_version and self._can_be_seen():
            self._key = None
            self.refresh()

    def _can_be_seen(self) -> bool:
        if not (self.is_attached and self.visible and self.screen.is_active):
            return False
        try:
            return bool(self.screen.find_widget(self).visible_region)
        except NoWidget:
            return False

    def render(self) -> Text:
        """The last picture, made anew only if it would look different."""
        look = Look(self.quantity, self.smoothing, self.log_scale, self.window, self.marker)
        theme = {name: self.app.theme_variables[name] for name in _THEME_VARIABLES}
        key = (self.size, look, theme)
        if key != self._key:
            self._key = key
            self._drawn_version = self._curves.version
            self.drawings += 1
            self._text = self._draw(look, theme)
        return self._text

    def _draw(self, look: Look, theme: Mapping[str, str]) -> Text:
        width, height = self.size
        try:
            palette = palette_of(theme)
            return chart_text(self.plt, self._curves, look, width, height, palette)
        except Exception as error:
            # A chart is never worth the console that shows it.
            reason = clean_line(f"{type(error).__name__}: {error}")
            return _in_the_middle(f"the chart cannot be drawn ({reason})", width, height)


def chart_text(
    plot: Plot, curves: TrainingCurves, look: Look, width: int, height: int, palette: Palette
) -> Text:
    """A legend and the picture below it: `height` lines, none longer than `width`."""
    if width < 1 or height < 1:
        return Text()
    text = legend_line(legend(curves, look), width, palette)
    if height > 1:
        picture = draw(curves, look, width, height - 1)
        text.append("\n")
        if isinstance(picture, str):
            text.append_text(_in_the_middle(picture, width, height - 1))
        else:
            text.append_text(paint(plot, picture, palette))
    if look.marker == "ascii":
        text.plain = text.plain.translate(_ASCII)
    text.no_wrap = True
    return text


def paint(plot: Plot, picture: Picture, palette: Palette) -> Text:
    """The picture with its axes, one line for each row."""
    # Settings and data of the last figure would otherwise stay.
    plot.clear_figure()
    labels = [words for _, words in picture.y_ticks]
    # plotext would cut the figure to the terminal that the console was started in.
    plot._set_size(
        picture.columns + 1 + max(map(len, labels), default=0), picture.rows + ROWS_BELOW
    )
    plot.canvas_color("default")
    plot.axes_color("default")
    plot.ticks_color(palette["frame"])
    plot.xaxes(True, False)
    plot.yaxes(True, False)
    plot.xlim(0, max(picture.columns - 1, 1))
    plot.ylim(0, max(picture.rows - 1, 1))
    plot.xticks([column for column, _ in picture.x_ticks], [words for _, words in picture.x_ticks])
    plot.yticks([row for row, _ in picture.y_ticks], labels)
    for column in picture.resumed_columns:
        plot.vline(column, color=palette["resumed"])
    for role, column, row, characters in picture.runs():
        plot.text(characters, column, row, color=palette[role], alignment="left")
    return Text.from_ansi(plot.build().rstrip("\n"))


def legend_line(entries: Sequence[LegendEntry], width: int, palette: Palette) -> Text:
    """The legend in one line: in short where it is too long, then without its last entries."""
    for brevity in range(3):
        line = _legend_of(entries, brevity, palette)
        if line.cell_len <= width:
            return line
    while line.cell_len > width and len(entries) > 1:
        entries = entries[:-1]
        line = _legend_of(entries, 2, palette)
    line.truncate(width, overflow="ellipsis")
    return line


def _legend_of(entries: Sequence[LegendEntry], brevity: int, palette: Palette) -> Text:
    words = []
    for entry in entries:
        color = palette["frame"] if entry.role is None else palette[entry.role]
        sample = (entry.sample + " ", _style(color)) if entry.sample else ""
        words.append(Text.assemble(sample, entry.words(brevity)))
    return Text(_BETWEEN_ENTRIES).join(words)


def _style(color: PlotColor) -> Style:
    match color:
        case (red, green, blue):
            return Style(color=RichColor.from_rgb(red, green, blue))
        case int():
            return Style(color=RichColor.from_ansi(color))
        case _:
            return Style()


def _after(current: Choice, choices: Sequence[Choice]) -> Choice:
    """The next of the choices, round and round."""
    return choices[(choices.index(current) + 1) % len(choices)]


def _in_the_middle(words: str, width: int, height: int) -> Text:
    line = Text(words, style="dim")
    line.truncate(width, overflow="ellipsis")
    line.align("center", width)
    above = (height - 1) // 2
    return Text("\n").join([*[Text()] * above, line, *[Text()] * (height - 1 - above)])
