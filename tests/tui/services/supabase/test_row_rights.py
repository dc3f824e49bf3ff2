"""Who reads, inserts, changes and deletes what: through the real PostgREST, table by table."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.services.supabase.rest import (
    DENIED,
    Answer,
    Rest,
    Row,
    Sample,
    artifact_of,
    metric_of,
    sample,
)

TABLES = ("training_files", "training_jobs", "model_artifacts", "training_metrics_history")
CHANGE: dict[str, Row] = {
    "training_files": {"name": "taken over"},
    "training_jobs": {"name": "taken over"},
    "model_artifacts": {"base_model": "taken over"},
    "training_metrics_history": {"loss": 9.0},
}
every_table = pytest.mark.parametrize("table", TABLES)


@pytest.fixture
def mine(fresh_supabase: SupabaseRig) -> Sample:
    """Rows of user one."""
    return sample(fresh_supabase, fresh_supabase.user_one)


def new_row(table: str, of: Sample) -> Row:
    job_id = of.training_jobs["id"]
    rows: dict[str, Row] = {
        "training_files": {"name": "another"},
        "training_jobs": {"name": "another"},
        "model_artifacts": artifact_of(job_id),
        "training_metrics_history": metric_of(job_id, step=2),
    }
    return rows[table]


def stands(rig: SupabaseRig, table: str, row: Row) -> bool:
    """The row is there as it was, whoever is asked."""
    left = rig.execute(f"select * from public.{table} where id = $1::uuid", row["id"])
    return len(left) == 1 and all(left[0][name] == row[name] for name in CHANGE[table])


@every_table
def test_an_owner_reads_inserts_changes_and_deletes(
    fresh_supabase: SupabaseRig, mine: Sample, table: str
) -> None:
    rest, row = Rest(fresh_supabase, mine.owner), mine.row(table)

    assert rest.select(table).rows == [row]
    assert len(rest.insert(table, new_row(table, mine)).rows) == 1
    [changed] = rest.update(table, row["id"], CHANGE[table]).rows
    assert CHANGE[table].items() <= changed.items()
    if table == "training_jobs":
        assert rest.delete("model_artifacts", mine.model_artifacts["id"]).rows
    assert len(rest.delete(table, row["id"]).rows) == 1
    assert len(rest.select(table).rows) == 1


@every_table
def test_another_user_neither_sees_nor_changes_nor_deletes_a_row(
    fresh_supabase: SupabaseRig, mine: Sample, table: str
) -> None:
    rest, row = Rest(fresh_supabase, fresh_supabase.user_two), mine.row(table)

    assert rest.select(table).rows == []
    assert rest.select(table, id=f"eq.{row['id']}").rows == []
    assert rest.update(table, row["id"], CHANGE[table]).rows == []
    assert rest.delete(table, row["id"]).rows == []
    assert stands(fresh_supabase, table, row)


@every_table
def test_without_a_login_nothing_is_allowed_at_all(
    fresh_supabase: SupabaseRig, mine: Sample, table: str
) -> None:
    rest, row = Rest(fresh_supabase, None), mine.row(table)

    answers = [
        rest.select(table),
        rest.insert(table, new_row(table, mine)),
        rest.upsert(table, row, "id"),
        rest.update(table, row["id"], CHANGE[table]),
        rest.delete(table, row["id"]),
    ]

    assert [(answer.status, answer.code) for answer in answers] == [(401, DENIED)] * 5
    assert stands(fresh_supabase, table, row)


@every_table
def test_a_service_key_passes_every_rule(
    fresh_supabase: SupabaseRig, mine: Sample, table: str
) -> None:
    rest, row = Rest(fresh_supabase, "service"), mine.row(table)

    assert rest.select(table).rows == [row]
    assert len(rest.insert(table, new_row(table, mine)).rows) == 1
    assert len(rest.update(table, row["id"], CHANGE[table]).rows) == 1
    if table == "training_jobs":
        assert rest.delete("model_artifacts", mine.model_artifacts["id"]).rows
    assert len(rest.delete(table, row["id"]).rows) == 1


@every_table
def test_nobody_writes_in_anothers_name_or_gives_a_row_away(
    fresh_supabase: SupabaseRig, mine: Sample, table: str
) -> None:
    one, two = fresh_supabase.user_one, fresh_supabase.user_two
    if table == "training_metrics_history":
        return  # It has no owner of its own: the job's is asked.

    written = Rest(fresh_supabase, two).insert(table, {**new_row(table, mine), "created_by": one})
    given = Rest(fresh_supabase, one).update(table, mine.row(table)["id"], {"created_by": two})

    assert (written.code, given.code) == (DENIED, DENIED)
    assert stands(fresh_supabase, table, mine.row(table))


def test_no_row_is_hung_on_anothers_job(fresh_supabase: SupabaseRig, mine: Sample) -> None:
    two = Rest(fresh_supabase, fresh_supabase.user_two)
    job_id = mine.training_jobs["id"]

    answers: list[Answer] = [
        two.insert("model_artifacts", artifact_of(job_id)),
        two.insert("training_metrics_history", metric_of(job_id, step=2)),
        two.upsert(
            "training_metrics_history",
            metric_of(job_id, loss=9.0),
            "training_job_id,attempt,step",
        ),
    ]

    assert [answer.code for answer in answers] == [DENIED] * 3
    assert stands(fresh_supabase, "training_metrics_history", mine.training_metrics_history)


def test_an_upsert_with_anothers_id_changes_nothing(
    fresh_supabase: SupabaseRig, mine: Sample
) -> None:
    two = Rest(fresh_supabase, fresh_supabase.user_two)

    taken = two.upsert("training_jobs", {"id": mine.training_jobs["id"], "name": "mine now"}, "id")

    assert taken.code == DENIED
    assert stands(fresh_supabase, "training_jobs", mine.training_jobs)


def test_a_row_of_ones_own_is_not_moved_under_anothers_job(
    fresh_supabase: SupabaseRig, mine: Sample
) -> None:
    theirs = sample(fresh_supabase, fresh_supabase.user_two)
    two = Rest(fresh_supabase, fresh_supabase.user_two)
    to_mine: dict[str, Any] = {"training_job_id": mine.training_jobs["id"]}

    moved = [
        two.update("training_metrics_history", theirs.training_metrics_history["id"], to_mine),
        two.update("model_artifacts", theirs.model_artifacts["id"], to_mine),
    ]

    assert all(answer.status >= 400 for answer in moved)


def test_a_job_names_no_file_that_its_user_cannot_see(
    fresh_supabase: SupabaseRig, mine: Sample
) -> None:
    two = Rest(fresh_supabase, fresh_supabase.user_two)

    answer = two.insert("training_jobs", {"training_file_id": mine.training_files["id"]})

    assert answer.code == DENIED


def test_a_login_that_has_expired_is_no_login(fresh_supabase: SupabaseRig, mine: Sample) -> None:
    rest = Rest(fresh_supabase, mine.owner)
    expired = fresh_supabase.token_for(mine.owner, expires_in_s=-60)
    rest._headers["Authorization"] = f"Bearer {expired}"

    answer = rest.select("training_jobs")

    assert (answer.status, answer.code) == (401, "PGRST301")


def test_rows_that_belong_to_nobody_are_the_service_keys_alone(fresh_supabase: SupabaseRig) -> None:
    service = Rest(fresh_supabase, "service")
    [job] = service.insert("training_jobs", {"name": "headless"}).rows

    assert job["created_by"] is None
    assert service.select("training_jobs").rows == [job]
    assert Rest(fresh_supabase, fresh_supabase.user_one).select("training_jobs").rows == []


@pytest.mark.parametrize("function", ["brightrun_owns_job", "brightrun_owns_file"])
def test_whether_a_job_is_anothers_is_not_told(
    fresh_supabase: SupabaseRig, mine: Sample, function: str
) -> None:
    table = "training_jobs" if function.endswith("job") else "training_files"
    name = "job" if function.endswith("job") else "file"
    row_id = mine.row(table)["id"]
    asked = f"select public.{function}($1) as answer"

    def owns(user_id: str, text: str) -> bool:
        return bool(fresh_supabase.execute_as(user_id, asked, text)[0]["answer"])

    assert owns(fresh_supabase.user_one, row_id)
    assert not owns(fresh_supabase.user_two, row_id)
    assert not owns(fresh_supabase.user_one, "../" + row_id)
    assert not owns(fresh_supabase.user_one, "")
    anon = Rest(fresh_supabase, None).insert(f"rpc/{function}", {name: row_id})
    assert anon.code == DENIED


def test_the_shape_of_the_schema_is_told_to_users_alone(fresh_supabase: SupabaseRig) -> None:
    one = Rest(fresh_supabase, fresh_supabase.user_one).insert("rpc/brightrun_schema", {})

    assert (one.status, one.body["version"]) == (200, 1)
    assert Rest(fresh_supabase, None).insert("rpc/brightrun_schema", {}).code == DENIED
