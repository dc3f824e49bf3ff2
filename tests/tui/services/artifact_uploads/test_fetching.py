"""Adapters from the bucket: fetched with resume, linked to, packed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from shared.errors import AdapterRejected, InvalidInput, SupabaseRefused, UnknownJob
from shared.manifest import verify
from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.services.artifact_uploads.adapters import WEIGHTS
from tests.tui.services.artifact_uploads.completed import (
    at_home,
    own_row,
    uploads_of,
    worker_for,
)
from tui.config import Config
from tui.services.artifact_uploads.fetching import download_adapter, link_to, package_adapter
from tui.services.artifact_uploads.gathering import owner_of
from tui.services.session import open_session


@pytest.fixture
async def rig(
    fresh_supabase: SupabaseRig, home: Path, monkeypatch: pytest.MonkeyPatch
) -> SupabaseRig:
    """The project of the environment, with the adapter of job-one in its bucket."""
    for name, value in fresh_supabase.environment().items():
        monkeypatch.setenv(name, value)
    async with at_home(home) as (session, _):
        await worker_for(session, fresh_supabase.settings()).look()
    return fresh_supabase


def in_silence(done: int, total: int) -> None:
    pass


async def test_a_download_is_the_adapter_and_verifies(
    rig: SupabaseRig, home: Path, tmp_path: Path
) -> None:
    async with at_home(home) as (session, job):
        path = await download_adapter(session, "job-o", tmp_path / "out", in_silence)
        assert path == tmp_path / "out" / job.job_id
        assert verify(path / "adapter")
        assert (path / "adapter" / "adapter_model.safetensors").read_bytes() == WEIGHTS


async def test_a_download_that_is_cut_goes_on_where_it_stopped(
    rig: SupabaseRig, home: Path, tmp_path: Path
) -> None:
    async with at_home(home) as (session, _):
        part = tmp_path / "out/job-one.partial/adapter/adapter_model.safetensors.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(WEIGHTS[:150_000])
        rig.faults.add(method="GET", path=r"/object/sign/.*tokenizer", status=503, times=1)
        with pytest.raises(Exception, match="cannot answer now"):
            await download_adapter(session, "job-one", tmp_path / "out", in_silence)

        seen: list[int] = []
        await download_adapter(
            session, "job-one", tmp_path / "out", lambda done, total: seen.append(done)
        )
        assert verify(tmp_path / "out/job-one/adapter")
        assert sum(1 for done in seen if 0 < done < 150_000) <= 2  # The small files only.


async def test_a_part_of_something_else_and_a_changed_object_are_noticed(
    rig: SupabaseRig, home: Path, tmp_path: Path
) -> None:
    async with at_home(home) as (session, _):
        part = tmp_path / "out/job-one.partial/adapter/adapter_model.safetensors.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(b"x" * 150_000)
        await download_adapter(session, "job-one", tmp_path / "out", in_silence)
        assert verify(tmp_path / "out/job-one/adapter")

        [row] = rig.execute(
            "select version from storage.objects where name like '%/adapter_model.safetensors'"
        )
        (rig.storage.directory / row["version"]).write_bytes(b"y" * len(WEIGHTS))
        with pytest.raises(AdapterRejected, match="does not have the sha256"):
            await download_adapter(session, "job-one", tmp_path / "other", in_silence)
        assert not (tmp_path / "other" / "job-one").exists()


async def test_another_console_fetches_by_the_id_of_the_web_application(
    rig: SupabaseRig, home: Path, tmp_path: Path
) -> None:
    async with at_home(home) as (session, job):
        web_id = (await owner_of(session, job)).web_id
    elsewhere = Config(tmp_path / "colleague", tmp_path / "colleague/agent")
    async with open_session(elsewhere) as session:
        path = await download_adapter(session, web_id, tmp_path / "out", in_silence)
        assert (path / "adapter" / "adapter_model.safetensors").read_bytes() == WEIGHTS
        with pytest.raises(InvalidInput, match="no adapter"):
            unknown = "00000000-0000-4000-8000-000000000000"
            await download_adapter(session, unknown, tmp_path / "out", in_silence)
        with pytest.raises(UnknownJob):
            await download_adapter(session, "job-one", tmp_path / "out", in_silence)


async def test_a_link_is_read_without_any_key_until_it_expires(
    rig: SupabaseRig, home: Path
) -> None:
    async with at_home(home) as (session, _):
        url = await link_to(session, "job-one", "adapter_model.safetensors", 3600)
        short = await link_to(session, "job-one", "metrics.csv", -5)
        with pytest.raises(InvalidInput, match=r"no .nothing\.bin. in Supabase; it has README\.md"):
            await link_to(session, "job-one", "nothing.bin", 3600)
    async with httpx.AsyncClient() as http:
        answer = await http.get(url)
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(WEIGHTS).digest()
        assert (await http.get(short)).status_code == 400


async def test_another_user_gets_neither_bytes_nor_link(
    rig: SupabaseRig, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with at_home(home) as (session, job):
        web_id = await own_row(session, rig, job, rig.user_one)
    monkeypatch.delenv("SUPABASE_SECRET_KEY")
    for name, value in rig.environment(rig.user_two).items():
        monkeypatch.setenv(name, value)
    async with at_home(home) as (session, _):
        await rig.log_in(session.config.supabase_session_path, rig.user_two)
        with pytest.raises(SupabaseRefused):
            await link_to(session, "job-one", "adapter_model.safetensors", 3600)
        with pytest.raises(SupabaseRefused):
            await download_adapter(session, "job-one", tmp_path / "out", in_silence)
    async with open_session(Config(tmp_path / "c", tmp_path / "c/agent")) as session:
        await rig.log_in(session.config.supabase_session_path, rig.user_two)
        with pytest.raises(InvalidInput, match="no adapter"):
            await download_adapter(session, web_id, tmp_path / "out", in_silence)


async def test_a_package_is_made_of_what_is_at_home_without_any_network(
    home: Path, tmp_path: Path
) -> None:
    async with at_home(home) as (session, job):
        path = await package_adapter(session, job, tmp_path / "mine.zip", in_silence)
        names = ZipFile(path).namelist()
        assert names[0] == "mine/README.md"
        assert "mine/adapter/adapter_model.safetensors" in names
        assert (await uploads_of(session)) == {}
