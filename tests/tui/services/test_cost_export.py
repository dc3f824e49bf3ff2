from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.store.store import Store
from tests.tui.hostile import HOSTILE
from tests.tui.spending import NOW, spend
from tests.tui.views.test_costs import DAY, line, storage
from tui.services.cost_export import COLUMNS, csv_text, write_csv
from tui.services.cost_report import read_cost_report


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_what_is_written_adds_up_to_what_was_spent(store: Store) -> None:
    await spend(store)
    report = await read_cost_report(store, 90, NOW)
    rows = read(csv_text(report.lines))
    assert tuple(rows[0]) == COLUMNS
    assert sum(float(row["usd"]) for row in rows) == pytest.approx(
        sum(line.usd for line in report.lines), abs=0.0001 * len(rows)
    )
    assert {row["name"] for row in rows} >= {"Elena Morales, empathy v4", "llama cache"}


def test_a_job_with_two_machines_in_a_day_is_one_row() -> None:
    lines = [line(usd=4.0, billed_usd=4.1), line(usd=1.0, gpu_label="A100_80GB", billed_usd=1.0)]
    [row] = read(csv_text(lines))
    assert row["gpu"] == "A100_80GB;H100_PCIE"
    assert (row["usd"], row["billed_usd"]) == ("5.0000", "5.1000")
    assert (row["hours"], row["gpu_hours"]) == ("4.0000", "8.0000")


def test_a_bill_that_lacks_a_machine_is_left_empty() -> None:
    [row] = read(csv_text([line(billed_usd=4.1), line(gpu_label="A100_80GB")]))
    assert row["billed_usd"] == ""


def test_days_and_jobs_and_volumes_are_rows_of_their_own() -> None:
    lines = [line(), line("job-two"), line(day=DAY + timedelta(days=1))]
    lines += [storage(), storage(name="another")]
    assert len(read(csv_text(lines))) == 5


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", "\x1b[1m=1+1", " =1"])
def test_no_cell_begins_a_formula(name: str) -> None:
    tags, gpu = (name, "x"), name
    [row] = read(csv_text([line("job-a", job_name=name, tags=tags, gpu_label=gpu)]))
    for column in ("name", "tags", "gpu"):
        assert row[column].startswith("'")


def test_other_text_comes_back_as_it_was() -> None:
    name = 'Elena, "empathy" v4 – 日本 = 2'
    [row] = read(csv_text([line(job_name=name, tags=("a b", "ü"))]))
    assert (row["name"], row["tags"]) == (name, "a b;ü")


def test_foreign_text_steers_no_terminal() -> None:
    text = csv_text([line(job_name=HOSTILE, tags=(HOSTILE,), gpu_label=HOSTILE)])
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_file_is_new_and_in_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv"
    write_csv(path, [line(job_name="日本")])
    assert "日本" in path.read_bytes().decode()
    with pytest.raises(InvalidInput, match="there already"):
        write_csv(path, [])
    assert "日本" in path.read_text()


def test_no_costs_are_a_heading_alone() -> None:
    assert csv_text([]).splitlines() == [",".join(COLUMNS)]
