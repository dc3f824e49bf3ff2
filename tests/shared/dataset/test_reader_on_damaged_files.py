"""Whatever is done to a file, it is read or it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.dataset.checks import check_dataset
from shared.dataset.reader import read_dataset
from shared.dataset.sample import SAMPLE_JSON, SAMPLE_JSONL
from shared.errors import InvalidDataset
from tests.shared.dataset.documents import document, file_pairs, jsonl

damage = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the same file, written anew
)

ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def is_read(path: Path, content: bytes) -> bool:
    """True if it was read and checked, False if it was refused; anything else is an error."""
    path.write_bytes(content)
    try:
        check_dataset(read_dataset(path), max_seq_length=4096)
    except InvalidDataset:
        return False
    return True


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside `value`."""
    found = [path]
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            found += places(value[key], (*path, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of `value` with `new` at `path`."""
    if not path:
        return new
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = replaced(value[key], tuple(rest), new)
    return copy


DOCUMENT = document(a=file_pairs("Hi", "Hello 🚀", "Well?", "Fine"), b=file_pairs("Yes", "½"))
LINES = [json.loads(line) for line in jsonl(a=file_pairs("Hi", "Hello", "Well?", "F")).split("\n")]


@pytest.mark.parametrize("sample", [SAMPLE_JSON, SAMPLE_JSONL])
def test_a_sample_cut_at_any_byte_is_read_or_refused(tmp_path: Path, sample: Path) -> None:
    content = sample.read_bytes()

    @damage
    @given(st.integers(0, len(content) - 1))
    def cut(length: int) -> None:
        was_read = is_read(tmp_path / "cut.json", content[:length])
        ends_a_line = content[length : length + 1] == b"\n"
        assert was_read == (sample is SAMPLE_JSONL and (ends_a_line or content[length - 1] == 10))

    cut()


@damage
@given(st.data())
def test_any_value_in_any_place_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(DOCUMENT)))
    changed = replaced(DOCUMENT, place, data.draw(ANY_VALUE))
    is_read(tmp_path / "changed.json", json.dumps(changed).encode())


@damage
@given(st.data())
def test_any_value_in_any_line_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(LINES)[1:]))
    changed = replaced(LINES, place, data.draw(ANY_VALUE))
    text = "\n".join(map(json.dumps, changed))
    is_read(tmp_path / "changed.jsonl", text.encode())


@damage
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_is_read_or_refused(tmp_path: Path, position: int, mask: int) -> None:
    content = bytearray(json.dumps(DOCUMENT, ensure_ascii=False).encode())
    content[position % len(content)] ^= mask
    is_read(tmp_path / "flipped.json", bytes(content))
