"""A base model that is made here appears once and whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.trainer.models.built_models import build_once


def write(directory: Path, text: str) -> None:
    (directory / "config.json").write_text(text)


def test_it_is_built_at_the_first_call_only(tmp_path: Path) -> None:
    made = build_once(tmp_path / "models" / "tiny", lambda folder: write(folder, "first"))
    again = build_once(tmp_path / "models" / "tiny", lambda folder: write(folder, "second"))
    assert made == again
    assert (made / "config.json").read_text() == "first"


def test_of_two_that_build_at_once_the_first_to_finish_wins(tmp_path: Path) -> None:
    def build_late(folder: Path) -> None:
        build_once(tmp_path / "tiny", lambda other: write(other, "other"))
        write(folder, "late")

    made = build_once(tmp_path / "tiny", build_late)
    assert (made / "config.json").read_text() == "other"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        write(folder, "half")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        build_once(tmp_path / "tiny", build)
    assert list(tmp_path.iterdir()) == []
