from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.text import Text
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.screen import Screen
from textual.theme import BUILTIN_THEMES
from textual.widgets import ContentSwitcher, Static
from textual_plotext.plot import Plot

from tui.views.chart_dots import Marker
from tui.views.chart_picture import Look, Quantity, Role
from tui.views.curves import TrainingCurves
from tui.widgets.loss_chart import LossChart, chart_text, palette_of

DARK = palette_of(BUILTIN_THEMES["textual-dark"].to_color_system().generate())
ANY_FLOAT = st.floats() | st.sampled_from([1e300, 1e12, 5e-324, -1e11, 0.0])
MEASURED = st.lists(st.tuples(st.integers(0, 2000), st.none() | ANY_FLOAT), max_size=60)


def training(steps: int) -> TrainingCurves:
    """A noisy loss that falls, with evaluations, checkpoints and one resume."""
    chance = random.Random(3)
    curves = TrainingCurves()
    curves.eval_loss.put(0, 8.4)
    for step in range(1, steps + 1):
        falling = 1 + 7 * math.exp(-5 * step / steps)
        curves.loss.put(step, falling + chance.gauss(0, 0.2))
        curves.grad_norm.put(step, 0.5 + abs(chance.gauss(0, 0.3)))
        curves.learning_rate.put(step, 2e-4 * (1 - step / steps))
        if step % 20 == 0:
            curves.eval_loss.put(step, falling + 0.15)
            curves.checkpoints.append(step)
    curves.resumes.append(steps // 2)
    curves.version += 1
    return curves


class ChartApp(App[None]):
    """One chart that fills the screen, or another pane in its place."""

    def __init__(self, curves: TrainingCurves | None = None) -> None:
        super().__init__()
        self._curves = curves

    def compose(self) -> ComposeResult:
        with ContentSwitcher(initial="chart"):
            yield LossChart(id="chart")
            yield Static("elsewhere", id="elsewhere")

    def on_mount(self) -> None:
        if self._curves is not None:
            self.query_one(LossChart).show(self._curves)


def lines(chart: LossChart) -> list[str]:
    return chart.render().plain.split("\n")


async def until(condition: Callable[[], bool], pilot: Pilot[None]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await pilot.pause(0.02)


def add_step(curves: TrainingCurves) -> None:
    step = curves.loss.steps[-1] + 1 if curves.loss.steps else 1
    curves.version += curves.loss.put(step, 1.0)


# --- what it shows ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(20, 5), (80, 24), (120, 40)])
@pytest.mark.parametrize("steps", [1, 2, 141, 5000])
async def test_a_training_is_drawn_at_every_size(size: tuple[int, int], steps: int) -> None:
    app = ChartApp(training(steps))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        drawn = lines(app.query_one(LossChart))
        assert len(drawn) == size[1]
        assert max(map(len, drawn)) <= size[0]
        assert "raw" in drawn[0]
        assert "└" in drawn[-2]


async def test_before_the_first_step_there_are_words() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "\n".join(lines(app.query_one(LossChart))).strip() == "no step yet"


async def test_the_legend_is_cut_at_60_columns() -> None:
    app = ChartApp(training(141))
    async with app.run_test(size=(60, 16)) as pilot:
        await pilot.pause()
        top = lines(app.query_one(LossChart))[0]
        assert "raw" in top
        assert "smoothed" in top
        assert "held out" in top
        assert not top.endswith("…")
        assert "checkpoint" not in top


@pytest.mark.parametrize("quantity", ["loss", "grad_norm", "learning_rate"])
async def test_a_terminal_without_utf_8_gets_ascii_alone(quantity: Quantity) -> None:
    app = ChartApp(training(141))
    async with app.run_test(size=(40, 12)) as pilot:
        chart = app.query_one(LossChart)
        chart.marker, chart.quantity = "ascii", quantity
        await pilot.pause()
        assert "\n".join(lines(chart)).isascii()


async def test_a_log_scale_can_be_painted_twice() -> None:
    curves = training(141)
    curves.loss.put(3, 0.0)
    curves.loss.put(4, -1.0)
    curves.loss.put(5, math.inf)
    app = ChartApp(curves)
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(LossChart)
        chart.log_scale = True
        await pilot.pause()
        for _ in range(2):
            add_step(curves)
            chart.look_for_news()
            await pilot.pause()
            assert any(line.startswith("5.0000") for line in lines(chart))


async def test_two_charts_do_not_disturb_each_other() -> None:
    class TwoCharts(App[None]):
        def compose(self) -> ComposeResult:
            yield LossChart(id="one")
            yield LossChart(id="two")

    alone = ChartApp(training(141))
    async with alone.run_test(size=(80, 12)) as pilot:
        await pilot.pause()
        expected = lines(alone.query_one(LossChart))

    app = TwoCharts()
    async with app.run_test(size=(80, 24)) as pilot:
        one, two = app.query_one("#one", LossChart), app.query_one("#two", LossChart)
        two.quantity = "learning_rate"
        one.show(training(141))
        two.show(training(50))
        await pilot.pause()
        assert lines(one) == expected
        assert "learning rate" in lines(two)[0]


async def test_what_cannot_be_drawn_is_said_in_a_line() -> None:
    curves = training(10)
    curves.loss.values[3] = "[/not a number]"  # type: ignore[call-overload]
    app = ChartApp(curves)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        chart = app.query_one(LossChart)
        assert "the chart cannot be drawn (TypeError" in "\n".join(lines(chart))
        assert len(lines(chart)) == 24


# --- when it is drawn -------------------------------------------------------------------------


async def test_news_appear_by_themselves() -> None:
    curves = TrainingCurves()
    app = ChartApp(curves)
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(LossChart)
        await pilot.pause()
        add_step(curves)
        await until(lambda: "raw 1.0000" in lines(chart)[0], pilot)


async def test_without_news_nothing_is_drawn_again() -> None:
    curves = training(141)
    app = ChartApp(curves)
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(LossChart)
        await pilot.pause()
        before = chart.drawings
        chart.look_for_news()
        chart.show(curves)
        chart.refresh()
        await pilot.pause()
        assert chart.drawings == before

        add_step(curves)
        chart.refresh()
        await pilot.pause()
        assert chart.drawings == before, "news wait for the next look"
        chart.look_for_news()
        await pilot.pause()
        assert chart.drawings == before + 1


async def test_a_hidden_chart_is_not_drawn() -> None:
    curves = training(141)
    app = ChartApp(curves)
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(LossChart)
        switcher = app.query_one(ContentSwitcher)
        await pilot.pause()

        async def is_drawn_again() -> bool:
            before = chart.drawings
            add_step(curves)
            chart.look_for_news()
            await pilot.pause()
            return chart.drawings > before

        assert await is_drawn_again()
        switcher.current = "elsewhere"
        await pilot.pause()
        assert not await is_drawn_again()
        before = chart.drawings
        switcher.current = "chart"
        await until(lambda: chart.drawings == before + 1, pilot)

        await app.push_screen(Screen())
        await pilot.pause()
        assert not await is_drawn_again()
        app.pop_screen()
        await pilot.pause()
        assert await is_drawn_again()

        chart.visible = False
        await pilot.pause()
        assert not await is_drawn_again()


async def test_another_size_option_or_theme_is_drawn_at_once() -> None:
    app = ChartApp(training(141))
    async with app.run_test(size=(100, 24)) as pilot:
        chart = app.query_one(LossChart)

        async def drawings_of(change: Callable[[], object]) -> int:
            await pilot.pause()
            before = chart.drawings
            change()
            await pilot.pause()
            return chart.drawings - before

        options = {"quantity": "grad_norm", "log_scale": True, "window": 50, "marker": "block"}
        for name, value in options.items():
            assert await drawings_of(lambda n=name, v=value: setattr(chart, n, v)) == 1
        chart.quantity = "loss"
        assert await drawings_of(lambda: setattr(chart, "smoothing", 0.9)) == 1
        assert "(0.9)" in lines(chart)[0]

        def another_theme() -> None:
            app.theme = "textual-light"

        assert await drawings_of(another_theme) == 1
        await pilot.resize_terminal(100, 30)
        await until(lambda: len(lines(chart)) == 30, pilot)


async def test_options_out_of_range_are_brought_back() -> None:
    app = ChartApp(training(141))
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(LossChart)
        chart.smoothing, chart.window = 1.0, 0
        await pilot.pause()
        assert (chart.smoothing, chart.window) == (0.999, 2)
        assert "cannot" not in "".join(lines(chart))


# --- colours and any numbers ------------------------------------------------------------------


@pytest.mark.parametrize("theme", sorted(BUILTIN_THEMES))
async def test_every_theme_shows_the_curves_apart(theme: str) -> None:
    app = ChartApp(training(141))
    async with app.run_test(size=(60, 16)) as pilot:
        app.theme = theme
        await pilot.pause()
        assert "cannot" not in "".join(lines(app.query_one(LossChart)))
        palette = palette_of(app.theme_variables)
    roles: tuple[Role, ...] = ("raw", "smoothed", "held_out", "resumed")
    assert len({palette[role] for role in roles}) == 4


@settings(max_examples=60, deadline=None)
@given(
    MEASURED,
    MEASURED,
    st.lists(st.integers(0, 2000), max_size=5),
    st.sampled_from(["braille", "block", "ascii"]),
    st.booleans(),
    st.none() | st.integers(2, 3000),
    st.integers(1, 130),
    st.integers(1, 42),
)
def test_any_numbers_are_drawn_in_as_many_lines_as_there_are(
    losses: list[tuple[int, float | None]],
    evaluations: list[tuple[int, float | None]],
    marks: list[int],
    marker: Marker,
    log_scale: bool,
    window: int | None,
    width: int,
    height: int,
) -> None:
    curves = TrainingCurves()
    for step, loss in losses:
        curves.loss.put(step, loss)
    for step, loss in evaluations:
        curves.eval_loss.put(step, loss)
    curves.checkpoints = curves.resumes = sorted(set(marks))
    look = Look(log_scale=log_scale, window=window, marker=marker)
    text = chart_text(Plot(), curves, look, width, height, DARK)
    assert_fits(text, width, height)


def assert_fits(text: Text, width: int, height: int) -> None:
    drawn = text.split("\n", allow_blank=True)
    assert len(drawn) == height
    assert max(line.cell_len for line in drawn) <= width


def test_many_points_are_drawn_quickly() -> None:
    curves = training(100_000)
    look = Look()
    plot = Plot()
    chart_text(plot, curves, look, 120, 40, DARK)
    add_step(curves)
    # Budget 50 ms of this thread's time; the bound leaves room for a busy machine.
    begin = time.thread_time()
    chart_text(plot, curves, look, 120, 40, DARK)
    assert time.thread_time() - begin < 0.5
