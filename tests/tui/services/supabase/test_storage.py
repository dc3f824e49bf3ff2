"""Supabase Storage as the console speaks with it, on the double that follows the recording."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from shared.errors import SupabaseRefused, SupabaseUnauthorized, SupabaseUnreachable
from tests.fakes.supabase.rig import SupabaseRig
from tui.services.supabase.connection import connected
from tui.services.supabase.storage import ObjectExists, Storage

CONTENT = bytes(range(256)) * 40
NAME = "jobs/some-job/0123/data.bin"


@pytest.fixture
async def storage(fresh_supabase: SupabaseRig, tmp_path: Path) -> AsyncIterator[Storage]:
    """With the service key; one object is there."""
    rig = fresh_supabase
    async with connected(rig.settings(), tmp_path / "session.json") as supabase:
        made = Storage(supabase)
        await put(rig, supabase.headers, NAME)
        yield made


async def put(rig: SupabaseRig, headers: dict[str, str], name: str) -> None:
    async with httpx.AsyncClient() as http:
        url = f"{rig.url}/storage/v1/object/model-artifacts/{name}"
        answer = await http.post(url, headers=headers, content=CONTENT)
        answer.raise_for_status()


async def read(storage: Storage, name: str, offset: int = 0) -> tuple[int, bytes]:
    content = b""
    async with storage.download(name, offset) as (begin, chunks):
        async for chunk in chunks:
            content += chunk
    return begin, content


async def test_an_object_is_described_listed_and_read_from_anywhere(storage: Storage) -> None:
    facts = await storage.facts(NAME)
    assert facts is not None and facts.size_bytes == len(CONTENT)
    assert await storage.facts("jobs/none") is None
    assert await storage.objects("jobs/some-job/0123") == [facts]
    assert await storage.folders("jobs/some-job") == ["jobs/some-job/0123"]
    assert await read(storage, NAME) == (0, CONTENT)
    assert await read(storage, NAME, 10_000) == (10_000, CONTENT[10_000:])


async def test_a_name_that_is_taken_gets_no_upload_token(storage: Storage) -> None:
    with pytest.raises(ObjectExists):
        await storage.sign_upload(NAME)
    assert len(await storage.sign_upload(NAME + ".2")) > 20


async def test_what_is_removed_is_gone_and_removing_it_again_does_nothing(
    storage: Storage,
) -> None:
    assert await storage.remove([NAME]) == 1
    assert await storage.facts(NAME) is None
    assert await storage.remove([NAME]) == 0
    with pytest.raises(SupabaseRefused, match="no such object"):
        await read(storage, NAME)


async def test_a_list_is_whole_beyond_one_page(
    storage: Storage, fresh_supabase: SupabaseRig
) -> None:
    headers = storage._supabase.headers
    for number in range(101):
        await put(fresh_supabase, headers, f"jobs/many/{number:03}")
    assert len(await storage.objects("jobs/many")) == 101


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_that_is_busy_is_unreachable_and_not_refusing(
    storage: Storage, fresh_supabase: SupabaseRig, status: int
) -> None:
    fresh_supabase.faults.add(path="/storage/v1/", status=status, times=None)
    with pytest.raises(SupabaseUnreachable):
        await storage.facts(NAME)
    with pytest.raises(SupabaseUnreachable):
        await read(storage, NAME)


async def test_a_connection_that_is_reset_is_unreachable(
    storage: Storage, fresh_supabase: SupabaseRig
) -> None:
    fresh_supabase.faults.add(path="/storage/v1/", reset=True, times=None)
    with pytest.raises(SupabaseUnreachable):
        await storage.signed_url(NAME, 60)


async def test_an_expired_login_is_unauthorized_and_shows_no_token(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    await rig.log_in(tmp_path / "session.json", rig.user_one)
    async with connected(rig.settings(rig.user_one), tmp_path / "session.json") as supabase:
        token = rig.token_for(rig.user_one, -60)
        storage = Storage(supabase)
        supabase._gate.token, supabase._gate._renew = token, None
        with pytest.raises(SupabaseUnauthorized) as caught:
            await storage.sign_upload(NAME)
    assert token not in str(caught.value)


async def test_the_largest_file_is_the_smaller_of_both_limits(
    storage: Storage, fresh_supabase: SupabaseRig
) -> None:
    server = await storage.most_bytes()
    assert server is not None and server > 1e9
    fresh_supabase.execute("update storage.buckets set file_size_limit = 50000000")
    assert await storage.most_bytes() == 50_000_000


async def test_a_link_saves_under_the_name_that_was_asked_for(storage: Storage) -> None:
    url = await storage.signed_url(NAME, 60, save_as="my file.bin")
    assert url.endswith("&download=my%20file.bin")
    async with httpx.AsyncClient() as http:
        assert (await http.get(url)).content == CONTENT
