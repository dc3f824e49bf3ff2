"""`brightrun models` as it is typed, on jobs that a real local agent has run."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.tui.local_console import Console
from tui import exit_codes


@pytest.fixture
def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    """Two versions of `empathy`, and one of `other`, of the stand-in trainer."""
    monkeypatch.setenv("LOGNAME", "sam")
    made = Console(tmp_path)
    made.start_agent()
    try:
        assert made.start("one", "steps=6", "--name", "Empathy", "--set", "lora_r=8")[0] == 0
        assert made.run("watch", "one")[0] == 0
        assert made.start("two", "steps=4", "--name", "empathy!", "--set", "lora_r=32")[0] == 0
        assert made.run("watch", "two")[0] == 0
        yield made
    finally:
        made.kill_agent()


def data(console: Console, *arguments: str | Path) -> Any:
    code, out, err = console.run("models", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_the_life_of_versions_from_the_end_of_their_jobs_to_their_deletion(
    console: Console,
) -> None:
    _the_end_of_a_job_has_made_a_version(console)
    _a_status_is_changed_for_a_reason_alone(console)
    _production_is_closed(console)
    _a_version_goes_over_to_another_model(console)
    _versions_are_compared(console)
    _a_deleted_version_leaves_its_record(console)


def _the_end_of_a_job_has_made_a_version(console: Console) -> None:
    with closing(sqlite3.connect(console.home / "brightrun.db")) as database:
        made = database.execute("SELECT count(*) FROM model_versions").fetchone()
    assert made == (2,)  # Before anybody looked at the models.
    code, out, _ = console.run("models")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        ["empathy:2", "stored", "two"],
        ["empathy:1", "stored", "one"],
    ]
    listed = data(console, "list")
    assert [(each["reference"], each["job_id"], each["uploaded"]) for each in listed] == [
        ("empathy:2", "two", None),
        ("empathy:1", "one", None),
    ]
    assert data(console, "list", "nothing-like-it") == []


def _a_status_is_changed_for_a_reason_alone(console: Console) -> None:
    code, _, err = console.run("models", "promote", "empathy:1", "testing")
    assert code == exit_codes.INVALID_INPUT and "--why" in err
    moved = data(console, "promote", "empathy:1", "testing", "--why", "it is calmer")
    assert moved["deployment_status"] == "testing"
    listed = data(console, "--status", "testing")
    assert [each["reference"] for each in listed] == ["empathy:1"]
    code, out, _ = console.run("models", "show", "empathy:1")
    assert code == 0 and "stored -> testing, sam@" in out and ": it is calmer" in out


def _production_is_closed(console: Console) -> None:
    arguments = ("promote", "empathy:1", "production", "--why", "now")
    code, _, err = console.run("models", *arguments)
    assert code == exit_codes.INVALID_INPUT
    assert "production is closed" in err and "evaluation" in err
    assert console.run("models", "promote", "empathy:1", "released", "--why", "x")[0] == 2


def _a_version_goes_over_to_another_model(console: Console) -> None:
    code, out, _ = console.run("models", "name", "two", "other")
    assert (code, out) == (0, "two is other:1.\n")
    assert [each["reference"] for each in data(console, "list")] == ["other:1", "empathy:1"]


def _versions_are_compared(console: Console) -> None:
    table, steps = console.home / "table.csv", console.home / "steps.json"
    arguments = ("compare", "empathy", "other", "--csv", table, "--metrics", steps)
    code, out, err = console.run("models", *arguments)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split() == ["A", "empathy:1", "B", "other:1"]
    assert lines[1].split() == ["lora_r", "8", "32"]
    assert "loss smoothed" in out and "held-out loss against step" in out
    assert [row["version"] for row in csv.DictReader(table.read_text().splitlines())] == ["1", "1"]
    assert [row["step"] for row in json.loads(steps.read_text())] == [*range(1, 7), *range(1, 5)]
    compared = data(console, "compare", "empathy", "other")
    assert compared["differing_settings"] == {"lora_r": ["8", "32"]}
    assert console.run("models", *arguments)[0] == exit_codes.INVALID_INPUT
    code, _, err = console.run("models", "compare", "empathy", "empathy:1")
    assert code == exit_codes.INVALID_INPUT and "1 different versions" in err


def _a_deleted_version_leaves_its_record(console: Console) -> None:
    adapter = console.root / "jobs" / "two" / "attempts" / "1" / "adapter"
    assert adapter.is_dir()
    code, _, err = console.run("models", "delete", "other", "--why", "too long")
    assert code == exit_codes.INVALID_INPUT and "--yes" in err and adapter.is_dir()

    code, _, err = console.run("models", "delete", "other", "--why", "too long", "--yes")

    assert code == 0 and "removed: " in err
    assert not adapter.exists() and adapter.parent.is_dir()
    assert [each["reference"] for each in data(console, "list")] == ["empathy:1"]
    shown = data(console, "show", "other:1")
    assert shown["deleted_at"] and shown["files"] == ["deleted"] and shown["loss"] == 0.5
    assert [each["to_status"] for each in shown["history"]] == ["renamed", "deleted"]
    code, out, _ = console.run("models", "history")
    assert code == 0 and len(out.splitlines()) == 4
    assert console.run("models", "archive", "other:1", "--why", "x")[0] == 2
    code, _, err = console.run("fetch", "two", "--to", str(console.home / "there"))
    assert code != 0 and "no adapter" in err


def test_without_any_version_the_list_says_how_to_get_one(tmp_path: Path) -> None:
    console = Console(tmp_path)
    code, out, err = console.run("models")
    assert (code, out) == (0, "") and "a job that completes makes one" in err
    assert console.run("models", "list", "--json")[1].strip() == "[]"
    code, _, err = console.run("models", "show", "nothing")
    assert code == exit_codes.INVALID_INPUT and "`brightrun models` lists all" in err


def test_base_models_of_machines_are_still_under_cache(tmp_path: Path) -> None:
    code, _, err = Console(tmp_path).run("models", "cache")
    assert code == 0 and "keeps no base models" in err
