"""Training files of the web application, on a real PostgREST and a double of Storage."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import (
    IntegrityError,
    InvalidDataset,
    InvalidInput,
    SupabaseRefused,
    SupabaseUnreachable,
)
from tests.fakes.supabase.rig import SupabaseRig
from tests.remote.proxy import ChaosProxy
from tests.tui.web_application import CONTENT, WebApplication
from tui.config import load_config
from tui.services.session import Session, open_session
from tui.services.web_file_download import DownloadPatience
from tui.services.web_file_rows import remote_file
from tui.services.web_files import PAGE_ROWS, fetch, fetch_training_file, list_training_files

QUICK = DownloadPatience(tries=3, first_pause_s=0.01, longest_pause_s=0.02)


@pytest.fixture
def web(fresh_supabase: SupabaseRig) -> WebApplication:
    return WebApplication(fresh_supabase)


@pytest.fixture
async def session(
    web: WebApplication, home: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Session]:
    """Of the first user, who is logged in."""
    for name, value in web.rig.environment(web.rig.user_one).items():
        monkeypatch.setenv(name, value)
    async with open_session(load_config()) as opened:
        await web.rig.log_in(opened.config.supabase_session_path, web.rig.user_one)
        yield opened


def downloads(web: WebApplication) -> int:
    return len(web.rig.gateway.calls("GET", "/storage/v1/object/sign/"))


async def test_a_file_is_fetched_once_and_is_a_file_like_any_other(
    session: Session, web: WebApplication
) -> None:
    file_id = web.add()
    told: list[tuple[int, int]] = []

    path = await fetch_training_file(session, file_id, lambda *at: told.append(at))
    again = await fetch(session, file_id)

    assert path.read_bytes() == CONTENT
    assert path.name == "Coaching - week 1.jsonl"
    assert path.is_relative_to(session.config.training_sets_path / "web" / file_id)
    assert oct(path.stat().st_mode)[-3:] == "600"
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert (again.path, again.was_here, downloads(web)) == (path, True, 1)
    known = await session.store.web_files.get(file_id)
    assert known is not None
    assert (known.sha256, known.path) == (hashlib.sha256(CONTENT).hexdigest(), str(path))
    assert [each.name for each in path.parent.iterdir()] == [path.name]


async def test_a_file_that_has_changed_there_is_another_one_and_the_earlier_one_stays(
    session: Session, web: WebApplication
) -> None:
    file_id = web.add()
    first = await fetch(session, file_id)
    other = CONTENT[::-1]
    web.put(f"{file_id}/training.jsonl", other)
    web.rig.execute("update training_files set sha256 = $1", hashlib.sha256(other).hexdigest())

    second = await fetch(session, file_id)

    assert second.path.read_bytes() == other
    assert first.path.read_bytes() == CONTENT
    assert second.earlier is not None
    assert second.earlier.sha256 == first.sha256


async def test_a_copy_that_was_touched_here_is_fetched_again(
    session: Session, web: WebApplication
) -> None:
    file_id = web.add()
    path = await fetch_training_file(session, file_id)
    path.write_bytes(b"damaged")

    again = await fetch(session, file_id)

    assert not again.was_here
    assert again.path.read_bytes() == CONTENT


async def test_another_users_file_is_not_there(session: Session, web: WebApplication) -> None:
    theirs = web.add(created_by=web.rig.user_two)
    mine = web.add()

    assert [file.id for file in (await list_training_files(session)).files] == [mine]
    with pytest.raises(InvalidDataset, match="none that you may see"):
        await fetch(session, theirs)
    assert downloads(web) == 0


async def test_a_row_cannot_point_at_somebody_elses_object(
    session: Session, web: WebApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service key reads everything, so that the row itself must not be believed."""
    monkeypatch.setenv("SUPABASE_SECRET_KEY", web.rig.service_key)
    theirs = web.add(created_by=web.rig.user_two)
    for place in (
        f"{theirs}/training.jsonl",
        f"x/../{theirs}/training.jsonl",
        "https://elsewhere.example/training.jsonl",
        f"{web.rig.user_two}/{theirs}/training.jsonl",
    ):
        file_id = web.add(None, jsonl_file_path=place)
        with pytest.raises(InvalidDataset, match="no object of its own"):
            await fetch(session, file_id)
    assert downloads(web) == 0


