"""The migration on real PostgreSQL: twice, beside tables of another shape, broken off, refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from shared.errors import (
    InvalidInput,
    SchemaMismatch,
    SupabaseError,
    SupabaseRefused,
    SupabaseUnauthorized,
    SupabaseUnreachable,
)
from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.services.supabase.rest import Rest, artifact_of, metric_of, sample
from tui.services.supabase import migration
from tui.services.supabase.migration import migrate, migration_sql

SEEDS_TABLES = """
create table public.training_files (id uuid primary key);
create table public.training_jobs (
    id uuid primary key default gen_random_uuid(),
    training_file_id uuid not null references public.training_files (id),
    status text not null default 'queued', runpod_pod_id text, runpod_endpoint_url text,
    hyperparameters jsonb not null default '{}', metrics jsonb not null default '{}',
    current_step integer default 0, total_steps integer, current_epoch numeric(4, 2) default 0,
    started_at timestamptz, completed_at timestamptz, estimated_completion_at timestamptz,
    estimated_cost_usd numeric(10, 2), actual_cost_usd numeric(10, 2), gpu_hours numeric(6, 2),
    lora_artifact_path text, training_log_path text, error_message text,
    retry_count integer not null default 0, created_by uuid not null,
    created_at timestamptz not null default now(), updated_at timestamptz not null default now()
);
create table public.model_artifacts (
    id uuid primary key default gen_random_uuid(),
    training_job_id uuid not null references public.training_jobs (id),
    artifact_type text not null, storage_path text not null, file_size_bytes integer,
    base_model text, lora_config jsonb, validation_loss numeric(6, 4),
    validation_perplexity numeric(6, 4), human_eval_score numeric(3, 2),
    deployment_status text not null default 'stored', deployed_at timestamptz,
    created_at timestamptz not null default now(), created_by uuid not null
);
create table public.training_metrics_history (
    id uuid primary key default gen_random_uuid(),
    training_job_id uuid not null references public.training_jobs (id),
    step integer not null, epoch numeric(4, 2), loss numeric(8, 4),
    learning_rate numeric(8, 6), grad_norm numeric(6, 4),
    recorded_at timestamptz not null default now()
);
"""
"""The shape of the first design, with its narrow types."""

LISTING = """
select string_agg(concat_ws(' ', c.oid::regclass, a.attname, a.atttypid::regtype, a.attnotnull),
    E'\\n' order by c.oid::regclass::text, a.attnum) as said
