from __future__ import annotations

import pytest
from rich.cells import cell_len

from tui.widgets.fitted_columns import GAP, Column, fitted_text, fitted_widths

COLUMNS: tuple[Column[dict[str, str]], ...] = (
    Column("name", "NAME", 0, 0, lambda row: row["name"]),
    Column("size", "SIZE", 8, 40, lambda row: row["size"], is_number=True),
    Column("jobs", "JOBS", 4, 0, lambda row: row["jobs"]),
)


def test_one_column_takes_what_the_others_leave() -> None:
    widths = fitted_widths(COLUMNS, 60, least_rest=5)
    assert widths == {"name": 60 - 8 - 4 - 3 * GAP, "size": 8, "jobs": 4}
    assert sum(widths.values()) + len(widths) * GAP == 60


def test_where_there_is_little_room_columns_are_left_out_but_never_the_one_that_stretches() -> None:
    assert fitted_widths(COLUMNS, 39, least_rest=5) == {"name": 31, "jobs": 4}
    assert fitted_widths(COLUMNS, 8, least_rest=5) == {"name": 5, "jobs": 4}


@pytest.mark.parametrize(
    ("value", "width", "fitted"),
    [
        ("brightrun", 9, "brightrun"),
        ("brightrun", 8, "brightr…"),
        ("文字化け", 8, "文字化け"),
        ("文字化け", 6, "文字…"),  # Half of a wide sign would not fit.
    ],
)
def test_a_text_that_does_not_fit_ends_in_an_ellipsis(value: str, width: int, fitted: str) -> None:
    assert fitted_text(value, width).plain == fitted
    assert cell_len(fitted) <= width


def test_numbers_stand_at_the_right_below_their_heading() -> None:
    size = COLUMNS[1]
    assert (size.heading(8), size.cell({"size": "414 MB"}, 8).plain) == ("    SIZE", "  414 MB")
    assert (COLUMNS[2].heading(6), COLUMNS[2].cell({"jobs": "3"}, 6).plain) == ("JOBS", "3")
