"""Paths complete as in a shell, and never to something that was not meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.store.store import Store
from shared.store.stored import StoredFile
from tests.shared.store.journal import BEGIN
from tui.services.path_completion import (
    complete_base_model,
    complete_dataset,
    complete_known,
    recent_files,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "train-more").mkdir(parents=True)
    for name in ("train.json", "train.jsonl", "text.md", "tall\u202eevil.json", "x\x1b.json"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("t", "train-more/"),
        ("train.", "train.json"),
        ("train.json", None),  # A file already: its longer namesake must not take its place.
        ("train.jsonl", None),
        ("train-m", "train-more/"),
        ("train-more", "train-more/"),
        ("tex", None),
        ("tall", None),
        ("x", None),
        ("nothing", None),
        ("", None),
    ],
)
def test_a_training_file_completes(folder: Path, typed: str, completed: str | None) -> None:
    expected = None if completed is None else f"{folder}/{completed}"

    assert complete_dataset(f"{folder}/{typed}", ()) == expected


def test_a_known_file_comes_first(folder: Path) -> None:
    known = (f"{folder}/t\x1b.json", f"{folder}/traces/old.json")

    assert complete_dataset(f"{folder}/t", known) == known[1]
    assert complete_dataset(f"{folder}/train.json", [f"{folder}/train.jsonl"]) is None


def test_a_tilde_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))

    assert complete_dataset("~", ()) == "~/"
    assert complete_dataset("~/train.", ()) == "~/train.json"


@pytest.mark.parametrize("typed", ["a\0b", "~nobody-of-that-name/x", "/dev/null/x", "\udcff/x"])
def test_an_impossible_path_completes_to_nothing(typed: str) -> None:
    assert complete_dataset(typed, ()) is None
    assert complete_base_model(typed, ()) is None


def test_a_base_model_completes_to_a_known_name_or_a_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    known = ("tiny", "smollm2")

    assert complete_base_model("t", known) == "tiny"
    assert complete_base_model("tiny", known) is None
    assert complete_base_model("train", known) is None
    assert complete_base_model("./train", known) == "./train-more/"


async def test_recent_files_are_those_that_are_still_there(store: Store, folder: Path) -> None:
    for number, name in enumerate(("train.json", "gone.json", "train.jsonl")):
        await store.training_files.record(
            StoredFile(
                sha256=str(number) * 64,
                name=name,
                path=str(folder / name),
                size_bytes=1,
                conversations=1,
                turns=1,
                trained_targets=1,
                tokens=1,
                errors=0,
                warnings=0,
                checked_at=BEGIN.replace(hour=number),
            )
        )

    assert await recent_files(store) == [f"{folder}/train.jsonl", f"{folder}/train.json"]


def test_a_known_text_completes_unless_it_is_typed_whole() -> None:
    known = ["ssh:lab", "ssh:lab-2", "ssh:\x1bx"]

    assert complete_known("ssh:l", known) == "ssh:lab"
    assert complete_known("ssh:lab", known) is None
    assert complete_known("ssh:lab-", known) == "ssh:lab-2"
    assert complete_known("ssh:\x1b", known) is None