def test_places_with_the_bucket_or_the_owner_before_them_are_understood() -> None:
    row = {"id": "f" * 8, "created_by": "user", "json_file_size": 3}
    for place in ("ffffffff/training.json", "/training-files/ffffffff/training.json"):
        found = remote_file({**row, "json_file_path": place}).bytes_there
        assert (found.name, found.suffix) == ("ffffffff/training.json", ".json")
    owned = remote_file({**row, "json_file_path": "user/ffffffff/training.json"})
    assert owned.bytes_there.name == "user/ffffffff/training.json"


async def test_a_json_file_is_fetched_where_there_is_no_jsonl(
    session: Session, web: WebApplication
) -> None:
    file_id = str(uuid.uuid4())
    web.add(
        id=file_id,
        jsonl_file_path=None,
        jsonl_file_size=None,
        json_file_path=f"training-files/{file_id}/training.json",
        content=None,
    )
    web.put(f"{file_id}/training.json", CONTENT)
    assert (await fetch(session, file_id)).path.suffix == ".json"


async def test_a_row_without_a_file_says_so(session: Session, web: WebApplication) -> None:
    file_id = web.add(None, jsonl_file_path=None)
    with pytest.raises(InvalidDataset, match="names no JSON and no JSONL"):
        await fetch(session, file_id)


async def test_a_missing_object_says_which(session: Session, web: WebApplication) -> None:
    file_id = web.add(None, status="uploading")
    with pytest.raises(SupabaseRefused, match=rf"{file_id}.*no such object.*'uploading'"):
        await fetch(session, file_id)


async def test_bytes_that_are_not_those_of_the_row_are_refused_and_not_kept(
    session: Session, web: WebApplication
) -> None:
    kept = session.config.training_sets_path / "web"
    for changes, words in (
        ({"sha256": "0" * 64}, "000000000000 by its row"),
        ({"jsonl_file_size": len(CONTENT) - 1}, "overwritten behind the row"),
        ({"jsonl_file_size": len(CONTENT) + 1, "sha256": None}, "overwritten behind the row"),
    ):
        file_id = web.add(**changes)
        with pytest.raises(IntegrityError, match=words):
            await fetch(session, file_id, patience=QUICK)
        assert [path.name for path in (kept / file_id).rglob("*")] == [".lock"]
        assert await session.store.web_files.get(file_id) is None


async def test_without_a_hash_in_the_row_the_bytes_are_always_compared(
    session: Session, web: WebApplication
) -> None:
    file_id = web.add(sha256=None, jsonl_file_size=None)
    first = await fetch(session, file_id)
    web.put(f"{file_id}/training.jsonl", CONTENT + b"\n")

    second = await fetch(session, file_id)

    assert (first.sha256, second.earlier is not None) == (
        hashlib.sha256(CONTENT).hexdigest(),
        True,
    )


