from __future__ import annotations

import math

import pytest

from tui.views.chart_picture import Look, Picture, Role, draw, legend
from tui.views.curves import TrainingCurves


@pytest.fixture
def curves() -> TrainingCurves:
    """100 steps, held-out losses, checkpoints and one resume."""
    curves = TrainingCurves()
    curves.eval_loss.put(0, 9.0)
    for step in range(1, 101):
        curves.loss.put(step, 8.0 - step / 20)
        curves.grad_norm.put(step, 1.0)
        curves.learning_rate.put(step, 1e-4)
    for step in (20, 40, 60, 80, 100):
        curves.eval_loss.put(step, 8.2 - step / 20)
        curves.checkpoints.append(step)
    curves.resumes.append(40)
    return curves


def picture(curves: TrainingCurves, look: Look, width: int = 80, height: int = 24) -> Picture:
    drawn = draw(curves, look, width, height)
    assert isinstance(drawn, Picture)
    return drawn


def owners(picture: Picture) -> set[Role]:
    return {role for role, _ in picture.cells.values()}


def texts(curves: TrainingCurves, look: Look) -> list[str]:
    return [f"{entry.sample} {entry.words()}".strip() for entry in legend(curves, look)]


def test_the_loss_is_drawn_with_its_average_its_held_out_points_and_checkpoints(
    curves: TrainingCurves,
) -> None:
    for step in range(10, 100, 10):
        curves.loss.put(step, 1.0)
    drawn = picture(curves, Look())
    assert owners(drawn) == {"raw", "smoothed", "held_out", "checkpoint"}
    marks = [character for role, character in drawn.cells.values() if role == "held_out"]
    assert marks.count("◆") == 6
    assert len(drawn.resumed_columns) == 1


def test_checkpoints_have_the_lowest_row_for_themselves(curves: TrainingCurves) -> None:
    drawn = picture(curves, Look())
    lowest = [owner for (_, row), owner in drawn.cells.items() if row == 0]
    assert lowest == [("checkpoint", "▲")] * 5


@pytest.mark.parametrize("quantity", ["grad_norm", "learning_rate"])
def test_other_quantities_are_one_curve(curves: TrainingCurves, quantity: str) -> None:
    look = Look(quantity=quantity)  # type: ignore[arg-type]
    assert owners(picture(curves, look)) == {"only", "checkpoint"}


def test_no_smoothing_leaves_one_curve(curves: TrainingCurves) -> None:
    look = Look(smoothing=0)
    assert "smoothed" not in owners(picture(curves, look))
    assert texts(curves, look)[0] == "━ loss 3.0000"


def test_ticks_stand_in_cells_of_their_own(curves: TrainingCurves) -> None:
    for height in range(4, 40):
        drawn = picture(curves, Look(log_scale=True), 60, height)
        rows = [row for row, _ in drawn.y_ticks]
        assert len(set(rows)) == len(rows)
        assert all(0 <= row < drawn.rows for row in rows)


def test_a_window_shows_the_last_steps(curves: TrainingCurves) -> None:
    drawn = picture(curves, Look(window=30))
    assert [words for _, words in drawn.x_ticks] == ["75", "80", "85", "90", "95", "100"]
    assert drawn.resumed_columns == ()
    assert [owner for owner in drawn.cells.values() if owner[0] == "checkpoint"] == [
        ("checkpoint", "▲")
    ] * 2


def test_a_window_longer_than_the_training_shows_all(curves: TrainingCurves) -> None:
    assert picture(curves, Look(window=1000)) == picture(curves, Look())


def test_neighbours_of_one_role_come_together(curves: TrainingCurves) -> None:
    drawn = picture(curves, Look())
    again = {
        (column + offset, row): (role, character)
        for role, column, row, characters in drawn.runs()
        for offset, character in enumerate(characters)
    }
    assert again == drawn.cells


def test_words_stand_where_there_is_nothing_to_draw(curves: TrainingCurves) -> None:
    nothing = TrainingCurves()
    assert draw(nothing, Look(), 80, 24) == "no step yet"
    nothing.loss.put(1, math.inf)
    assert draw(nothing, Look(), 80, 24) == "no number"
    nothing.loss.put(2, -1.0)
    assert draw(nothing, Look(log_scale=True), 80, 24) == (
        "no number above 0, which a log scale needs"
    )
    assert draw(curves, Look(), 6, 24) == "no room for the chart"
    assert draw(curves, Look(), 80, 2) == "no room for the chart"


def test_an_evaluation_of_the_base_model_alone_is_drawn() -> None:
    curves = TrainingCurves()
    curves.eval_loss.put(0, 9.0)
    assert owners(picture(curves, Look())) == {"held_out"}
    assert texts(curves, Look()) == ["◆ held out 9.0000"]


def test_the_legend_says_what_each_look_means(curves: TrainingCurves) -> None:
    curves.loss.put(101, None)
    assert texts(curves, Look(log_scale=True)) == [
        "┅ raw –",
        "━ smoothed (0.6) –",
        "◆ held out 3.2000",
        "▲ checkpoint at 100",
        "│ resumed after 40",
        "log scale",
    ]
    assert texts(curves, Look(quantity="learning_rate", marker="ascii")) == [
        "* learning rate 1.00e-04",
        "^ checkpoint at 100",
        "| resumed after 40",
    ]
