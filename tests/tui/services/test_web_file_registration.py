"""A local training file as a row of the web application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import IntegrityError, InvalidDataset, SupabaseRefused, SupabaseUnreachable
from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.local_console import document
from tui.config import load_config
from tui.services.session import Session, open_session
from tui.services.web_file_registration import register_training_file
from tui.services.web_files import fetch


@pytest.fixture
async def session(
    fresh_supabase: SupabaseRig, home: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Session]:
    for name, value in fresh_supabase.environment(fresh_supabase.user_one).items():
        monkeypatch.setenv(name, value)
    async with open_session(load_config()) as opened:
        path = opened.config.supabase_session_path
        await fresh_supabase.log_in(path, fresh_supabase.user_one)
        yield opened


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "week 1.json"
    path.write_text(json.dumps(document()))
    return path


def rows(rig: SupabaseRig) -> list[dict[str, Any]]:
    return rig.execute("select * from training_files order by created_at")


async def test_a_file_is_registered_once_and_comes_back_the_same(
    session: Session, fresh_supabase: SupabaseRig, local: Path
) -> None:
    made = await register_training_file(session, local, "Week one", "of the pilot")
    again = await register_training_file(session, local, "Another name")

    [row] = rows(fresh_supabase)
    assert (made.was_there, again.was_there) == (False, True)
    assert made.remote.id == again.remote.id == str(row["id"])
    assert {name: row[name] for name in ("name", "description", "status")} == {
        "name": "Week one",
        "description": "of the pilot",
        "status": "ready",
    }
    assert (row["conversation_count"], row["total_training_pairs"]) == (1, 1)
    assert row["json_file_path"] == f"{row['id']}/training.json"
    assert (row["json_file_size"], row["jsonl_file_path"]) == (local.stat().st_size, None)
    assert str(row["created_by"]) == fresh_supabase.user_one
    stored = fresh_supabase.storage.bytes_of("training-files", row["json_file_path"])
    assert stored == local.read_bytes()

    fetched = await fetch(session, made.remote.id)
    assert (fetched.was_here, fetched.path) == (True, local.absolute())
    assert [file.name for file in await session.store.training_files.all()] == ["week 1.json"]


async def test_another_user_has_a_row_of_their_own(
    session: Session, fresh_supabase: SupabaseRig, local: Path
) -> None:
    first = await register_training_file(session, local)
    path = session.config.supabase_session_path
    await fresh_supabase.log_in(path, fresh_supabase.user_two)

    second = await register_training_file(session, local)

    assert first.remote.id != second.remote.id
    assert [str(row["created_by"]) for row in rows(fresh_supabase)] == [
        fresh_supabase.user_one,
        fresh_supabase.user_two,
    ]


async def test_one_that_was_killed_on_the_way_goes_on_and_makes_no_second_row(
    session: Session,
    fresh_supabase: SupabaseRig,
    local: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running: asyncio.Task[Any] = asyncio.create_task(
        register_training_file(session, local, on_progress=lambda done, total: running.cancel())
    )
    await asyncio.gather(running, return_exceptions=True)
    [row] = rows(fresh_supabase)
    assert row["status"] == "uploading"

    made = await register_training_file(session, local)

    [row] = rows(fresh_supabase)
    assert (row["status"], str(row["id"])) == ("ready", made.remote.id)
    stored = fresh_supabase.storage.bytes_of("training-files", row["json_file_path"])
    assert stored == local.read_bytes()


@pytest.mark.parametrize("path", ["/rest/v1/training_files", "/storage/v1/object/upload/sign"])
async def test_an_answer_that_is_lost_does_no_harm(
    session: Session, fresh_supabase: SupabaseRig, local: Path, path: str
) -> None:
    fresh_supabase.faults.add(method="POST", path=path, after_doing=True, reset=True)
    try:
        await register_training_file(session, local)
    except SupabaseUnreachable:
        await register_training_file(session, local)
    [row] = rows(fresh_supabase)
    assert row["status"] == "ready"


async def test_another_object_under_that_name_is_noticed(
    session: Session, fresh_supabase: SupabaseRig, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await register_training_file(session, local)
    fresh_supabase.execute("update training_files set status = 'uploading'")
    [there] = fresh_supabase.execute("select version from storage.objects")
    stored = fresh_supabase.storage.directory / str(there["version"])
    stored.write_bytes(stored.read_bytes()[::-1])

    with pytest.raises(IntegrityError, match="read back"):
        await register_training_file(session, local)

    [row] = rows(fresh_supabase)
    assert (row["status"], str(row["id"])) == ("uploading", made.remote.id)


async def test_a_file_with_errors_or_of_another_kind_is_refused_before_anything_is_sent(
    session: Session, fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    for name, text in (("a.txt", "{}"), ("a.json", "{"), ("b.jsonl", "[]")):
        (tmp_path / name).write_text(text)
        with pytest.raises(InvalidDataset):
            await register_training_file(session, tmp_path / name)
    assert rows(fresh_supabase) == []


async def test_a_file_above_the_buckets_limit_is_refused_with_what_to_do(
    session: Session, fresh_supabase: SupabaseRig, local: Path
) -> None:
    fresh_supabase.execute("update storage.buckets set file_size_limit = 10")
    with pytest.raises(SupabaseRefused, match="limit"):
        await register_training_file(session, local)
    fresh_supabase.execute("update storage.buckets set file_size_limit = null")
    assert (await register_training_file(session, local)).remote.status == "ready"


async def test_a_missing_bucket_is_named(
    session: Session, fresh_supabase: SupabaseRig, local: Path
) -> None:
    fresh_supabase.execute("delete from storage.buckets where id = 'training-files'")
    with pytest.raises(SupabaseRefused, match="'training-files'"):
        await register_training_file(session, local)
