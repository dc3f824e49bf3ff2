from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from shared.forecast.accuracy import Accuracy
from tests.tui.hostile import HOSTILE
from tui.services.cost_report import MonthCosts
from tui.services.spending.costs import CostLine
from tui.views.costs import (
    GROUPINGS,
    NONE,
    STORAGE,
    accuracy_words,
    added_up,
    bill_words,
    difference_words,
    grouped,
    is_beyond,
    month_share,
    month_words,
    outlook_words,
    share_bar,
    total_words,
)

DAY = date(2026, 11, 18)


def line(job_id: str = "job-one", usd: float = 4.0, **values: Any) -> CostLine:
    usual: dict[str, Any] = {
        "day": DAY,
        "job_name": f"the {job_id} one",
        "gpu_label": "H100_PCIE",
        "tags": (),
        "kind": "machine",
        "hours": 2.0,
        "gpu_hours": 4.0,
        "billed_usd": None,
    }
    return CostLine(job_id=job_id, usd=usd, **{**usual, **values})


def storage(usd: float = 0.5, name: str = "llama cache") -> CostLine:
    values: dict[str, Any] = {"gpu_label": "", "kind": "storage", "hours": 24.0, "gpu_hours": 0.0}
    return line("", usd, job_name=name, **values)


def month(**values: Any) -> MonthCosts:
    usual: dict[str, Any] = {
        "begin": date(2026, 11, 1),
        "days": 30,
        "limit_usd": 500.0,
        "daily_usd": (10.0, 20.0),
        "open_usd": 0.0,
        "open_most_usd": 0.0,
        "projected_usd": None,
    }
    return MonthCosts(**{**usual, **values})


def rows(lines: list[CostLine], by: Any) -> list[tuple[str, float]]:
    return [(group.label, group.sum.usd) for group in grouped(lines, by)]


def test_days_stand_newest_first() -> None:
    lines = [line(day=DAY - timedelta(days=n), usd=n + 1.0) for n in (2, 0, 1)]
    assert rows(lines, "day") == [("2026-11-18", 1.0), ("2026-11-17", 2.0), ("2026-11-16", 3.0)]


def test_everything_else_stands_dearest_first() -> None:
    lines = [line("job-a", 1.0), line("job-b", 5.0), line("job-a", 2.0), storage(4.0)]
    assert rows(lines, "job") == [
        ("the job-b one", 5.0),
        ("storage: llama cache", 4.0),
        ("the job-a one", 3.0),
    ]


def test_two_jobs_of_one_name_are_two_rows() -> None:
    lines = [line("job-a", job_name="same"), line("job-b", job_name="same")]
    assert [group.key for group in grouped(lines, "job")] == ["job-a", "job-b"]


def test_by_gpu_storage_is_a_row_of_its_own() -> None:
    lines = [line(gpu_label="A100_80GB"), line(gpu_label="H100_PCIE", usd=9.0), storage()]
    assert rows(lines, "gpu") == [("H100_PCIE", 9.0), ("A100_80GB", 4.0), (STORAGE, 0.5)]


def test_a_job_counts_in_each_of_its_tags_once_and_one_without_is_under_none() -> None:
    lines = [line("job-a", 4.0, tags=("x", "y", "x")), line("job-b", 1.0), storage()]
    assert rows(lines, "tag") == [("x", 4.0), ("y", 4.0), (NONE, 1.0), (STORAGE, 0.5)]


def test_a_tag_called_like_a_row_of_ours_is_not_mixed_up_with_it() -> None:
    tags = ("", NONE, STORAGE, f" {STORAGE}")
    lines = [line("job-a", 4.0, tags=tags), storage(), line("job-b", 1.0)]
    assert len(grouped(lines, "tag")) == 6


@pytest.mark.parametrize("by", GROUPINGS)
def test_the_rows_add_up_to_the_total(by: Any) -> None:
    lines = [line("job-a", 4.0, tags=("x",)), line("job-b", 1.0), storage()]
    total = added_up(lines)
    assert sum(group.sum.usd for group in grouped(lines, by)) == pytest.approx(total.usd)
    assert (total.machine_usd, total.storage_usd, total.jobs) == (5.0, 0.5, 2)
    assert (total.hours, total.gpu_hours) == (4.0, 8.0)


@pytest.mark.parametrize("by", GROUPINGS)
def test_foreign_names_are_cleaned(by: Any) -> None:
    lines = [
        line(job_name=HOSTILE, tags=(HOSTILE,), gpu_label=HOSTILE),
        storage(name=HOSTILE),
    ]
    labels = "".join(group.label for group in grouped(lines, by))
    assert "\x1b" not in labels
    assert "\u202e" not in labels


def test_only_what_is_billed_is_compared() -> None:
    total = added_up([line(usd=4.0, billed_usd=4.4), line(usd=100.0), storage()])
    assert (total.billed_usd, total.billed_of_usd) == (4.4, 4.0)
    assert bill_words(total) == "the bill: $4.40 for what we count as $4.00, $0.40 (10 %) more"
    assert bill_words(total, may_grow=True).endswith("some of it may still come")
    assert "nothing is known" in bill_words(added_up([line()]))


def test_differences_in_words() -> None:
    assert difference_words(-0.5, 10.0) == "$0.50 (5.0 %) less"
    assert difference_words(0.004, 10.0) == "no difference"
    assert difference_words(0.5, 0.0) == "$0.50 more"


def test_nothing_is_no_number_where_nothing_was_spent() -> None:
    words = [*total_words(added_up([])), bill_words(added_up([])), accuracy_words(Accuracy())]
    words += [month_words(month(daily_usd=())), outlook_words(month(daily_usd=()))]
    assert "nan" not in " ".join(words).lower()
    assert words[0] == "$0.00"
    assert grouped([], "tag") == []


def test_bars_show_what_is_not_nothing() -> None:
    assert [share_bar(share, 4) for share in (0.0, 0.001, 0.5, 0.6, 1.0, 7.0)] == [
        "",
        "╸",
        "━━",
        "━━╸",
        "━━━━",
        "━━━━",
    ]


def test_the_month_in_words() -> None:
    now = month(open_usd=12.5, open_most_usd=40.0, projected_usd=225.0)
    assert month_words(now) == "November 2026: $30.00 of $500.00"
    assert month_share(now) == pytest.approx(0.06)
    assert outlook_words(now) == (
        "open jobs may cost ~$12.50 more, $40.00 at most, at this pace $225.00 by 30 Nov"
    )
    assert outlook_words(month()) == "no job is open"
    unknown = month(open_usd=40.0, open_most_usd=40.0)
    assert outlook_words(unknown) == "open jobs may cost $40.00 more at most"


def test_a_month_is_beyond_its_limit_by_open_jobs_or_by_its_pace() -> None:
    assert not is_beyond(month(open_usd=470.0, open_most_usd=900.0, projected_usd=500.0))
    assert is_beyond(month(open_usd=470.5))
    assert is_beyond(month(projected_usd=500.5))


def test_how_good_estimates_were() -> None:
    seen = Accuracy(n_jobs=7, hours_error=0.12, dollars_error=0.03, inside_share=6 / 7, bias=0.2)
    assert accuracy_words(seen) == (
        "past estimates: 7 jobs, hours off by 12 % in the median, 6 of 7 inside the range, "
        "dollars off by 3.0 %, jobs take 20 % longer"
    )
    alone = Accuracy(n_jobs=1, hours_error=0.0, inside_share=1.0, bias=0.0)
    assert accuracy_words(alone) == (
        "past estimates: 1 job, hours off by 0.0 % in the median, 1 of 1 inside the range"
    )
