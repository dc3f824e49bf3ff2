"""The registry of training files: what was checked here, by its content."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.dataset.findings import Finding, Severity
from shared.dataset.report import DatasetReport, Group, LengthDistribution, OverLongRow
from shared.errors import InvalidDataset, InvalidInput
from shared.lifecycle import JobStatus
from shared.store.store import Store, open_store
from shared.store.stored import FileUse, MergedSource
from tests.shared.store.earlier_version import database_at
from tests.shared.store.files import reference, stored_file
from tests.shared.store.journal import BEGIN, job_spec

FINDING = Finding(Severity.ERROR, "blank_target", "blank.", "Write it.", "c1", 2, "line 3", "''")
REPORT = DatasetReport(
    shape="by hand",
    conversations=3,
    turns=12,
    targets=6,
    trained_targets=5,
    rows=3,
    tokens=900,
    longest_tokens=400,
    tokens_are_estimated=True,
    findings=(FINDING,),
    finding_counts={Severity.ERROR: {"blank_target": 1}},
    lengths=LengthDistribution(100, (0, 2, 1), 200, 300, 400),
    personas=(Group("worrier", 3, 6, 900),),
    over_long=(OverLongRow("c1", "line 1", 5000, 904, (10, 12), (8,)),),
    row_targets=(2, 2, 1),
)


async def test_a_checked_file_is_remembered_by_its_content(store: Store) -> None:
    file = stored_file(
        shape="by hand",
        targets=6,
        longest_tokens=400,
        base_model="tiny",
        tokens_are_estimated=True,
        finding_counts={"warning": {"cut_target": 1}},
        merged_from=(MergedSource("b" * 64, "b.json"), MergedSource("c" * 64, "c.json")),
    )

    await store.training_files.record(file, REPORT)
    await store.training_files.record(file, REPORT)

    assert await store.training_files.all() == [file]
    assert await store.training_files.report(file.sha256) == REPORT


async def test_a_report_of_another_version_is_unknown_and_no_error(
    store: Store, database: Path
) -> None:
    await store.training_files.record(stored_file(), REPORT)
    with sqlite3.connect(database) as raw:
        raw.execute("""UPDATE training_files SET report = '{"shape": 8}'""")
    raw.close()

    assert await store.training_files.report("a" * 64) is None


async def test_of_a_long_report_only_the_worst_findings_are_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.store.training_files._MOST_FINDINGS", 2)
    monkeypatch.setattr("shared.store.training_files._MOST_ROWS", 2)
    findings = tuple(replace(FINDING, turn=turn) for turn in range(5))
    await store.training_files.record(stored_file(), replace(REPORT, findings=findings))

    kept = await store.training_files.report("a" * 64)

    assert kept is not None
    assert [finding.turn for finding in kept.findings] == [0, 1]
    assert (kept.count(Severity.ERROR), kept.rows, kept.row_targets) == (1, 3, ())


async def test_the_last_checked_file_comes_first(store: Store) -> None:
    for hour, letter in enumerate("bac"):
        later = BEGIN + timedelta(hours=hour)
        await store.training_files.record(stored_file(letter, path=letter, checked_at=later))

    assert [file.sha256[0] for file in await store.training_files.all()] == ["c", "a", "b"]


async def test_what_a_path_held_before_is_kept_only_if_a_job_was_given_it(store: Store) -> None:
    await store.add_job(job_spec(dataset=reference("a")), "local")
    for hour, letter in enumerate("abc"):
        later = BEGIN + timedelta(hours=hour)
        await store.training_files.record(stored_file(letter, checked_at=later))

    assert [file.sha256[0] for file in await store.training_files.all()] == ["c", "a"]
    found = await store.training_files.at_path("/data/train.json")
    assert (found.sha256[0] if found else None) == "c"
    assert await store.training_files.at_path("/data/other.json") is None


async def test_a_file_is_found_by_the_beginning_of_its_hash_if_only_one_fits(store: Store) -> None:
    for letter in ("a", "b"):
        sha256 = f"{letter}1" + letter * 62
        await store.training_files.record(stored_file(sha256=sha256, path=letter))
    await store.training_files.record(stored_file("a", path="c"))

    assert (await store.training_files.find("A1")).path == "a"
    assert (await store.training_files.find("b")).path == "b"
    with pytest.raises(InvalidDataset, match=r"fits several files: a.*Type more"):
        await store.training_files.find("a")
    for unknown in ("", "c", "%"):
        with pytest.raises(InvalidDataset, match="no training file has the hash"):
            await store.training_files.find(unknown)


async def test_the_jobs_that_were_given_a_file_are_known_newest_first(store: Store) -> None:
    for job_id, letter in (("job-one", "a"), ("job-two", "b"), ("job-three", "a")):
        await store.add_job(job_spec(job_id, dataset=reference(letter)), "local")
    await store.settle_job("job-one", JobStatus.FAILED, "no.")

    assert await store.training_files.uses() == {
        "a" * 64: [
            FileUse("job-three", "A job", JobStatus.QUEUED),
            FileUse("job-one", "A job", JobStatus.FAILED),
        ],
        "b" * 64: [FileUse("job-two", "A job", JobStatus.QUEUED)],
    }


async def test_a_file_is_forgotten_only_once_its_jobs_have_ended(store: Store) -> None:
    await store.training_files.record(stored_file())
    await store.add_job(job_spec(dataset=reference("a")), "local")

    with pytest.raises(InvalidInput, match="in use by job-one: wait for the end"):
        await store.training_files.forget("a" * 64)
    assert len(await store.training_files.all()) == 1

    await store.settle_job("job-one", JobStatus.CANCELLED, "not wanted.")
    await store.training_files.forget("a" * 64)
    assert await store.training_files.all() == []


async def test_a_database_from_before_the_registry_keeps_its_files(database: Path) -> None:
    file = stored_file()
    with database_at(database, "0002") as connection:
        connection.execute(
            text(
                "INSERT INTO training_files (sha256, name, path, size_bytes, conversations, turns,"
                " trained_targets, tokens, errors, warnings, checked_at) VALUES (:sha256, :name,"
                " :path, 10, 3, 12, 5, 900, 0, 1, '2026-11-22 15:00:00.000000')"
            ),
            {"sha256": file.sha256, "name": file.name, "path": file.path},
        )

    async with open_store(database) as store:
        assert await store.training_files.all() == [file]
        assert await store.training_files.report(file.sha256) is None
        await store.training_files.record(replace(file, targets=6), REPORT)
        assert await store.training_files.all() == [replace(file, targets=6)]
