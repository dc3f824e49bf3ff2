from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shared.dataset.merge import Merged, merge
from shared.dataset.reader import open_training_file, read_dataset
from shared.dataset.sample import SAMPLE_JSON, SAMPLE_JSONL
from shared.errors import InvalidDataset, InvalidInput
from tests.shared.dataset.documents import document, file_pairs, jsonl

TALK = ("Hi", "Hello", "Well?", "Fine")
OTHER = ("Hi", "Good day")


def write(path: Path, content: str | dict[str, Any]) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def merged(target: Path, *paths: Path) -> Merged:
    return merge([open_training_file(path) for path in paths], target)


def ids(path: Path) -> list[str]:
    return [item.conversation_id for item in read_dataset(path).conversations]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_conversation_that_stands_in_two_files_is_kept_once(suffix: str, tmp_path: Path) -> None:
    one = write(tmp_path / "one.json", document(a=file_pairs(*TALK)))
    chat = {"messages": [{"role": "system", "content": "Be kind."}]}
    for role, text in zip(("user", "assistant") * 2, TALK, strict=True):
        chat["messages"].append({"role": role, "content": text})
    two = write(tmp_path / "two.jsonl", json.dumps(chat))
    three = write(tmp_path / "three.jsonl", jsonl(x=file_pairs(*OTHER), y=file_pairs(*OTHER)))
    target = tmp_path / f"out{suffix}"

    found = merged(target, one, two, three)

    assert (found.conversations, found.targets) == (2, 3)
    assert ids(target) == ["a", "x"]
    assert [
        (each.left_out.path, each.left_out.location, each.kept.conversation_id)
        for each in found.duplicates
    ] == [(two, "line 1", "a"), (three, "line 3", "x")]
    assert found.renamed == ()


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_two_conversations_with_one_id_get_ids_of_their_own(suffix: str, tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "1.json", document(a=file_pairs(*TALK))),
        write(tmp_path / "2.json", document(**{"a-2": file_pairs("Hm", "Yes")})),
        write(tmp_path / "3.jsonl", jsonl(a=file_pairs(*OTHER))),
    ]
    target = tmp_path / f"out{suffix}"

    found = merged(target, *paths)

    assert ids(target) == ["a", "a-2", "a-3"]
    [renamed] = found.renamed
    assert (renamed.place.path, renamed.place.conversation_id, renamed.new_id) == (
        paths[2],
        "a",
        "a-3",
    )


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_the_same_files_in_the_same_order_give_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    other = write(tmp_path / "other.json", document(a=file_pairs(*TALK)))
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        found = merged(tmp_path / folder / f"set{suffix}", SAMPLE_JSON, SAMPLE_JSONL, other)
        assert (found.conversations, len(found.duplicates)) == (29, 28)
    first, second = (tmp_path / folder / f"set{suffix}" for folder in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_the_head_is_the_first_files(tmp_path: Path) -> None:
    paths = []
    for number, talk in enumerate((TALK, OTHER)):
        content = document(**{f"c{number}": file_pairs(*talk)})
        content["training_file_metadata"] |= {"created_date": number, "quality_summary": {}}
        content |= {"consultant_profile": {"name": number}, f"extra{number}": 1}
        paths.append(write(tmp_path / f"{number}.json", content))

    found = merged(tmp_path / "out.json", *paths)

    head = json.loads((tmp_path / "out.json").read_text())
    metadata = head["training_file_metadata"]
    assert (metadata["file_name"], metadata["created_date"]) == ("out", 0)
    assert (metadata["total_conversations"], metadata["total_training_pairs"]) == (2, 6)
    assert "quality_summary" not in metadata
    assert (head["consultant_profile"], head["extra0"], head["extra1"]) == ({"name": 0}, 1, 1)
    assert [note for note in found.notes if "differ" in note] == [
        'The files differ in "consultant_profile"; the first one\'s is kept.'
    ]


def test_a_broken_file_or_a_wrong_name_leaves_nothing_behind(tmp_path: Path) -> None:
    one = write(tmp_path / "1.json", document(a=file_pairs(*TALK)))
    two = write(tmp_path / "2.jsonl", jsonl(b=file_pairs(*TALK)) + "\n{")
    with pytest.raises(InvalidDataset, match=r"2\.jsonl: line 4"):
        merged(tmp_path / "out.jsonl", one, two)
    with pytest.raises(InvalidInput, match="ends in"):
        merged(tmp_path / "out.txt", one)
    with pytest.raises(InvalidInput, match="is there already"):
        merged(one, one)
    assert sorted(os.listdir(tmp_path)) == ["1.json", "2.jsonl"]
