"""A map of hashes that must say the same as a dict, in a sixth of the memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dataset.checks.seen import SeenHashes


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.text(max_size=2), st.integers(0, 2**32 - 1))))
def test_it_remembers_what_a_dict_does(entries: list[tuple[str, int]]) -> None:
    seen, expected = SeenHashes(), dict[str, int]()
    for text, number in entries:
        assert seen.first(text, number) == expected.get(text)
        expected.setdefault(text, number)
    assert len(seen) == len(expected)


def test_it_forgets_nothing_when_it_grows() -> None:
    seen = SeenHashes()
    for number in range(5000):
        assert seen.first(f"text {number}", number) is None
    assert len(seen) == 5000
    assert all(seen.first(f"text {number}", 0) == number for number in range(5000))
