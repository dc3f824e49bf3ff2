"""What the registry says of training files, and of what has changed in them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from shared.store.store import Store
from shared.store.stored import FileUse, MergedSource
from tests.shared.dataset.documents import document, file_pairs
from tests.shared.store.files import stored_file
from tests.shared.store.journal import job_spec
from tui.services.dataset_check import CheckedFile, CheckSettings, check_training_file
from tui.services.dataset_registry import (
    FileState,
    change_words,
    count_changes,
    earlier_content,
    known_files,
    record_check,
    state_of,
)

OLD = stored_file(targets=6, longest_tokens=400, base_model="tiny")


def checked(path: Path, *names: str) -> CheckedFile:
    """A file of these conversations, as a check has just seen it."""
    talks = {name: file_pairs("Hi", "Hello.") for name in names}
    path.write_text(json.dumps(document(**talks)))
    return check_training_file(path, CheckSettings("tiny"), None)


def hash_of(checked: CheckedFile) -> str:
    assert checked.dataset is not None
    return checked.dataset.sha256


def test_only_counts_that_differ_are_named_with_both_numbers() -> None:
    new = replace(OLD, conversations=1, tokens=1_250, errors=2)

    assert count_changes(OLD, new) == [
        "conversations 3 -> 1",
        "tokens 900 -> 1,250",
        "errors 0 -> 2",
    ]
    assert count_changes(OLD, OLD) == []


def test_what_is_not_known_or_cannot_be_compared_is_not_called_a_change() -> None:
    assert count_changes(replace(OLD, targets=None, longest_tokens=None), OLD) == []
    other_model = replace(OLD, base_model="smollm2", tokens=700, longest_tokens=300)
    assert count_changes(OLD, other_model) == []
    assert count_changes(OLD, replace(OLD, tokens_are_estimated=True, tokens=700)) == []


def test_a_change_of_text_alone_is_called_so() -> None:
    words = change_words(OLD, replace(OLD, sha256="b" * 64))

    assert words.startswith("has changed since it was checked on 2026-11-22 ")
    assert words.endswith(": other texts, the same counts")


async def test_a_check_becomes_a_row_with_its_report(store: Store, tmp_path: Path) -> None:
    found = checked(tmp_path / "t.json", "a", "b")

    file = await record_check(store, found)

    assert await store.training_files.all() == [file]
    assert (file.conversations, file.turns, file.targets, file.trained_targets) == (2, 4, 2, 2)
    assert (file.name, file.path, file.base_model) == ("t.json", str(tmp_path / "t.json"), "tiny")
    assert await store.training_files.report(file.sha256) == found.report


async def test_checking_a_merged_set_again_keeps_what_it_was_made_of(
    store: Store, tmp_path: Path
) -> None:
    found = checked(tmp_path / "a+b.json", "a", "b")
    sources = (MergedSource("1" * 64, "a.json"), MergedSource("2" * 64, "b.json"))

    await record_check(store, found, sources)
    await record_check(store, found)

    assert [file.merged_from for file in await store.training_files.all()] == [sources]


async def test_a_file_that_changed_at_its_place_is_noticed(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    first = await record_check(store, checked(path, "a", "b"))
    assert await earlier_content(store, path, first.sha256) is None

    changed = checked(path, "a")

    assert await earlier_content(store, path, hash_of(changed)) == first
    assert await earlier_content(store, tmp_path / "other.json", first.sha256) is None


async def test_known_files_tell_their_jobs_and_whether_they_are_still_there(
    store: Store, tmp_path: Path
) -> None:
    gone, here = checked(tmp_path / "gone.json", "a"), checked(tmp_path / "here.json", "b")
    for item in (gone, here):
        await record_check(store, item)
    gone.path.unlink()
    job, _ = await store.add_job(job_spec(dataset=here.dataset), "local")

    assert [(known.file.name, known.state, known.jobs) for known in await known_files(store)] == [
        ("here.json", FileState.HERE, (FileUse(job.job_id, "A job", job.status),)),
        ("gone.json", FileState.GONE, ()),
    ]


async def test_a_file_that_was_written_to_since_may_have_changed(
    store: Store, tmp_path: Path
) -> None:
    file = await record_check(store, checked(tmp_path / "t.json", "a"))
    written_at = file.checked_at.timestamp()

    os.utime(file.path, (written_at + 5, written_at + 5))
    assert state_of(file) is FileState.MODIFIED
    os.utime(file.path, (written_at - 5, written_at - 5))
    assert state_of(file) is FileState.HERE
    assert state_of(replace(file, size_bytes=1)) is FileState.MODIFIED
    assert state_of(replace(file, path="nul\0")) is FileState.GONE
