from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.dataset.writing.new_file import new_file
from shared.errors import InvalidInput


def test_a_file_appears_whole_and_alone(tmp_path: Path) -> None:
    with new_file(tmp_path / "f.txt") as file:
        file.write(b"all of it")
        assert not (tmp_path / "f.txt").exists()
    assert (tmp_path / "f.txt").read_bytes() == b"all of it"
    assert os.listdir(tmp_path) == ["f.txt"]


def test_after_an_error_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "f.txt") as file:
        file.write(b"half of it")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("first")
    with (
        pytest.raises(InvalidInput, match="is there already"),
        new_file(tmp_path / "f.txt"),
    ):
        pytest.fail("nothing is to be written")
    assert (tmp_path / "f.txt").read_text() == "first"


def test_a_file_that_appears_meanwhile_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is there already"), new_file(tmp_path / "f") as file:
        file.write(b"second")
        (tmp_path / "f").write_text("first")
    assert (tmp_path / "f").read_text() == "first"
    assert os.listdir(tmp_path) == ["f"]


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "f").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="is there already"), new_file(tmp_path / "f"):
        pytest.fail("nothing is to be written")


@pytest.mark.parametrize("name", ["missing/f.txt", "..", "/"])
def test_a_name_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput), new_file(tmp_path / name) as file:
        file.write(b"x")
