"""Which jobs the table shows, in which order, and what it says of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.job_state import JobState
from shared.lifecycle import Activity, JobStatus
from shared.store.stored import StoredJob
from tests.shared.store.journal import job_spec
from tui.views.job_row import FILTERS, STATUS_SIGNS, JobRow, Selection, count_by_filter, row_of

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def row(
    job_id: str,
    status: JobStatus = JobStatus.TRAINING,
    *,
    age_s: float = 0,
    unreachable: bool = False,
    host: str = "local",
    spec: dict[str, Any] | None = None,
    **state: Any,
) -> JobRow:
    created_at = NOON - timedelta(seconds=age_s)
    job = StoredJob(
        spec=job_spec(job_id, **(spec or {})),
        state=JobState(status=status, **state),
        host=host,
        retry_of=None,
        error_message=None,
        created_at=created_at,
        updated_at=created_at,
    )
    return row_of(job, is_unreachable=unreachable)


ROWS = [
    row("job-old", JobStatus.COMPLETED, age_s=300, step=4, total_steps=4, loss=1.5),
    row("job-mid", JobStatus.FAILED, age_s=200, spec={"name": "Empathy", "tags": ("eq",)}),
    row("job-new", JobStatus.TRAINING, age_s=100, step=1, total_steps=4, loss=2.5),
]


def ids(**selection: Any) -> list[str]:
    return Selection(**selection).ids(ROWS, NOON)


def test_the_newest_job_comes_first() -> None:
    assert ids() == ["job-new", "job-mid", "job-old"]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [("active", ["job-new"]), ("completed", ["job-old"]), ("failed", ["job-mid"])],
)
def test_a_filter_shows_the_jobs_of_its_statuses(shown: str, expected: list[str]) -> None:
    assert ids(shown=shown) == expected


def test_every_status_is_in_a_filter_and_has_a_sign_of_its_own() -> None:
    assert set().union(*FILTERS.values()) == set(JobStatus)
    assert len(set(STATUS_SIGNS.values())) == len(JobStatus)
    assert count_by_filter(ROWS) == {
        "all": 3,
        "active": 1,
        "completed": 1,
        "failed": 1,
        "cancelled": 0,
    }


def test_a_search_finds_all_its_words_in_any_case_and_in_any_field() -> None:
    assert ids(search="EMPATHY eq") == ["job-mid"]
    assert ids(search="train.json job-n") == ["job-new"]
    assert ids(search="empathy nowhere") == []


def test_sorting_by_a_column_twice_turns_it_round_and_jobs_without_a_value_are_lowest() -> None:
    by_loss = Selection().sorted_by("loss")
    assert by_loss.ids(ROWS, NOON) == ["job-new", "job-old", "job-mid"]
    assert by_loss.sorted_by("loss").ids(ROWS, NOON) == ["job-mid", "job-old", "job-new"]
    assert Selection().sorted_by("name").is_descending is False


def test_the_time_runs_until_the_job_has_ended() -> None:
    begun = NOON - timedelta(seconds=60)
    assert row("job-one").duration_s(NOON) is None
    assert row("job-one", started_at=begun).duration_s(NOON) == 60
    assert row("job-one", started_at=begun, ended_at=begun).duration_s(NOON) == 0


def test_progress_is_unknown_before_the_steps_are_counted_and_never_above_one() -> None:
    assert row("job-one").progress is None
    assert row("job-one", step=9, total_steps=4).progress == 1.0
    assert row("job-one", JobStatus.COMPLETED).progress == 1.0


def test_an_unreachable_job_says_so_instead_of_what_it_did_last() -> None:
    assert row("job-one", activity=Activity.TRAINING).activity == "training"
    assert row("job-one", activity=Activity.TRAINING, unreachable=True).activity == "unreachable"


def test_a_name_loses_its_control_sequences_and_keeps_its_brackets() -> None:
    name = "[/b] [@click=app.quit]x\x1b]52;c;aGk=\x07\u202e"
    assert row("job-one", spec={"name": name}).name == "[/b] [@click=app.quit]x"


def test_a_job_is_found_by_its_host_whose_name_is_clean() -> None:
    found = row("job-a", host="ssh:box\x1b[2J")

    assert found.host == "ssh:box"
    assert Selection(search="SSH:box").ids([found], NOON) == ["job-a"]
