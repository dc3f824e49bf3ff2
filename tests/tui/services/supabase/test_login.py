"""A user's login against the rig's auth server: kept, renewed, taken turns at."""

from __future__ import annotations

import asyncio
import stat
import time
from pathlib import Path

import httpx
import pytest

from shared.errors import SupabaseUnauthorized, SupabaseUnreachable
from tests.fakes.supabase.rig import SupabaseRig
from tui.services.supabase.login import log_in, log_out, read_login, signed_in

TEN_MINUTES_S = 600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "supabase-session.json"


async def sign_in(rig: SupabaseRig, path: Path, refused_token: str = "") -> tuple[str, str]:
    async with httpx.AsyncClient() as http:
        settings = rig.settings(rig.user_one)
        return await signed_in(http, settings, path, refused_token=refused_token)


async def test_a_login_is_kept_for_this_user_alone(fresh_supabase: SupabaseRig, path: Path) -> None:
    rig = fresh_supabase
    await rig.log_in(path, rig.user_one)
    _, user_id = await sign_in(rig, path)
    assert user_id == rig.user_one
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    login = read_login(path, rig.settings(rig.user_one))
    assert login.email == "one@example.com"
    assert login.access_token not in repr(login)
    assert login.refresh_token not in repr(login)


async def test_a_wrong_password_keeps_nothing_and_says_no_secret(
    fresh_supabase: SupabaseRig, path: Path
) -> None:
    rig = fresh_supabase
    async with httpx.AsyncClient() as http:
        with pytest.raises(SupabaseUnauthorized, match="Invalid login credentials") as caught:
            await log_in(http, rig.settings(rig.user_one), path, "one@example.com", "wr0ng-word")
    assert "wr0ng-word" not in str(caught.value)
    assert not path.exists()


async def test_nobody_is_logged_in_to_another_project(
    fresh_supabase: SupabaseRig, path: Path
) -> None:
    rig = fresh_supabase
    await rig.log_in(path, rig.user_one)
    path.write_text(path.read_text().replace(rig.url, "https://other.supabase.co"))
    with pytest.raises(SupabaseUnauthorized, match="brightrun supabase login"):
        await sign_in(rig, path)


async def test_a_token_that_ends_soon_is_renewed(fresh_supabase: SupabaseRig, path: Path) -> None:
    rig = fresh_supabase
    rig.auth.token_lifetime_s = 30
    try:
        await rig.log_in(path, rig.user_one)
        before = read_login(path, rig.settings(rig.user_one))
    finally:
        rig.auth.token_lifetime_s = 3600
    await sign_in(rig, path)
    after = read_login(path, rig.settings(rig.user_one))
    assert after.refresh_token != before.refresh_token
    assert await sign_in(rig, path) == (after.access_token, rig.user_one)


@pytest.mark.parametrize("offset_s", [TEN_MINUTES_S, -TEN_MINUTES_S])
async def test_a_clock_that_is_ten_minutes_off_judges_a_token_right(
    fresh_supabase: SupabaseRig, path: Path, offset_s: float
) -> None:
    rig = fresh_supabase

    def clock() -> float:
        return time.time() + offset_s

    async with httpx.AsyncClient() as http:
        settings = rig.settings(rig.user_one)
        await log_in(http, settings, path, "one@example.com", rig.password, clock=clock)
        login = read_login(path, settings)
        assert login.clock_offset_s == pytest.approx(-offset_s, abs=5)
        assert login.holds(clock())
        assert login.holds(clock() + 3600 - 90)
        assert not login.holds(clock() + 3600 - 30)
        requests = len(rig.requests)
        await signed_in(http, settings, path, clock=clock)
        assert len(rig.requests) == requests


async def test_many_at_once_renew_a_login_once(fresh_supabase: SupabaseRig, path: Path) -> None:
    rig = fresh_supabase
    await rig.log_in(path, rig.user_one)
    old = read_login(path, rig.settings(rig.user_one))
    requests = len(rig.requests)
    found = await asyncio.gather(*(sign_in(rig, path, old.access_token) for _ in range(8)))
    assert len(rig.requests) == requests + 1
    assert {user for _, user in found} == {rig.user_one}


async def test_a_login_that_was_ended_elsewhere_says_what_to_do(
    fresh_supabase: SupabaseRig, path: Path
) -> None:
    rig = fresh_supabase
    await rig.log_in(path, rig.user_one)
    token, _ = await sign_in(rig, path)
    rig.auth.log_everybody_out()
    with pytest.raises(SupabaseUnauthorized, match="brightrun supabase login"):
        await sign_in(rig, path, token)


async def test_a_server_that_is_away_is_no_bad_login(
    fresh_supabase: SupabaseRig, path: Path
) -> None:
    rig = fresh_supabase
    await rig.log_in(path, rig.user_one)
    token, _ = await sign_in(rig, path)
    rig.faults.add(path="/auth/v1/token", status=503, retry_after_s=9)
    with pytest.raises(SupabaseUnreachable) as caught:
        await sign_in(rig, path, token)
    assert caught.value.retry_after_s == 9
    assert read_login(path, rig.settings(rig.user_one)).access_token == token


async def test_logging_out_forgets_the_tokens(fresh_supabase: SupabaseRig, path: Path) -> None:
    rig = fresh_supabase
    await rig.log_in(path, rig.user_one)
    assert log_out(path)
    assert not log_out(path)
    assert list(path.parent.iterdir()) == []
