"""Whatever is done to a file, it is read or it is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.dataset.checks.checker import check_dataset
from shared.dataset.findings import Finding, Severity
from shared.dataset.reader import open_training_file, read_dataset
from shared.dataset.sample import SAMPLE_JSON, SAMPLE_JSONL
from shared.errors import InvalidDataset
from tests.shared.dataset.documents import document, file_pairs, jsonl

damage = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the same file, written anew
)

ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def is_read(path: Path, content: bytes) -> bool:
    """True if it was read and checked, False if it was refused; anything else is an error.

    A stream that goes on behind what cannot be read finds something exactly where a strict reading
    is refused.
    """
    path.write_bytes(content)
    problems: list[Finding] = []
    try:
        list(open_training_file(path).conversations(problems.append))
    except InvalidDataset as error:
        assert str(path) in str(error)
        problems.append(Finding(Severity.ERROR, "refused", str(error), ""))
    assert all(problem.message for problem in problems)
    try:
        check_dataset(read_dataset(path), max_seq_length=4096)
    except InvalidDataset:
        assert problems
        return False
    assert not problems
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
CHAT = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": [{"type": "text", "text": "Hello"}], "weight": 1},
]
CHATS = [
    {"messages": CHAT},
    {"conversations": [{"from": "human", "value": "½"}, {"from": "gpt", "value": "🚀"}]},
    {"conversation_id": "a", "turns": CHAT[:1], "metadata": {"persona": "b"}},
]
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


@damage
@given(st.data())
def test_any_value_in_any_chat_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    chat = data.draw(st.sampled_from(CHATS))
    changed = replaced(chat, data.draw(st.sampled_from(places(chat))), data.draw(ANY_VALUE))
    content = data.draw(st.sampled_from([json.dumps, lambda it: json.dumps([it, it], indent=2)]))
    is_read(tmp_path / "chats.jsonl", f"{content(changed)}\n".encode() * 2)


@damage
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    assert not is_read(tmp_path / "any.json", content)


WHOLE = json.dumps(DOCUMENT, ensure_ascii=False).encode()


DAMAGES = {
    "gzip": gzip.compress(WHOLE),
    "UTF-16": WHOLE.decode().encode("utf-16"),
    "UTF-32": WHOLE.decode().encode("utf-32"),
    "NUL in a text": WHOLE.replace(b"Hello", b"He\x00llo"),
    "Latin-1": WHOLE.replace("½".encode(), b"\xbd"),
    "NUL at the end": WHOLE + b"\x00",
    "text at the end": WHOLE + b"\n```\n",
    "twice": WHOLE + WHOLE,
    "huge number": WHOLE.replace(b"2,", b"9" * 5000 + b",", 1),
    "deep nesting": WHOLE.replace(b"null", b"[" * 100_000, 1),
    "cut list": b'{"messages": [' + b'{"role": "user", "content": "a"},' * 3,
    "only a mark": b"\xff\xfe",
    "endless text": b'"' + b"a" * 1_000_000,
}


@pytest.mark.parametrize("content", DAMAGES.values(), ids=DAMAGES)
def test_what_happens_to_real_files_is_refused(tmp_path: Path, content: bytes) -> None:
    assert is_read(tmp_path / "whole.json", WHOLE)
    assert not is_read(tmp_path / "damaged.json", content)


@pytest.mark.parametrize("number", ["1e400", "-0.0", "1E-400", "NaN", "Infinity", "123456789" * 9])
def test_numbers_that_nobody_uses_do_no_harm(tmp_path: Path, number: str) -> None:
    text = WHOLE.decode().replace('"turn_number": 2', f'"turn_number": {number}')
    assert number in text
    assert is_read(tmp_path / "numbers.json", text.encode())
