from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.errors import InvalidDataset, InvalidInput
from shared.lifecycle import JobStatus
from shared.store.store import Store
from tests.shared.dataset.documents import document, file_pair, file_pairs
from tests.shared.store.files import reference, stored_file
from tests.shared.store.journal import job_spec
from tui.commands.dataset_check import CheckOptions, check_files
from tui.commands.dataset_list import forget_dataset, list_datasets
from tui.commands.dataset_record import record_checks
from tui.services.dataset_check import CheckSettings

EVIL = "\x1b]52;c;cm0=\x07[red]\u202e\r\n"


async def test_an_empty_list_says_what_to_do(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await list_datasets(as_json=False) == 0

    assert "`brightrun dataset check FILE` looks into one" in capsys.readouterr().err


async def test_a_file_is_a_row_with_its_counts_and_jobs(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"error": {"blank_target": 1}, "warning": {"cut_target": 2}, "note": {"x": 3}}
    file = stored_file(targets=6, errors=1, warnings=2, finding_counts=counts)
    await store.training_files.record(file)
    await store.add_job(job_spec(dataset=reference("a")), "local")

    assert await list_datasets(as_json=False) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["NAME", "HASH", "SIZE", "CONVERSATIONS"]
    for part in ("train.json", "aaaaaaaaaaaa ", "10 B", "5 of 6", "900", "1 E, 2 W, 3 N", "gone"):
        assert part in row

    assert await list_datasets(as_json=True) == 0
    [shown] = json.loads(capsys.readouterr().out)
    assert (shown["sha256"], shown["targets"], shown["finding_counts"]) == ("a" * 64, 6, counts)
    assert shown["jobs"] == [{"job_id": "job-one", "name": "A job", "status": "queued"}]


async def test_a_name_cannot_steer_the_terminal(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    await store.training_files.record(stored_file(name=EVIL, path=EVIL, shape=EVIL))

    assert await list_datasets(as_json=False) == 0
    assert await list_datasets(as_json=True) == 0
    assert await forget_dataset("a") == 0

    out, err = capsys.readouterr()
    assert "[red]" in out
    assert not set(out + err) & {"\x1b", "\x07", "\u202e", "\r"}


async def test_forgetting_leaves_the_file_and_is_refused_while_a_job_needs_it(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "train.json"
    path.write_text("{}")
    await store.training_files.record(stored_file(path=str(path)))
    await store.add_job(job_spec(dataset=reference("a")), "local")

    with pytest.raises(InvalidInput, match="in use by job-one"):
        await forget_dataset("aaaa")
    await store.settle_job("job-one", JobStatus.FAILED, "no.")
    assert await forget_dataset("aaaa") == 0

    assert "train.json (aaaaaaaaaaaa) is forgotten" in capsys.readouterr().out
    assert path.read_text() == "{}"
    with pytest.raises(InvalidDataset, match="no training file has the hash"):
        await forget_dataset("aaaa")


def check(*paths: Path) -> int:
    return check_files(CheckOptions(paths, CheckSettings("tiny")))


def test_a_check_is_written_down_also_with_errors_and_says_what_changed(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, broken = tmp_path / "train.json", tmp_path / "broken.json"
    path.write_text(json.dumps(document(a=file_pairs("Hi", "Hello."), b=file_pairs("Hm", "Yes?"))))
    broken.write_text("nothing that can be read")
    assert check(path, broken) == 2
    assert "has changed" not in capsys.readouterr().err

    path.write_text(json.dumps(document(a=[file_pair(1, "Hi", target="  ")])))
    assert check(path) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "has changed since it was checked on 20" in err
    assert "conversations 2 -> 1, turns 4 -> 1, targets 2 -> 1" in err
    assert "errors 0 -> 1" in err


def test_a_store_that_cannot_be_used_does_not_fail_the_check(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir()
    (home / "brightrun.db").write_bytes(b"not a database" * 500)
    path = tmp_path / "train.json"
    path.write_text(json.dumps(document(a=file_pairs("Hi", "Hello."))))

    assert check(path) == 0

    assert "not written down: " in capsys.readouterr().err
    record_checks(())
