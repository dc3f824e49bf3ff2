"""One connection to the rig: rights, tokens that end, faults of every kind, nothing secret said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

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
from tui.services.supabase.connection import connected, supabase_errors
from tui.services.supabase.login import read_login
from tui.services.supabase.settings import SupabaseSettings


async def rows(settings: SupabaseSettings, path: Path, table: str = "training_jobs") -> list[Any]:
    async with connected(settings, path) as supabase:
        with supabase_errors():
            answer = await supabase.table(table).select("*").limit(10).execute()
    return list(answer.data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "supabase-session.json"


async def test_a_login_sees_its_own_rows_and_a_service_key_all(
    fresh_supabase: SupabaseRig, path: Path
) -> None:
    rig = fresh_supabase
    for user in (rig.user_one, rig.user_two):
        rig.execute("insert into training_jobs (status, created_by) values ('queued', $1)", user)
    await rig.log_in(path, rig.user_one)
    mine = await rows(rig.settings(rig.user_one), path)
    assert [row["created_by"] for row in mine] == [rig.user_one]
    assert len(await rows(rig.settings(), path)) == 2


async def test_a_token_that_the_server_takes_for_ended_is_renewed_on_the_way(
    fresh_supabase: SupabaseRig, path: Path
) -> None:
    rig = fresh_supabase
    rig.execute(
        "insert into training_jobs (status, created_by) values ('queued', $1)", rig.user_one
    )
    await rig.log_in(path, rig.user_one)
    login = read_login(path, rig.settings(rig.user_one))
    stale = rig.token_for(rig.user_one, expires_in_s=-100)
    path.write_text(path.read_text().replace(login.access_token, stale))
    async with connected(rig.settings(rig.user_one), path) as supabase:
        assert supabase.access_token == stale
        with supabase_errors():
            answer = await supabase.table("training_jobs").select("id").execute()
        assert len(answer.data) == 1
        assert supabase.access_token != stale
    assert [each.path for each in rig.requests].count("/auth/v1/token") == 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 500}, SupabaseUnreachable),
        ({"status": 503, "retry_after_s": 5}, SupabaseUnreachable),
        ({"status": 429}, SupabaseUnreachable),
        ({"reset": True}, SupabaseUnreachable),
        ({"status": 403}, SupabaseUnauthorized),
    ],
)
async def test_every_fault_of_the_way_is_one_of_ours(
    fresh_supabase: SupabaseRig, path: Path, fault: dict[str, Any], kind: type[SupabaseError]
) -> None:
    rig = fresh_supabase
    scripted = rig.faults.add(path="/rest/v1", times=None, **fault)
    with pytest.raises(kind) as caught:
        await rows(rig.settings(), path)
    assert scripted.met == 1, "who asks decides when to ask again"
    assert rig.service_key not in str(caught.value)


async def test_nobody_there_is_unreachable(fresh_supabase: SupabaseRig, path: Path) -> None:
    settings = SupabaseSettings("http://127.0.0.1:9", "sb_secret_1234", True)
    with pytest.raises(SupabaseUnreachable):
        await rows(settings, path)


async def test_a_key_that_was_revoked_is_unauthorized(
    fresh_supabase: SupabaseRig, path: Path
) -> None:
    rig = fresh_supabase
    rig.revoke(rig.service_key)
    with pytest.raises(SupabaseUnauthorized) as caught:
        await rows(rig.settings(), path)
    assert rig.service_key not in str(caught.value)


async def test_a_table_or_a_schema_that_is_not_there_is_a_mismatch(
    fresh_supabase: SupabaseRig, path: Path
) -> None:
    rig = fresh_supabase
    with pytest.raises(SchemaMismatch):
        await rows(rig.settings(), path, "no_such_table")
    with pytest.raises(SchemaMismatch):
        await rows(rig.settings(schema="not_exposed"), path)


async def test_a_row_of_another_user_is_refused(fresh_supabase: SupabaseRig, path: Path) -> None:
    rig = fresh_supabase
    await rig.log_in(path, rig.user_one)
    async with connected(rig.settings(rig.user_one), path) as supabase:
        with pytest.raises(SupabaseRefused) as caught, supabase_errors():
            row = {"status": "queued", "created_by": rig.user_two}
            await supabase.table("training_jobs").insert(row).execute()
    assert caught.value.code == "42501"


async def test_a_connection_never_shows_a_key_or_token(
    fresh_supabase: SupabaseRig, path: Path
) -> None:
    rig = fresh_supabase
    await rig.log_in(path, rig.user_one)
    async with connected(rig.settings(rig.user_one), path) as supabase:
        assert rig.anon_key not in repr(supabase)
        assert supabase.access_token not in repr(supabase)


async def test_a_missing_package_says_which_to_install(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "supabase", None)
    settings = SupabaseSettings("http://127.0.0.1:9", "sb_secret_1234", True)
    with pytest.raises(InvalidInput, match=r"brightrun\[supabase\]"):
        await rows(settings, path)


def test_the_mirror_does_not_import_the_client_before_it_needs_it() -> None:
    code = (
        "import sys; import tui.services.supabase.mirror_worker, tui.services.web_objects; "
        "import tui.mirror_line, tui.services.supabase.lag; "
        "found = {'supabase', 'postgrest', 'apprise'} & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
