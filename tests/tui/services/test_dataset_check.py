"""The check of a file as a stream: reports, progress, and what is between files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.dataset.checks.checker import check_dataset
from shared.dataset.findings import Severity
from shared.dataset.reader import read_dataset
from shared.dataset.sample import SAMPLE_JSON
from tests.shared.dataset.documents import document, file_pairs, jsonl
from tui.services.dataset_check import (
    NOT_READABLE,
    CheckedFile,
    CheckSettings,
    check_training_file,
    compare_files,
)

SETTINGS = CheckSettings("tiny")
LONG = [
    " ".join(f"{word}{turn}" for word in ("money", "worry", "plan", "calm", "step", "week") * 4)
    for turn in range(6)
]


def check(path: Path, content: str | bytes | None = None) -> CheckedFile:
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return check_training_file(path, SETTINGS, None)


def test_a_stream_gives_the_report_that_the_whole_file_gives() -> None:
    assert check(SAMPLE_JSON).report == check_dataset(
        read_dataset(SAMPLE_JSON), max_seq_length=4096
    )


def test_the_report_is_of_the_bytes_that_the_hash_names(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"

    file = check(path, jsonl(c1=file_pairs("Hi", "Hello.")))

    assert file.dataset is not None
    assert file.dataset.size_bytes == path.stat().st_size
    assert file.dataset.sha256 != check(path, jsonl(c1=file_pairs("Hi", "Bye."))).dataset


@pytest.mark.parametrize("content", [None, b"", b"\x1f\x8b\x08", b"{", b"[1, 2]"])
def test_a_file_that_cannot_be_read_is_a_report_of_one_error(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "train.json"

    file = check(path, content)

    (finding,) = file.report.findings
    assert file.report.shape == NOT_READABLE
    assert finding.severity is Severity.ERROR and finding.message
    assert str(path) not in finding.message
    assert (file.report.has_errors, file.dataset, file.contents) == (True, None, None)


def test_a_broken_line_is_an_error_and_the_others_are_counted(tmp_path: Path) -> None:
    lines = jsonl(c1=file_pairs("Hi", "Hello."), c2=file_pairs("Well?", "Yes.")).splitlines()

    file = check(tmp_path / "train.jsonl", "\n".join([*lines[:2], "{broken", *lines[2:]]))

    assert file.report.conversations == 2
    (broken,) = [item for item in file.report.findings if item.severity == "error"]
    assert (broken.location or "").startswith("line 3")


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps(document(c1=file_pairs("Hi", "Hello."))))

    def change(done: int, total: int) -> None:
        path.write_text(json.dumps(document(c1=file_pairs("Hi", "Hello, you."))))

    file = check_training_file(path, SETTINGS, None, change)

    assert "changed while it was read" in file.report.findings[0].message


def test_progress_grows_to_the_size_of_the_file(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    path = tmp_path / "train.jsonl"
    path.write_text(jsonl(**{f"c{n}": file_pairs("Hi", "Hello.") for n in range(50)}))

    check_training_file(path, SETTINGS, None, lambda done, total: told.append((done, total)))

    size = path.stat().st_size
    assert told == sorted(told)
    assert told[-1][0] in (size - 1, size)  # The last line may be told without its end.
    assert {total for _, total in told} == {size}


def test_what_is_trained_and_held_out_is_an_error_and_what_is_trained_twice_a_warning(
    tmp_path: Path,
) -> None:
    train = check(tmp_path / "a.json", json.dumps(document(c1=file_pairs(*LONG))))
    more = check(tmp_path / "b.jsonl", jsonl(other=file_pairs(*LONG)))
    held_out = check(tmp_path / "c.jsonl", jsonl(third=file_pairs(*LONG), new=file_pairs("a", "b")))

    leak, second_leak, repeat = compare_files([train, more], [held_out])

    assert (leak.file, leak.other) == (held_out, train)
    assert second_leak.other == more
    assert (repeat.file, repeat.other) == (more, train)
    assert [item.conversation_id for item in leak.findings] == ["third"]
    assert leak.finding_counts[Severity.ERROR] == {"leak_between_files": 1}
    assert repeat.findings[0].severity is Severity.WARNING


def test_files_without_anything_in_common_or_in_them_have_nothing_between_them(
    tmp_path: Path,
) -> None:
    train = check(tmp_path / "a.json", json.dumps(document(c1=file_pairs(*LONG))))
    other = check(tmp_path / "b.json", json.dumps(document(c2=file_pairs("Hi", "Hello."))))
    unreadable = check(tmp_path / "none.json")

    assert compare_files([train, unreadable], [other, unreadable]) == []
    assert compare_files([train], []) == []
