"""All that is known of one training file, in lines of text."""

from __future__ import annotations

from dataclasses import replace

from shared.dataset.report import DatasetReport
from shared.lifecycle import JobStatus
from shared.store.stored import FileUse, MergedSource
from tests.shared.store.files import stored_file
from tui.services.dataset_registry import FileState, KnownFile
from tui.views.dataset_details import detail_lines, headline
from tui.views.dataset_row import dataset_row

EVIL = "\x1b]52;c;aGk=\x07\u202ee"
FILE = stored_file(name=f"t{EVIL}.json", shape="by hand", targets=6, base_model="tiny")
REPORT = DatasetReport("by hand", 3, 12, 6, 5, 3, 900, 400, False, (), max_seq_length=4096)


def page(known: KnownFile, report: DatasetReport | None, width: int = 80) -> str:
    lines = detail_lines(known, report, width)
    assert all("\n" not in line.plain for line in lines)
    return "\n".join(line.plain for line in lines)


def test_the_page_says_where_the_file_is_what_is_in_it_and_who_was_given_it() -> None:
    jobs = tuple(FileUse(f"job-{n}", f"n{EVIL}", JobStatus.FAILED) for n in range(10))
    known = KnownFile(FILE, FileState.HERE, jobs)

    shown = page(known, REPORT)

    assert headline(known).plain == "te.json  by hand · 10 B · aaaaaaaaaaaa"
    for name, value in (("file", "/data/train.json"), ("base model", "tiny"), ("turns", "12")):
        assert f"{name:<17}{value}" in shown
    assert "job-0  failed  ne" in shown
    assert "job-8" not in shown
    assert "… and 2 more" in shown
    assert "state" not in shown


def test_what_became_of_the_file_and_what_it_was_made_of_is_said() -> None:
    merged = replace(FILE, merged_from=(MergedSource("1" * 64, "a.json"), MergedSource("2", "b")))

    gone = page(KnownFile(merged, FileState.GONE), None)
    assert "merged from      a.json, b" in gone
    assert "is not there any more" in gone
    assert "checked by an earlier version: F5 tells the rest" in gone
    assert "F5 tells what has changed" in page(KnownFile(FILE, FileState.MODIFIED), REPORT)


def test_a_long_value_goes_on_below_itself() -> None:
    known = KnownFile(replace(FILE, path="/data/" + "long " * 20), FileState.HERE)

    lines = page(known, REPORT, 60).splitlines()

    assert lines[1].startswith(" " * 17 + "long")
    assert all(len(line) <= 60 for line in lines[:3])


def test_a_row_has_a_dash_where_nothing_was_found_and_about_where_tokens_are_estimated() -> None:
    row = dataset_row(
        KnownFile(replace(FILE, warnings=0, tokens_are_estimated=True), FileState.HERE)
    )

    assert (row.name, row.findings, row.tokens, row.targets) == ("te.json", "–", "~900", "5 of 6")
    assert (row.jobs, row.checked_or_state) == ("–", row.checked)
    merged = replace(FILE, merged_from=(MergedSource("1", "a"),) * 3, targets=None, tokens=None)
    row = dataset_row(KnownFile(merged, FileState.GONE))
    assert (row.shape, row.tokens, row.targets) == ("3 files merged", "–", "5")
    assert (row.findings, row.checked_or_state) == ("1 W", "gone")
