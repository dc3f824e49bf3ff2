from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.views.chart_dots import Cells, DotGrid, Marker

POSITIONS = st.floats(0, 1)
LINES = st.lists(st.tuples(POSITIONS, st.just(math.nan) | POSITIONS), max_size=50)
MARKERS: st.SearchStrategy[Marker] = st.sampled_from(["braille", "block", "ascii"])


def drawn(cells: Cells, grid: DotGrid) -> list[str]:
    """Lines of text, from the top."""
    return [
        "".join(cells.get((column, row), " ") for column in range(grid.columns))
        for row in reversed(range(grid.rows))
    ]


@given(LINES, st.integers(1, 30), st.integers(1, 12), MARKERS, st.booleans())
def test_a_line_stays_in_the_grid_and_goes_through_its_points(
    line: list[tuple[float, float]], columns: int, rows: int, marker: Marker, is_thick: bool
) -> None:
    grid = DotGrid(columns, rows, marker)
    line.sort(key=lambda point: point[0])
    cells = grid.line(line, "*", is_thick=is_thick)
    assert all(0 <= column < columns and 0 <= row < rows for column, row in cells)
    assert {(grid.column(x), grid.row(y)) for x, y in line if y == y} <= set(cells)
    assert all(len(character) == 1 for character in cells.values())


@given(st.lists(st.tuples(POSITIONS, POSITIONS), min_size=1, max_size=20), st.booleans())
def test_a_line_without_gaps_has_no_holes(line: list[tuple[float, float]], is_thick: bool) -> None:
    grid = DotGrid(20, 10, "ascii")
    line.sort(key=lambda point: point[0])
    cells = grid.line(line, "*", is_thick=is_thick)
    start = min(cells)
    reached, waiting = {start}, [start]
    while waiting:
        column, row = waiting.pop()
        near = {(column + x, row + y) for x in (-1, 0, 1) for y in (-1, 0, 1)}
        new = near & set(cells) - reached
        reached |= new
        waiting += new
    assert reached == set(cells)


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("ascii", ["  *", " * ", "*  "]),
        ("block", ["  ▞", " ▞ ", "▞  "]),
        ("braille", [" ⢀⠎", " ⡜ ", "⡜  "]),
    ],
)
def test_a_diagonal(marker: Marker, expected: list[str]) -> None:
    grid = DotGrid(3, 3, marker)
    assert drawn(grid.line([(0.0, 0.0), (1.0, 1.0)], "*"), grid) == expected


def test_braille_dots_are_where_unicode_has_them() -> None:
    grid = DotGrid(1, 1, "braille")
    corners = {(0.0, 1.0): "⠁", (1.0, 1.0): "⠈", (0.0, 0.0): "⡀", (1.0, 0.0): "⢀"}
    for point, character in corners.items():
        assert grid.line([point], "*") == {(0, 0): character}
    assert grid.line([(0.0, 0.0), (0.0, 1.0)], "*") == {(0, 0): "⡇"}


@pytest.mark.parametrize("marker", ["braille", "block", "ascii"])
def test_a_gap_interrupts_a_line(marker: Marker) -> None:
    grid = DotGrid(9, 1, marker)
    cells = grid.line([(0.0, 0.5), (0.25, 0.5), (0.5, math.nan), (0.75, 0.5), (1.0, 0.5)], "*")
    assert {column for column, _ in cells} == {0, 1, 2, 6, 7, 8}


def test_a_dashed_line_leaves_columns_out() -> None:
    grid = DotGrid(8, 1, "braille")
    cells = grid.line([(0.0, 0.0), (1.0, 0.0)], "-", is_dashed=True)
    assert {column for column, _ in cells} == {0, 1, 4, 5}
