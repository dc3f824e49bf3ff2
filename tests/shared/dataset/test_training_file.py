"""Reading goes on behind what cannot be read, and keeps no text."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.dataset.conversation import Declared
from shared.dataset.findings import Finding, Severity, UnreadableDataset
from shared.dataset.reader import open_training_file, read_dataset
from shared.dataset.sample import SAMPLE_JSON, SAMPLE_JSONL
from shared.errors import InvalidDataset
from tests.shared.dataset.documents import document, file_pair, file_pairs, jsonl

TALK = ("Hi", "Hello", "Well?", "Fine")


def read_on(path: Path) -> tuple[list[str], list[Finding]]:
    """The ids of what can be read, and what cannot."""
    problems: list[Finding] = []
    found = open_training_file(path).conversations(problems.append)
    return [item.conversation_id for item in found], problems


def write(path: Path, content: str | dict[str, Any]) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return path


@pytest.mark.parametrize("sample", [SAMPLE_JSON, SAMPLE_JSONL])
def test_a_stream_gives_what_the_whole_file_gives(sample: Path) -> None:
    file = open_training_file(sample)
    assert tuple(file.conversations()) == read_dataset(sample).conversations
    assert file.size_bytes == sample.stat().st_size


def test_behind_a_broken_line_reading_goes_on(tmp_path: Path) -> None:
    meta, a2, a4, b2, b4 = jsonl(a=file_pairs(*TALK), b=file_pairs(*TALK)).split("\n")
    text = "\n".join([meta, a2, a4[:-9], b2, "[1]", b4, '{"id": "x"}'])
    ids, problems = read_on(write(tmp_path / "f.jsonl", text))
    assert ids == ["a", "b"]
    assert [(item.code, item.location) for item in problems] == [
        ("invalid_json", f"line 3, column {len(a4) - 9 + 1}"),
        ("not_an_object", "line 5"),
        ("missing_field", "line 7"),
    ]
    assert all(item.severity is Severity.ERROR for item in problems)


def test_behind_a_broken_pair_or_conversation_reading_goes_on(tmp_path: Path) -> None:
    pairs = file_pairs(*TALK)
    broken = [pairs[0], file_pair(2, "Hi", target="Hello", current_user_input=7), *pairs[2:]]
    content = document(a=broken, b=pairs)
    content["conversations"].insert(1, {"training_pairs": []})
    ids, problems = read_on(write(tmp_path / "f.json", content))
    assert ids == ["a", "b"]
    assert [item.location for item in problems] == [
        "conversations[0].training_pairs[1]",
        "conversations[1]",
    ]


def test_invalid_json_ends_a_document_behind_what_could_be_read(tmp_path: Path) -> None:
    text = json.dumps(document(a=file_pairs(*TALK), b=file_pairs(*TALK)))
    ids, [problem] = read_on(write(tmp_path / "f.json", text[: text.rindex('"target_response"')]))
    assert ids == ["a"]
    assert problem.code == "invalid_json"
    assert problem.snippet


def test_text_behind_a_document_is_a_problem_of_its_own(tmp_path: Path) -> None:
    content = json.dumps(document(a=file_pairs(*TALK))) + "\n\n```"
    ids, [problem] = read_on(write(tmp_path / "f.json", content))
    assert ids == ["a"]
    assert (problem.code, problem.location) == ("trailing_text", "line 3, column 1")
    assert "dataset fix" in problem.advice


def test_a_byte_that_is_not_utf8_costs_only_its_line(tmp_path: Path) -> None:
    text = jsonl(a=file_pairs(*TALK), b=file_pairs("Hi", "Caf\xe9", "Well?", "Fine"))
    path = tmp_path / "f.jsonl"
    path.write_bytes(text.encode().replace("\xe9".encode(), b"\xe9", 1))
    ids, [problem] = read_on(path)
    assert ids == ["a", "b"]
    assert problem.code == "not_utf8"
    assert "byte 0xe9" in problem.message


def test_without_anybody_to_tell_the_first_problem_is_raised(tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", '{"messages": 3}\n{"messages": []}')
    found = open_training_file(write(path, '{"messages": []}\n{"messages": 3}')).conversations()
    next(found)
    with pytest.raises(UnreadableDataset, match=r'f\.jsonl: line 2: "messages" must be a list'):
        next(found)


def test_what_the_metadata_says_is_known_at_the_end(tmp_path: Path) -> None:
    content = document(a=file_pairs(*TALK))
    content["training_file_metadata"] |= {
        "total_conversations": 1,
        "total_training_pairs": 4,
        "scaffolding_distribution": {"personas": {"planner": 1, "avoider": "x"}, "arcs": []},
    }
    file = open_training_file(write(tmp_path / "f.json", content))
    assert len(list(file.conversations())) == 1
    assert file.declared == Declared(1, 4, {"planner": 1})


def test_progress_ends_with_all_bytes_done() -> None:
    for sample in (SAMPLE_JSON, SAMPLE_JSONL):
        done: list[int] = []
        list(open_training_file(sample).conversations(on_progress=done.append))
        assert done == sorted(done)
        assert 0.9 < done[-1] / sample.stat().st_size <= 1


def test_a_stream_of_lines_keeps_no_text(tmp_path: Path) -> None:
    def long_lines(scattered: bool) -> Iterator[str]:
        yield json.dumps({"_meta": {}})
        for number in range(60):
            pair = file_pair(2, "word " * 10_000, target="Fine")
            name = str(number % 20 if scattered else number)
            yield json.dumps({**pair, "conversation_id": name})

    for scattered in (False, True):
        path = tmp_path / f"{scattered}.jsonl"
        path.write_text("\n".join(long_lines(scattered)))
        tracemalloc.start()
        try:
            count = sum(1 for _ in open_training_file(path).conversations())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert count == (20 if scattered else 60)
        assert peak < path.stat().st_size / 3


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    long = ("word " * 200_000, "Fine")
    path = write(tmp_path / "f.jsonl", jsonl(a=file_pairs(*long), b=file_pairs(*long)))
    found = open_training_file(path).conversations()
    next(found)
    path.write_text("")
    with pytest.raises(InvalidDataset, match="changed while it was read"):
        list(found)
