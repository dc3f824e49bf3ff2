"""What the tables themselves hold to, whoever writes: types, keys, a status that stays final."""

from __future__ import annotations

import pytest

from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.services.supabase.rest import Rest, Row, artifact_of, metric_of

FINAL = ("completed", "failed", "cancelled")
OPEN = ("queued", "preprocessing", "model_loaded", "training")
EARLY, LATE = "2026-11-23T10:00:00+00:00", "2026-11-23T10:00:01+00:00"


@pytest.fixture
def rest(fresh_supabase: SupabaseRig) -> Rest:
    """As user one."""
    return Rest(fresh_supabase, fresh_supabase.user_one)


@pytest.fixture
def job(rest: Rest) -> Row:
    return rest.insert("training_jobs", {"name": "a job"}).rows[0]


def test_figures_that_the_narrow_types_of_the_first_design_broke_on_are_kept(
    rest: Rest, job: Row
) -> None:
    figures = {"epoch": 100.0, "learning_rate": 4e-9, "grad_norm": 12345.6, "loss": 1e-12}

    [row] = rest.insert("training_metrics_history", metric_of(job["id"], **figures)).rows
    [changed] = rest.update("training_jobs", job["id"], {"current_epoch": 100.0}).rows

    assert figures.items() <= row.items()
    assert changed["current_epoch"] == 100.0


def test_a_step_of_an_attempt_stands_once(rest: Rest, job: Row) -> None:
    first = rest.insert("training_metrics_history", metric_of(job["id"]))
    again = rest.insert("training_metrics_history", metric_of(job["id"]))
    other_attempt = rest.insert("training_metrics_history", metric_of(job["id"], attempt=2))
    key = "training_job_id,attempt,step"
    [latest] = rest.upsert("training_metrics_history", metric_of(job["id"], loss=0.5), key).rows

    assert (first.status, again.code, other_attempt.status) == (201, "23505", 201)
    assert (latest["id"], latest["loss"]) == (first.rows[0]["id"], 0.5)


@pytest.mark.parametrize("final", FINAL)
def test_a_final_status_stays_final(rest: Rest, job: Row, final: str) -> None:
    rest.update("training_jobs", job["id"], {"status": final})

    for status in (*OPEN, *FINAL):
        [row] = rest.update("training_jobs", job["id"], {"status": status, "notes": status}).rows
        kept = status == final
        assert (row["status"], row["notes"] == status) == (final, kept)


@pytest.mark.parametrize("final", FINAL)
def test_a_late_row_does_not_hold_up_the_batch_that_it_came_in(
    rest: Rest, job: Row, final: str
) -> None:
    rest.update("training_jobs", job["id"], {"status": final})
    other = rest.insert("training_jobs", {"name": "another"}).rows[0]
    batch = [{"id": row["id"], "status": "training"} for row in (job, other)]

    rows = rest.upsert("training_jobs", batch, "id").rows

    assert {row["id"]: row["status"] for row in rows} == {job["id"]: final, other["id"]: "training"}


def test_facts_of_a_final_job_can_still_be_settled(rest: Rest, job: Row) -> None:
    rest.update("training_jobs", job["id"], {"status": "completed"})

    [row] = rest.update(
        "training_jobs", job["id"], {"status": "completed", "actual_cost_usd": 12.5}
    ).rows

    assert row["actual_cost_usd"] == 12.5


def test_an_older_snapshot_does_not_overwrite_a_newer_one(rest: Rest, job: Row) -> None:
    new = {"id": job["id"], "current_step": 20, "source_updated_at": LATE}
    old = {"id": job["id"], "current_step": 10, "source_updated_at": EARLY}

    rest.upsert("training_jobs", new, "id")
    [row] = rest.upsert("training_jobs", old, "id").rows
    [same_age] = rest.upsert("training_jobs", {**new, "current_step": 21}, "id").rows

    assert (row["current_step"], same_age["current_step"]) == (20, 21)


def test_a_change_is_dated_by_the_database(rest: Rest, job: Row) -> None:
    [row] = rest.update("training_jobs", job["id"], {"name": "b", "updated_at": EARLY}).rows

    assert row["updated_at"] > job["updated_at"]


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("training_jobs", {"status": "pending"}),
        ("model_artifacts", {"artifact_type": "adapter"}),
        ("model_artifacts", {"deployment_status": "live"}),
        ("model_artifacts", {"sha256": "abc"}),
        ("model_artifacts", {"file_size_bytes": -1}),
        ("model_artifacts", {"storage_path": "adapter_model.safetensors"}),
    ],
)
def test_values_outside_the_contract_are_refused(
    rest: Rest, job: Row, table: str, values: Row
) -> None:
    row = {} if table == "training_jobs" else artifact_of(job["id"])

    assert rest.insert(table, {**row, **values}).code == "23514"


def test_two_artifacts_never_share_a_place(rest: Rest, job: Row) -> None:
    row = artifact_of(job["id"])

    assert rest.insert("model_artifacts", row).status == 201
    assert rest.insert("model_artifacts", row).code == "23505"


def test_a_job_with_artifacts_is_not_deleted_and_one_without_takes_its_metrics_along(
    rest: Rest, job: Row
) -> None:
    rest.insert("training_metrics_history", metric_of(job["id"]))
    [artifact] = rest.insert("model_artifacts", artifact_of(job["id"])).rows

    assert rest.delete("training_jobs", job["id"]).code == "23503"
    rest.delete("model_artifacts", artifact["id"])
    assert rest.delete("training_jobs", job["id"]).rows
    assert rest.select("training_metrics_history").rows == []


def test_the_record_of_a_job_outlives_its_file_and_its_user(
    fresh_supabase: SupabaseRig, rest: Rest
) -> None:
    [file] = rest.insert("training_files", {"name": "calls"}).rows
    [job] = rest.insert("training_jobs", {"training_file_id": file["id"]}).rows
    rest.delete("training_files", file["id"])

    [row] = rest.select("training_jobs").rows
    assert (row["id"], row["training_file_id"]) == (job["id"], None)

    leaver = "00000000-0000-4000-8000-000000000001"
    fresh_supabase.execute("insert into auth.users (id) values ($1::uuid)", leaver)
    [theirs] = Rest(fresh_supabase, leaver).insert("training_jobs", {"name": "last"}).rows
    fresh_supabase.execute("delete from auth.users where id = $1::uuid", leaver)
    service = Rest(fresh_supabase, "service")
    [left] = service.select("training_jobs", id=f"eq.{theirs['id']}").rows
    assert left["created_by"] is None


def test_no_function_of_ours_looks_names_up_where_others_can_put_them(
    fresh_supabase: SupabaseRig,
) -> None:
    rows = fresh_supabase.execute(
        "select proname, proconfig, prosecdef from pg_proc"
        " where proname like 'brightrun%' and pronamespace = 'public'::regnamespace"
    )

    assert len(rows) == 5
    assert all(row["proconfig"] == ['search_path=""'] for row in rows)
    assert not any(row["prosecdef"] for row in rows)
