from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.store.stored import MetricsPoint
from tests.tui.sweeps import NOW
from tui.views.overlaid_curves import Against, Overlay, OverlayLook, curves_of, draw_overlay
from tui.views.overlaid_text import overlay_text


def point(step: int, loss: float | None, eval_loss: float | None = None) -> MetricsPoint:
    return MetricsPoint(
        attempt=1,
        step=step,
        time=NOW,
        epoch=step / 10,
        loss=loss,
        grad_norm=1.0,
        learning_rate=1e-4,
        tokens=1000,
        supervised_tokens=400,
        step_s=1.0,
        memory_bytes=None,
        eval_loss=eval_loss,
        eval_supervised_tokens=None if eval_loss is None else 10,
    )


def falling(steps: int, level: float) -> list[MetricsPoint]:
    return [
        point(n, level + math.exp(-n / 9), level + 0.3 if n % 10 == 0 else None)
        for n in range(1, steps + 1)
    ]


def drawn(
    look: OverlayLook, *runs: list[MetricsPoint], width: int = 80, height: int = 20
) -> Overlay:
    curves = [curves_of("ABCDEFGH"[n], points, look) for n, points in enumerate(runs)]
    overlay = draw_overlay(curves, look, 80, 20)
    assert isinstance(overlay, Overlay)
    return overlay


def letters(overlay: Overlay) -> set[str]:
    return {character for _, character in overlay.cells.values() if character.isalpha()}


def test_every_job_is_told_by_its_letter_without_any_colour() -> None:
    overlay = drawn(OverlayLook(), *(falling(40, 1 + n / 2) for n in range(8)))

    assert letters(overlay) == set("ABCDEFGH")
    last = max(column for column, _ in overlay.cells)
    ends = {cell[1] for (column, _), cell in overlay.cells.items() if column == last}
    assert ends >= set("ABCDEFGH"), "each curve ends with its letter"


def test_held_out_losses_are_small_letters_where_both_are_shown() -> None:
    runs = falling(40, 1.0), falling(40, 2.0)
    assert letters(drawn(OverlayLook(shown="both"), *runs)) == set("ABab")
    assert letters(drawn(OverlayLook(shown="held out"), *runs)) == set("AB")


@pytest.mark.parametrize(("against", "last"), [("step", "40"), ("epoch", "4"), ("tokens", "40k")])
def test_jobs_of_different_length_line_up_on_one_axis(against: Against, last: str) -> None:
    overlay = drawn(OverlayLook(against=against), falling(40, 1.0), falling(10, 2.0))

    assert overlay.x_ticks[-1][1] == last
    reached = {n: max(c for (c, _), cell in overlay.cells.items() if cell[0] == n) for n in (0, 1)}
    assert reached[0] == overlay.columns - 1
    assert reached[1] / overlay.columns == pytest.approx(9 / 39, abs=0.03)


def test_words_stand_where_there_is_nothing_to_draw() -> None:
    look = OverlayLook()
    assert draw_overlay([], look, 80, 20) == "no step yet"
    curves = [curves_of("A", [point(1, None)], look)]
    assert draw_overlay(curves, look, 80, 20) == "no number"
    assert draw_overlay(curves, OverlayLook(shown="held out"), 80, 20) == "no evaluation yet"
    some = [curves_of("A", falling(5, 1.0), look)]
    assert draw_overlay(some, look, 80, 2) == "no room for the chart"


def test_the_text_fills_its_room_and_not_more() -> None:
    look = OverlayLook(marker="ascii")
    curves = [curves_of("A", falling(40, 1.0), look)]

    lines = overlay_text(curves, look, 60, 12).plain.splitlines()

    assert len(lines) == 12
    assert max(map(len, lines)) <= 60
    assert lines[0] == "loss smoothed (0.6) against step"
    assert all(line.isascii() for line in lines)


@settings(max_examples=60, deadline=None)
@given(
    runs=st.lists(
        st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=60), min_size=1, max_size=8
    ),
    width=st.integers(0, 130),
    height=st.integers(0, 40),
    against=st.sampled_from(["step", "epoch", "tokens"]),
)
def test_no_numbers_and_no_size_bring_it_down(
    runs: list[list[float | None]], width: int, height: int, against: Against
) -> None:
    look = OverlayLook("both", against)
    points = [[point(n, loss, loss) for n, loss in enumerate(run)] for run in runs]
    curves = [curves_of("ABCDEFGH"[n], run, look) for n, run in enumerate(points)]

    lines = overlay_text(curves, look, width, height).plain.splitlines()

    assert len(lines) <= max(height, 1)
    assert all(len(line) <= max(width, 25) for line in lines)
