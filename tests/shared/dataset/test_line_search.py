"""Lines are found by their bytes exactly where a slow look would find them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.dataset import line_search
from shared.dataset.line_search import (
    LinePlace,
    lines_holding,
    nth_conversation_id,
    nth_object,
    objects_up_to,
    place_of_line,
)
from shared.errors import InvalidDataset

PIECES = st.sampled_from([b"\n", b"\r\n", b"{", b'{"a": 1}', b"needle", b"need", b"le", b"x" * 9])
FILES = st.lists(PIECES, max_size=30).map(b"".join)
quick = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything straddles a border somewhere."""
    monkeypatch.setattr(line_search, "_BLOCK_BYTES", 7)


def slowly(content: bytes) -> list[tuple[LinePlace, bytes]]:
    lines = content.split(b"\n")
    places, offset = [], 0
    for number, line in enumerate(lines, start=1):
        places.append((LinePlace(number, offset), line))
        offset += len(line) + 1
    return places[:-1] if lines[-1] == b"" else places


@quick
@given(content=FILES, number=st.integers(1, 12), start=st.integers(0, 5))
def test_every_search_finds_what_a_slow_look_finds(
    tmp_path: Path, content: bytes, number: int, start: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    lines = slowly(content)

    def nth(places: list[LinePlace]) -> LinePlace | None:
        return places[number - 1] if number <= len(places) else None

    assert place_of_line(path, number) == nth([place for place, _ in lines])
    objects = [place for place, line in lines if line.strip(b" \t\r").startswith(b"{")]
    assert nth_object(path, number) == nth(objects)
    assert objects_up_to(path, number) == sum(place.number <= number for place in objects)

    later = lines[start:]
    if later:
        found = lines_holding(path, [b"needle", b"xx{"], most=1000, start=later[0][0])
        assert found == [place for place, line in later if b"needle" in line or b"xx{" in line]


def test_no_more_lines_are_found_than_are_wanted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"needle\n" * 50)
    assert [place.number for place in lines_holding(path, [b"needle"], most=3)] == [1, 2, 3]


def test_conversations_are_counted_by_their_first_lines(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    ids = ["a", "b", "a", 'quo"ted', "c", "b"]
    lines = [json.dumps({"_meta": {}}), *(json.dumps({"conversation_id": own}) for own in ids)]
    path.write_text("\n".join(lines))

    found = [nth_conversation_id(path, count) for count in (1, 2, 3, 4, 5)]
    assert [None if item is None else (item[0].number, item[1]) for item in found] == [
        (2, b'"a"'),
        (3, b'"b"'),
        (5, b'"quo\\"ted"'),
        (6, b'"c"'),
        None,
    ]


def test_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="cannot be read"):
        place_of_line(tmp_path / "gone", 1)
