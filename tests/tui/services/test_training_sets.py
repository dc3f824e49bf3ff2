"""Several training files as one set, named by its content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.dataset.reader import read_dataset
from shared.errors import InvalidDataset
from shared.job_spec import DatasetReference
from tests.shared.dataset.documents import document, file_pairs, jsonl
from tui.services.training_sets import make_training_set, merged_in_words, set_name


@pytest.fixture
def two_files(tmp_path: Path) -> list[Path]:
    """Four conversations, one of which stands in both files under another id."""
    first, second = tmp_path / "first.json", tmp_path / "second.jsonl"
    both = file_pairs("What shall we do?", "We shall wait for a day or two.")
    first.write_text(json.dumps(document(a=file_pairs("Hi", "Hello."), b=both)))
    second.write_text(jsonl(a=file_pairs("Good day", "The same to you."), c=both))
    return [first, second]


def test_a_set_holds_each_conversation_once_and_is_named_by_its_content(
    two_files: list[Path], tmp_path: Path
) -> None:
    made = make_training_set(two_files, tmp_path / "sets")

    assert made.path.name == "first+second.jsonl"
    assert made.path.parent.name == DatasetReference.of(made.path).sha256
    assert [source.name for source in made.sources] == ["first.json", "second.jsonl"]
    assert made.sources[0].sha256 == DatasetReference.of(two_files[0]).sha256
    assert len(read_dataset(made.path).conversations) == 3
    assert merged_in_words(made) == (
        "first+second.jsonl: 3 conversations of 2 files, 1 duplicate left out, "
        "1 conversation got another id."
    )


def test_the_same_files_are_the_same_set_and_another_order_is_another(
    two_files: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "sets"
    made = make_training_set(two_files, folder)

    assert make_training_set(two_files, folder) == made
    assert make_training_set(two_files[::-1], folder).path != made.path
    assert len(list(folder.iterdir())) == 2  # Nothing half made is left.


def test_one_file_named_twice_is_a_mistake(two_files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="named twice"):
        make_training_set([two_files[0], two_files[0]], tmp_path / "sets")


def test_a_set_that_cannot_be_made_leaves_nothing_behind(
    two_files: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "sets"
    (tmp_path / "broken.json").write_text('{"training_file_metadata": {}, "conversations": [')

    with pytest.raises(InvalidDataset, match=r"broken\.json"):
        make_training_set([*two_files, tmp_path / "broken.json"], folder)
    assert list(folder.iterdir()) == []

    (tmp_path / "in the way").write_text("")
    with pytest.raises(InvalidDataset, match="cannot be written"):
        make_training_set(two_files, tmp_path / "in the way")


def test_the_name_says_what_it_is_made_of() -> None:
    assert set_name([Path("a.json"), Path("/x/b.jsonl")]) == "a+b.jsonl"
    many = [Path(f"a-rather-long-name-of-a-file-{number}.json") for number in range(9)]
    assert set_name(many) == "a-rather-long-name-of-a-file-0+8 more.jsonl"
    assert set_name([Path("\x1b[31m\n.json"), Path("b")]) == "file+b.jsonl"
