"""Which objects of the storage somebody gets at: asked in SQL, as the storage server asks."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg
import pytest

from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.services.supabase.rest import Sample, sample

ARTIFACTS, FILES = "model-artifacts", "training-files"
Place = Callable[[Sample], tuple[str, str]]

PLACES: dict[str, Place] = {
    "adapter": lambda of: (ARTIFACTS, f"jobs/{of.training_jobs['id']}/0123456789abcdef/a.bin"),
    "training file": lambda of: (FILES, f"{of.training_files['id']}/training.json"),
}
every_place = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
# Without `returning`, which would ask the rule for reading as well.
INSERT = "insert into storage.objects (bucket_id, name) values ($1, $2)"


@pytest.fixture
def mine(fresh_supabase: SupabaseRig) -> Sample:
    """Rows of user one."""
    return sample(fresh_supabase, fresh_supabase.user_one)


def may_insert(rig: SupabaseRig, user_id: str | None, bucket: str, name: str) -> bool:
    try:
        rig.execute_as(user_id, INSERT, bucket, name)
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


def count(rig: SupabaseRig, user_id: str | None, sql: str, bucket: str, name: str) -> int:
    return len(rig.execute_as(user_id, sql, bucket, name))


SELECT = "select name from storage.objects where bucket_id = $1 and name = $2"
UPDATE = (
    "update storage.objects set version = 'v2' where bucket_id = $1 and name = $2 returning name"
)
DELETE = "delete from storage.objects where bucket_id = $1 and name = $2 returning name"


@every_place
def test_an_owner_inserts_reads_overwrites_and_deletes(
    fresh_supabase: SupabaseRig, mine: Sample, place: Place
) -> None:
    assert may_insert(fresh_supabase, mine.owner, *place(mine))

    for sql in (SELECT, UPDATE, DELETE):
        assert count(fresh_supabase, mine.owner, sql, *place(mine)) == 1


@every_place
@pytest.mark.parametrize("who", ["another user", "nobody"])
def test_somebody_else_gets_at_nothing(
    fresh_supabase: SupabaseRig, mine: Sample, place: Place, who: str
) -> None:
    assert may_insert(fresh_supabase, mine.owner, *place(mine))
    other = fresh_supabase.user_two if who == "another user" else None

    for sql in (SELECT, UPDATE, DELETE):
        assert count(fresh_supabase, other, sql, *place(mine)) == 0
    bucket, name = place(mine)
    assert not may_insert(fresh_supabase, other, bucket, name + ".other")
    assert count(fresh_supabase, mine.owner, SELECT, bucket, name) == 1


def test_an_object_lies_in_the_folder_of_a_job_of_ones_own(
    fresh_supabase: SupabaseRig, mine: Sample
) -> None:
    job_id, file_id = mine.training_jobs["id"], mine.training_files["id"]
    outside = [
        (ARTIFACTS, "adapter.bin"),
        (ARTIFACTS, f"{job_id}/adapter.bin"),
        (ARTIFACTS, f"jobs/{job_id}"),
        (ARTIFACTS, "jobs/00000000-0000-4000-8000-000000000000/adapter.bin"),
        (ARTIFACTS, "jobs/not-a-job/adapter.bin"),
        (ARTIFACTS, f"other/{job_id}/adapter.bin"),
        (ARTIFACTS, f"jobs/{job_id}'or'1/adapter.bin"),
        (FILES, "training.json"),
        (FILES, f"{job_id}/training.json"),
        (FILES, f"jobs/{job_id}/training.json"),
        (ARTIFACTS, f"{file_id}/training.json"),
    ]

    assert [at for at in outside if may_insert(fresh_supabase, mine.owner, *at)] == []


@every_place
def test_an_object_is_not_moved_to_somebody_elses_folder(
    fresh_supabase: SupabaseRig, mine: Sample, place: Place
) -> None:
    theirs = sample(fresh_supabase, fresh_supabase.user_two)
    bucket, name = place(mine)
    assert may_insert(fresh_supabase, mine.owner, bucket, name)

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        fresh_supabase.execute_as(
            mine.owner,
            "update storage.objects set name = $3 where bucket_id = $1 and name = $2",
            bucket,
            name,
            place(theirs)[1],
        )


def test_a_signed_in_user_reads_the_limits_of_our_buckets_and_changes_none(
    fresh_supabase: SupabaseRig,
) -> None:
    fresh_supabase.execute("insert into storage.buckets (id, name) values ('other', 'other')")
    ask = "select id from storage.buckets order by id"

    seen = fresh_supabase.execute_as(fresh_supabase.user_one, ask)

    assert [row["id"] for row in seen] == [ARTIFACTS, FILES]
    assert fresh_supabase.execute_as(None, ask) == []
    opened = "update storage.buckets set public = true returning id"
    assert fresh_supabase.execute_as(fresh_supabase.user_one, opened) == []
