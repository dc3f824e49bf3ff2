from __future__ import annotations

import csv
import io
import math

import pytest

from shared.store.store import Store
from tests.shared.store.journal import evaluation, job_spec, journal, started
from tests.tui.hostile import HOSTILE
from tests.tui.sweeps import NOW, OOM, add_sweep, the_sweep
from tui.services.comparison import Comparison, compare
from tui.views.comparison import (
    comparison_dicts,
    csv_text,
    drawn_at_first,
    failure_lines,
    rows_of,
)


@pytest.fixture
async def comparison(store: Store) -> Comparison:
    await add_sweep(store)
    return await compare(store, await store.sweeps.jobs("grid"), NOW)


def test_the_best_held_out_loss_stands_first_and_is_marked(comparison: Comparison) -> None:
    rows = rows_of(comparison, drawn_at_first(comparison))

    assert [row.job_id for row in rows] == ["grid-03", "grid-01", "grid-02", "grid-04"]
    assert [row.mark for row in rows] == ["A*", "B", "C", " "]
    assert [row.varies for row in rows][:2] == ["lr=2e-4 r=8", "lr=1e-4 r=8"]
    best = comparison.jobs[0]
    assert best.eval_loss == pytest.approx(1.06 + 0.1 + math.exp(-20 / 12))
    assert best.perplexity == pytest.approx(math.exp(best.eval_loss or 0))
    assert (best.eval_loss_before, best.cost_usd) == (2.2, None)
    assert best.tokens_per_s == pytest.approx(sum(500 + 10 * n for n in range(1, 26)) / 12.5)
    assert best.hours == pytest.approx(31 / 3600)


def test_a_job_that_failed_stays_with_its_reason_and_one_that_waits_with_dashes(
    comparison: Comparison,
) -> None:
    rows = {row.job_id: row for row in rows_of(comparison, [])}

    failed, waiting = rows["grid-02"], rows["grid-04"]
    assert failed.status == "✗ failed"
    assert failed.step == "7/40"
    assert failed.held_out == "–", "before the first step is not after training"
    assert OOM in failed.why
    assert failure_lines(list(rows.values())) == [f"lr=1e-4 r=16 (grid-02): {failed.why}"]
    assert (waiting.status, waiting.step, waiting.loss, waiting.hours) == ("○ queued", *"–––")


async def test_jobs_of_no_sweep_are_compared_by_what_differs(store: Store) -> None:
    for job_id, values in {"one-job": {"num_gpus": 1}, "two-job": {"num_gpus": 2}}.items():
        await store.add_job(job_spec(job_id, **values), "local")
    jobs = [await store.get_job(job_id) for job_id in ("one-job", "two-job")]

    assert [each.varies for each in (await compare(store, jobs, NOW)).jobs] == [
        "num_gpus=1",
        "num_gpus=2",
    ]
    alone = (await compare(store, jobs[:1], NOW)).jobs
    assert [each.varies for each in alone] == ["A job"]
    assert (await compare(store, [], NOW)).best is None


async def test_a_loss_that_is_not_finite_is_no_best(store: Store) -> None:
    await add_sweep(store, the_sweep("S", "seed=1,2"))
    records = journal(started(), evaluation(0, 2.0), evaluation(5, None), job_id="grid-02")
    await store.apply_records("grid-02", records)

    comparison = await compare(store, await store.sweeps.jobs("grid"), NOW)

    assert comparison.best == "grid-01"
    assert comparison.jobs[1].eval_loss is None


def test_the_csv_has_every_figure_in_full(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(comparison))))

    assert [row["job_id"] for row in rows] == ["grid-03", "grid-01", "grid-02", "grid-04"]
    assert (rows[0]["lr"], rows[0]["r"], rows[0]["best"]) == ("2e-4", "8", "True")
    assert float(rows[0]["eval_loss"]) == comparison.jobs[0].eval_loss
    assert rows[3]["loss"] == ""
    assert csv_text(Comparison(())) == "\n"


async def test_hostile_text_reaches_neither_terminal_nor_spreadsheet(store: Store) -> None:
    await store.add_job(job_spec("odd", name="=HYPERLINK(1)"), "local")
    await store.add_job(job_spec("evil", notes=HOSTILE, name=HOSTILE[-90:]), "local")
    jobs = [await store.get_job(job_id) for job_id in ("odd", "evil")]
    comparison = await compare(store, jobs, NOW)

    text = csv_text(comparison)
    assert "'=HYPERLINK(1)" in text
    assert not {"\x1b", "\x9b", "\x07"} & set(text)
    for row in rows_of(comparison, []):
        assert not {"\x1b", "\x9b", "\x07"} & set("".join(row.cells))


def test_more_jobs_than_letters_leave_the_worst_undrawn(comparison: Comparison) -> None:
    many = Comparison(comparison.jobs[:2] * 6)
    assert len(drawn_at_first(many)) == 8


def test_json_names_units_and_has_null_for_what_is_not_known(comparison: Comparison) -> None:
    found = comparison_dicts(comparison)[3]
    assert (found["status"], found["cost_usd"], found["tokens_per_s"]) == ("queued", None, None)
