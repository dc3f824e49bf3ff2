from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.errors import InvalidInput, ProviderUnauthorized
from shared.store.store import Store, open_store
from tests.tui.hostile import HOSTILE
from tests.tui.spending import NOW, add_job, add_machine, spend
from tui.commands.costs import (
    CostOptions,
    list_overrides,
    set_limit,
    show_costs,
    show_limit,
)


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.commands.costs.utc_now", lambda: NOW)
    monkeypatch.setattr("tui.services.spending.costs.utc_now", lambda: NOW)


@pytest.fixture
async def spent(home: Path) -> None:
    async with open_store(home / "brightrun.db") as store:
        await spend(store)


@pytest.mark.usefixtures("spent")
async def test_a_table_with_totals_the_month_estimates_and_the_bill(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await show_costs(CostOptions(by="job")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["JOB", "ID", "COST", "SHARE", "GPU", "H", "BILLED"]
    assert lines[1].startswith("Elena Morales, empathy v4  job-elena")
    assert "$51.92  ━━━━━━━━━━━━━━━━━━━━    71%   28.0  $55.52" in lines[1]
    text = "\n".join(lines)
    for words in (
        "30 days  $73.18  ·  machines $65.06  ·  storage $8.11  ·  33.5 GPU hours  ·  2 jobs",
        "November 2026: $73.18 of $500.00  15%",
        "at this pace $112.58 by 30 Nov",
        "past estimates: no completed job",
        "the bill: $55.52 for what we count as $51.92, $3.60 (6.9 %) more",
        "job-elena, machine 2: billed $36.40, $3.60 (11 %) more than we count",
    ):
        assert words in text


@pytest.mark.usefixtures("spent")
async def test_by_tag_it_says_that_sums_may_exceed_the_total(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await show_costs(CostOptions(by="tag", days=90))
    out = capsys.readouterr().out
    assert "(none)" in out
    assert "together they may exceed the total" in out
    await show_costs(CostOptions(by="gpu"))
    assert "exceed" not in capsys.readouterr().out


@pytest.mark.usefixtures("spent")
@pytest.mark.parametrize("by", ["day", "job", "gpu", "tag"])
async def test_as_json_it_is_data_only(by: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await show_costs(CostOptions(by=by, as_json=True)) == 0  # type: ignore[arg-type]
    out, err = capsys.readouterr()
    shown = json.loads(out)
    assert err == ""
    assert shown["total"]["usd"] == pytest.approx(73.177, abs=0.001)
    assert shown["month"]["limit_usd"] == 500.0
    assert [each["is_notable"] for each in shown["bill_differences"]] == [False, True]
    assert shown["groups"]


async def test_no_history_is_said_and_is_no_failure(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for by in ("day", "tag"):
        assert await show_costs(CostOptions(by=by)) == 0  # type: ignore[arg-type]
    assert await show_costs(CostOptions(as_json=True)) == 0
    out = capsys.readouterr().out
    assert "30 days: no rented machine or volume has cost anything." in out
    assert "nan" not in out.lower()


@pytest.mark.usefixtures("spent")
async def test_a_csv_file_is_written_beside_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "costs.csv"
    assert await show_costs(CostOptions(csv=path)) == 0
    assert "2026-11-12" in capsys.readouterr().out
    assert len(list(csv.DictReader(path.read_text().splitlines()))) == 24
    with pytest.raises(InvalidInput, match="there already"):
        await show_costs(CostOptions(csv=path))


async def test_a_csv_on_stdout_stands_alone_and_is_utf_8(home: Path, store: Store) -> None:
    await add_job(store, "job-far", "日本語")
    await add_machine(store, "job-far", datetime.now(UTC) - timedelta(hours=4), 2.0)
    command = "from tui.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "costs", "--csv", "-"],
        capture_output=True,
        check=True,
        env={"BRIGHTRUN_HOME": str(home), "PYTHONIOENCODING": "ascii", "PYTHONPATH": "."},
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode(), newline="")))
    assert {(row["kind"], row["name"]) for row in rows} == {("machine", "日本語")}


async def test_hostile_names_and_tags_are_cleaned(
    home: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    await add_job(store, "job-odd", HOSTILE[:100], HOSTILE)
    await add_machine(store, "job-odd", NOW.replace(hour=1), 2.0, label=HOSTILE)
    for by in ("job", "gpu", "tag"):
        await show_costs(CostOptions(by=by))  # type: ignore[arg-type]
    await show_costs(CostOptions(by="tag", as_json=True))
    await show_costs(CostOptions(csv=Path("-")))
    out = capsys.readouterr().out
    assert "\x1b" not in out.replace("\\u001b", "")
    assert "\u202e" not in out


async def test_the_limit_is_shown_and_set(
    home: Path, capsys: pytest.CaptureFixture[str], store: Store
) -> None:
    assert await show_limit(as_json=False) == 0
    assert "November 2026: $0.00 of $500.00  0%" in capsys.readouterr().out
    assert await set_limit("$1,250", as_json=True) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["limit_usd"] == 1250.0
    assert "is $1,250.00 now; it was $500.00" in err
    assert await store.settings.monthly_limit_usd() == 1250.0
    with pytest.raises(InvalidInput):
        await set_limit("0", as_json=False)


async def test_a_month_beyond_its_limit_is_more_than_whole(
    home: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    await spend(store)
    await set_limit("50", as_json=False)
    assert "November 2026: $73.18 of $50.00  146%" in capsys.readouterr().out


@pytest.mark.usefixtures("spent")
async def test_overrides_are_listed_with_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert await list_overrides(as_json=False) == 0
    out = capsys.readouterr().out
    assert "job-elena" in out
    assert "the client pays for it" in out
    await list_overrides(as_json=True)
    [shown] = json.loads(capsys.readouterr().out)
    assert (shown["month"], shown["expected_usd"]) == ("2026-11", 75.5)


async def test_nobody_having_overridden_is_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await list_overrides(as_json=False) == 0
    assert "nobody" in capsys.readouterr().err


async def test_the_bill_is_asked_for_only_if_wanted(home: Path, store: Store) -> None:
    """Without a key to the account that is an error, and the usual report is none."""
    await spend(store)
    assert await show_costs(CostOptions()) == 0
    with pytest.raises(ProviderUnauthorized):
        await show_costs(CostOptions(reconcile=True))


def test_what_is_typed_reaches_the_command(home: Path) -> None:
    from tests.tui.local_console import Console

    console = Console(home.parent)
    assert console.run("costs", "--days", "7", "--by", "gpu")[0] == 0
    assert console.run("costs")[0] == 0
    assert console.run("costs", "limit")[0] == 0
    assert console.run("costs", "limit", "12,50")[0] == 2
    assert console.run("costs", "--days", "367")[0] == 2
    assert console.run("costs", "--by", "moon")[0] == 2
    assert "--reconcile" in console.run("costs", "show", "--help")[1]