async def through(proxy: ChaosProxy, monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    """The console reaches the project by way of the proxy; the login is for that address too."""
    url = f"http://127.0.0.1:{proxy.port}"
    path = session.config.supabase_session_path
    path.write_text(path.read_text().replace(os.environ["SUPABASE_URL"], url))
    monkeypatch.setenv("SUPABASE_URL", url)


async def test_a_download_that_is_cut_goes_on_where_it_stopped(
    session: Session, web: WebApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = web.add()
    async with ChaosProxy(web.rig.gateway.port) as proxy:
        await through(proxy, monkeypatch, session)
        proxy.bytes_per_s = 1_000_000.0  # else all of it is in the sockets' buffers at once
        is_cut = False

        def cut_once(done: int, total: int) -> None:
            nonlocal is_cut
            if done > total / 2 and not is_cut:
                is_cut = True
                proxy.bytes_per_s = None
                proxy.cut()

        fetched = await fetch(session, file_id, cut_once, QUICK)

        assert fetched.path.read_bytes() == CONTENT
        assert downloads(web) == 2
        assert proxy.passed_bytes < 1.45 * len(CONTENT), "the beginning was not sent again"


async def test_a_killed_download_goes_on_in_another_process_unless_the_object_has_changed(
    session: Session, web: WebApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = web.add()
    part = session.config.training_sets_path / "web" / file_id / ".jsonl.part"

    async def interrupted() -> None:
        running: asyncio.Task[Any] = asyncio.create_task(
            fetch(session, file_id, lambda done, total: running.cancel())
        )
        await asyncio.gather(running, return_exceptions=True)

    await interrupted()
    assert 0 < part.stat().st_size < len(CONTENT)
    assert (await fetch(session, file_id)).path.read_bytes() == CONTENT

    other = CONTENT[::-1]
    await interrupted_again(session, web, file_id, other, interrupted)
    assert (await fetch(session, file_id, patience=QUICK)).path.read_bytes() == other


async def interrupted_again(
    session: Session, web: WebApplication, file_id: str, other: bytes, interrupt: Any
) -> None:
    """A part of the old content is here, and the new one there."""
    part = session.config.training_sets_path / "web" / file_id / ".jsonl.part"
    (await fetch(session, file_id)).path.unlink()
    await interrupt()
    assert part.stat().st_size
    web.put(f"{file_id}/training.jsonl", other)
    web.rig.execute("update training_files set sha256 = $1", hashlib.sha256(other).hexdigest())


async def test_a_project_that_is_away_is_given_up_with_what_has_come_kept(
    session: Session, web: WebApplication
) -> None:
    file_id = web.add()
    fault = web.rig.faults.add(path="/storage/v1/object/sign", status=503, times=None)
    with pytest.raises(SupabaseUnreachable):
        await fetch(session, file_id, patience=QUICK)
    assert fault.met == QUICK.tries


async def test_two_fetches_of_the_same_file_at_once_are_one_download(
    session: Session, web: WebApplication
) -> None:
    file_id = web.add()
    paths = await asyncio.gather(*(fetch_training_file(session, file_id) for _ in range(3)))
    assert len(set(paths)) == 1
    assert downloads(web) == 1


async def test_1500_rows_come_page_by_page_each_once(session: Session, web: WebApplication) -> None:
    web.rig.execute(
        "insert into training_files (name, created_by) "
        "select 'file ' || n, $1 from generate_series(1, 1500) as n",
        web.rig.user_one,
    )
    first = await list_training_files(session)
    assert (first.total, first.pages, len(first.files)) == (1500, 15, PAGE_ROWS)
    seen = [file.id for file in first.files]
    for page in range(2, 16):
        seen += [file.id for file in (await list_training_files(session, page=page)).files]
    assert len(seen) == len(set(seen)) == 1500
    beyond = await list_training_files(session, page=99)
    assert (beyond.page, [file.id for file in beyond.files]) == (15, seen[-PAGE_ROWS:])


async def test_names_and_descriptions_are_searched_and_nothing_breaks_out(
    session: Session, web: WebApplication
) -> None:
    for name, description in (
        ("grief, part (1)", None),
        ('boundaries: say "no"', "of the second week"),
        ("back\\slash 100%", None),
    ):
        web.add(None, name=name, description=description)

    async def found(search: str) -> list[str]:
        return [file.name for file in (await list_training_files(session, search)).files]

    assert await found("GRIEF") == await found("part (1)") == ["grief, part (1)"]
    assert await found("gr*f") == ["grief, part (1)"]
    assert await found('say "no"') == await found("week") == ['boundaries: say "no"']
    assert await found("back\\slash") == await found("0%") == ["back\\slash 100%"]
    for nothing in ("nothing,id.neq.0)", "gr_ef", "%f,", '"nothing'):
        assert await found(nothing) == []


async def test_an_id_is_searched_as_one(session: Session, web: WebApplication) -> None:
    file_id = web.add(None)
    web.add(None)
    assert [file.id for file in (await list_training_files(session, file_id)).files] == [file_id]


async def test_what_is_no_uuid_is_refused_unasked(session: Session, web: WebApplication) -> None:
    before = len(web.rig.requests)
    for file_id in ("", "..", "../../etc", "17", "x" * 36):
        with pytest.raises(InvalidDataset, match="UUID"):
            await fetch(session, file_id)
    assert len(web.rig.requests) == before


async def test_without_a_project_it_is_said_how_to_name_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    async with open_session(load_config()) as session:
        with pytest.raises(InvalidInput, match="SUPABASE_URL"):
            await list_training_files(session)