from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = 'public'::regnamespace and a.attnum > 0
"""


@pytest.fixture
def bare(fresh_supabase: SupabaseRig) -> Iterator[SupabaseRig]:
    """A project before any migration of ours."""
    fresh_supabase.bare()
    yield fresh_supabase


def everything(rig: SupabaseRig) -> tuple[str, str, int]:
    policies = "select string_agg(policyname, ' ' order by policyname) as said from pg_policies"
    buckets = "select count(*) as said from storage.buckets"
    listed, ruled = rig.execute(LISTING)[0]["said"], rig.execute(policies)[0]["said"]
    return str(listed), str(ruled), int(rig.execute(buckets)[0]["said"])


async def test_the_first_time_makes_everything_and_the_second_changes_nothing(
    bare: SupabaseRig,
) -> None:
    first = await migrate(bare.migration_url)
    made = everything(bare)
    bare.reload_schema()
    rows = sample(bare, bare.user_one)

    second = await migrate(bare.migration_url)

    assert (first.was_there, second.was_there) == (False, True)
    assert (first.warnings, second.warnings) == ((), ())
    assert everything(bare) == made
    assert Rest(bare, bare.user_one).select("training_jobs").rows == [rows.training_jobs]


async def test_the_api_is_told_of_the_tables_as_soon_as_they_are_there(bare: SupabaseRig) -> None:
    heard: asyncio.Queue[object] = asyncio.Queue()
    listener = await asyncpg.connect(bare.database_url)
    try:
        await listener.add_listener("pgrst", lambda *said: heard.put_nowait(said[-1]))
        await migrate(bare.migration_url)
        async with asyncio.timeout(30):
            assert await heard.get() == "reload schema"
    finally:
        await listener.close()

    one = Rest(bare, bare.user_one)
    async with asyncio.timeout(30):
        while one.select("training_jobs").status == 404:
            await asyncio.sleep(0.02)
    assert one.select("training_jobs").rows == []


async def test_two_migrations_at_once_both_end_well(bare: SupabaseRig) -> None:
    done = await asyncio.gather(*(migrate(bare.migration_url) for _ in range(2)))

    assert [each.schema for each in done] == ["public", "public"]


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (
            "create table public.training_jobs (id uuid primary key, job_name text, user_id uuid)",
            "table public.training_jobs has another shape: it lacks actual_cost_usd, ",
        ),
        (
            "create table public.model_artifacts (id bigint, model_name text, artifact_url text)",
            "table public.model_artifacts has another shape: it lacks artifact_type, ",
        ),
        (SEEDS_TABLES + "alter table training_jobs add user_id uuid not null", "demands user_id"),
        (
            "create table public.training_files (id bigint primary key)",
            "table public.training_files has another shape: its id is no uuid",
        ),
        (
            "create view public.training_files as select id from auth.users",
            "table public.training_files has another shape: its id is no uuid, or it is a view",
        ),
    ],
    ids=["jobs", "artifacts", "a column more", "files", "a view"],
)
async def test_tables_of_another_shape_are_named_and_left_as_they_were(
    bare: SupabaseRig, statement: str, named: str
) -> None:
    bare.execute(f"set role postgres; {statement}; reset role")
    before = everything(bare)

    with pytest.raises(SchemaMismatch) as refused:
        await migrate(bare.migration_url)

    assert named in str(refused.value)
    assert "`brightrun supabase migrate --schema brightrun`" in str(refused.value)
    assert everything(bare) == before


async def test_ours_stand_in_a_schema_of_their_own_beside_tables_of_another_shape(
    bare: SupabaseRig,
) -> None:
    bare.execute("create table public.training_jobs (id uuid primary key, job_name text)")
    foreign = everything(bare)[0]

    done = await migrate(bare.migration_url, "brightrun")
    again = await migrate(bare.migration_url, "brightrun")
    bare.reload_schema()

    assert (done.was_there, again.was_there) == (False, True)
    assert everything(bare)[0] == foreign
    one = Rest(bare, bare.user_one, "brightrun")
    [job] = one.insert("training_jobs", {"name": "ours"}).rows
    assert one.insert("model_artifacts", artifact_of(job["id"])).status == 201
    assert Rest(bare, bare.user_two, "brightrun").select("training_jobs").rows == []
    assert Rest(bare, None, "brightrun").select("training_jobs").code == "42501"
    name = f"jobs/{job['id']}/0123456789abcdef/a.bin"
    insert = "insert into storage.objects (bucket_id, name) values ('model-artifacts', $1)"
    bare.execute_as(bare.user_one, insert, name)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        bare.execute_as(bare.user_two, insert, name + ".other")


@pytest.mark.parametrize("schema", ["auth", "Public", "a b", 'x"; drop', "pg_x", "a" * 31])
async def test_a_schema_that_cannot_be_ours_is_refused_before_anything_is_asked(
    schema: str,
) -> None:
    with pytest.raises(InvalidInput, match="take another name"):
        await migrate("postgresql://nobody@127.0.0.1:1/postgres", schema)


async def test_tables_of_the_first_design_are_widened_with_their_rows(bare: SupabaseRig) -> None:
    bare.execute(f"set role postgres; {SEEDS_TABLES}; reset role")
    file_id = "00000000-0000-4000-8000-000000000001"
    bare.execute("insert into public.training_files (id) values ($1::uuid)", file_id)
    [job] = bare.execute(
        "insert into public.training_jobs (training_file_id, created_by) "
        "values ($1::uuid, $2::uuid) returning id::text",
        file_id,
        bare.user_one,
    )

    await migrate(bare.migration_url)
    bare.reload_schema()

    one = Rest(bare, bare.user_one)
    wide = {"epoch": 100.0, "learning_rate": 4e-9, "grad_norm": 12345.6}
    [metric] = one.insert("training_metrics_history", metric_of(job["id"], **wide)).rows
    assert wide.items() <= metric.items()
    assert one.update("training_jobs", job["id"], {"current_epoch": 100.0}).rows
    assert one.insert("model_artifacts", artifact_of(job["id"], file_size_bytes=2**40)).rows
    assert Rest(bare, bare.user_two).select("training_jobs").rows == []
    assert Rest(bare, None).select("training_jobs").code == "42501"
    columns = "select count(*) as n from pg_attribute where attrelid = 'training_files'::regclass"
    assert bare.execute(f"{columns} and attnum > 0")[0]["n"] == 1, "the web application's own"


async def test_a_policy_that_lets_more_people_in_is_told(bare: SupabaseRig) -> None:
    await migrate(bare.migration_url)
    bare.execute("create policy everybody on public.model_artifacts for select using (true)")

    done = await migrate(bare.migration_url)

    assert done.warnings == (
        'table model_artifacts has another policy, "everybody": '
        "it may let more people in than the owner",
    )


async def test_a_public_bucket_of_adapters_becomes_private_and_it_is_told(
    bare: SupabaseRig,
) -> None:
    await migrate(bare.migration_url)
    bare.execute("update storage.buckets set public = true where id = 'model-artifacts'")

    done = await migrate(bare.migration_url)

    assert done.warnings == ("the bucket model-artifacts was public: it is private now",)
    [bucket] = bare.execute("select public from storage.buckets where id = 'model-artifacts'")
    assert bucket["public"] is False


async def test_rows_that_break_a_rule_already_stop_it_as_a_whole(bare: SupabaseRig) -> None:
    bare.execute(f"set role postgres; {SEEDS_TABLES}; reset role")
    bare.execute(
        "insert into public.training_files values ('00000000-0000-4000-8000-000000000001')"
    )
    bare.execute(
        "insert into public.training_jobs (training_file_id, created_by, status) "
        "select id, id, 'pending' from public.training_files"
    )
    before = everything(bare)

    with pytest.raises(SupabaseRefused, match="break a rule"):
        await migrate(bare.migration_url)

    assert everything(bare) == before


async def test_a_connection_that_breaks_in_the_middle_leaves_nothing_behind(
    bare: SupabaseRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(bare)
    # It waits after all its statements, so that it is there to be ended.
    long = migration_sql() + "\nselect pg_sleep(60);"
    monkeypatch.setattr(migration, "migration_sql", lambda schema="public": long)
    running = asyncio.create_task(migrate(bare.migration_url))
    sleeping = "from pg_stat_activity where wait_event = 'PgSleep'"
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(bare.execute, f"select pid {sleeping}"):
            await asyncio.sleep(0.02)

    await asyncio.to_thread(bare.execute, f"select pg_terminate_backend(pid) {sleeping}")

    with pytest.raises(SupabaseUnreachable, match="nothing has changed"):
        await running
    assert everything(bare) == before
    monkeypatch.undo()
    assert not (await migrate(bare.migration_url)).was_there


async def test_a_table_in_use_is_not_waited_for_for_ever(
    bare: SupabaseRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "LOCK_TIMEOUT_S", 0.2)
    await migrate(bare.migration_url)
    holder = await asyncpg.connect(bare.database_url)
    try:
        async with holder.transaction():
            await holder.execute("lock table public.training_jobs in access share mode")
            with pytest.raises(SupabaseUnreachable, match="in use"):
                await migrate(bare.migration_url)
    finally:
        await holder.close()
    assert (await migrate(bare.migration_url)).was_there


async def test_a_database_that_is_no_supabase_project_is_named_so(bare: SupabaseRig) -> None:
    owner = await asyncpg.connect(bare.database_url)
    try:
        await owner.execute("create database plain owner postgres")
        with pytest.raises(SchemaMismatch, match="no database of a Supabase project"):
            await migrate(bare.postgres.url("postgres", "postgres", "plain"))
    finally:
        with suppress(asyncpg.PostgresError):
            await owner.execute("drop database plain with (force)")
        await owner.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://postgres:CANARY@127.0.0.1:{port}/postgres", SupabaseUnauthorized),
        ("postgresql://postgres:CANARY@127.0.0.1:1/postgres", SupabaseUnreachable),
        ("postgresql://postgres:CANARY@no-such-host.invalid/postgres", SupabaseUnreachable),
        ("https://postgres:CANARY@127.0.0.1/postgres", InvalidInput),
        ("postgresql://postgres:CANARY@127.0.0.1:port/postgres", InvalidInput),
        ("CANARY", InvalidInput),
        ("postgresql://postgres:CANARY@127.0.0.1:{port}/postgres?sslmode=CANARY", InvalidInput),
        ("postgresql://postgres:CANARY@[::1/postgres", InvalidInput),
    ],
)
async def test_no_error_repeats_the_password(
    supabase_rig: SupabaseRig, url: str, expected: type[Exception]
) -> None:
    with pytest.raises(expected) as refused:
        await migrate(url.format(port=supabase_rig.postgres.port))

    told: BaseException | None = refused.value
    while told is not None:
        assert "CANARY" not in f"{told} {told!r} {told.args}"
        told = told.__cause__


async def test_a_user_without_the_right_is_told_which_one_to_take(bare: SupabaseRig) -> None:
    bare.execute("alter role authenticator password 'authenticator'")

    with pytest.raises(SupabaseError, match="Take the user postgres"):
        await migrate(bare.postgres.url("authenticator", "authenticator"))


def test_across_a_network_the_connection_is_encrypted() -> None:
    arguments = migration._arguments

    assert arguments("postgresql://postgres:x@db.example.com/postgres")["ssl"] == "require"
    own = arguments("postgresql://postgres:x@db.example.com/postgres?sslmode=verify-full")
    assert "ssl" not in own
    assert "ssl" not in arguments("postgresql://postgres:x@127.0.0.1/postgres")


def test_the_sql_file_is_one_that_the_supabase_cli_takes() -> None:
    [path] = Path(migration.__file__).parent.joinpath("sql").glob("*.sql")
    text = path.read_text()

    assert path.name.split("_")[0].isdigit() and len(path.name.split("_")[0]) == 14
    assert migration_sql() == text
    assert not any(line.strip().lower() in ("begin;", "commit;") for line in text.splitlines())
