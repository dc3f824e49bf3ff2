from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.widgets.line_buffer import LineBuffer, Match

MAX_LINES = 5
BATCHES = st.lists(st.lists(st.text("ab", max_size=4), max_size=8), max_size=8)


@given(batches=BATCHES, query=st.text("ab", max_size=2), only_matching=st.booleans())
def test_rows_and_matches_are_those_of_the_last_lines_however_they_came(
    batches: list[list[str]], query: str, only_matching: bool
) -> None:
    buffer = LineBuffer(MAX_LINES)
    buffer.search(query)
    buffer.show_only_matching(only_matching)
    everything: list[str] = []
    for batch in batches:
        everything += batch
        assert buffer.append(batch)[0] == len(batch)

    last = list(enumerate(everything))[-MAX_LINES:]
    matching = [number for number, line in last if query in line]
    shown = matching if query and only_matching else [number for number, _ in last]
    assert list(buffer.lines) == [line for _, line in last]
    assert [buffer.number_at(row) for row in range(buffer.row_count)] == shown
    assert [buffer.row_of(number) for number in shown] == list(range(len(shown)))
    assert [buffer.text(number) for number in shown] == [everything[number] for number in shown]
    matches = [match for number, _ in last for match in buffer.matches_in(number)]
    assert len(matches) == buffer.match_count
    assert sorted({match.number for match in matches}) == (matching if query else [])
    assert all(everything[number][start:end] == query for number, start, end in matches)


@given(batches=BATCHES, only_matching=st.booleans())
def test_it_says_how_many_rows_left_the_top(batches: list[list[str]], only_matching: bool) -> None:
    buffer = LineBuffer(MAX_LINES)
    buffer.search("a")
    buffer.show_only_matching(only_matching)
    for batch in batches:
        before = [buffer.number_at(row) for row in range(buffer.row_count)]
        _, rows_gone = buffer.append(batch)
        after = [buffer.number_at(row) for row in range(buffer.row_count)]
        assert after[: len(before) - rows_gone] == before[rows_gone:]
        assert not set(before[:rows_gone]) & set(after)


def test_stepping_goes_through_every_match_and_round_both_ends() -> None:
    buffer = LineBuffer(MAX_LINES)
    buffer.append(["aa", "b", "a"])
    buffer.search("a")
    first, second, third = Match(0, 0, 1), Match(0, 1, 2), Match(2, 0, 1)

    assert [buffer.step(match, 1) for match in (first, second, third)] == [second, third, first]
    assert [buffer.step(match, -1) for match in (first, second, third)] == [third, first, second]
    assert [buffer.nearest(number) for number in range(4)] == [first, third, third, third]
    assert [buffer.place(match) for match in (first, second, third)] == [1, 2, 3]


def test_without_a_match_there_is_nowhere_to_go() -> None:
    buffer = LineBuffer(MAX_LINES)
    buffer.append(["a"])
    buffer.search("b")
    assert buffer.nearest(0) is None
    assert buffer.step(Match(0, 0, 1), 1) is None


def test_a_match_in_a_line_that_was_dropped_leads_on_to_those_that_are_there() -> None:
    buffer = LineBuffer(MAX_LINES)
    buffer.search("a")
    buffer.append(["a"] * 3)
    buffer.append(["b"] * 4)
    assert buffer.step(Match(0, 0, 1), 1) == Match(2, 0, 1)


def test_numbers_go_on_after_everything_was_forgotten() -> None:
    buffer = LineBuffer(MAX_LINES)
    buffer.search("a")
    buffer.append(["a", "b"])
    buffer.clear()
    buffer.append(["a"])
    assert (buffer.number_at(0), buffer.match_count, buffer.width) == (2, 1, 1)
