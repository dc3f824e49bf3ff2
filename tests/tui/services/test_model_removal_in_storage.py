"""Deleting a version removes its objects from Supabase Storage: on the rig, through the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from shared.model_version import ModelVersion, VersionFacts
from shared.store.model_versions import NewVersion
from shared.store.store import Store
from shared.store.uploads import ArtifactType, PlannedUpload, UploadState
from shared.web_id import web_job_id
from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.versions import BEGIN, add_completed
from tui.config import load_config
from tui.services.model_files import delete_version
from tui.services.session import Session, open_session
from tui.services.supabase.connection import connected
from tui.services.supabase.settings import BUCKET
from tui.services.supabase.storage import Storage

WHY = "it is too long"


@pytest.fixture
async def session(
    home: Path, store: Store, fresh_supabase: SupabaseRig, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Session]:
    """The headless right: rows of nobody, the service key."""
    for name, value in fresh_supabase.environment().items():
        monkeypatch.setenv(name, value)
    async with open_session(load_config()) as opened:
        yield opened


async def uploaded(session: Session, rig: SupabaseRig, target: str = "") -> ModelVersion:
    """A version with two objects of its adapter in the bucket, and the job's log beside them."""
    await add_completed(session.store, "job-1")
    web_id = web_job_id(await session.store.rentals.mark(), "job-1")
    new = NewVersion("id-1", "empathy", "job-1", 1, "a" * 64, VersionFacts(), BEGIN)
    version, _ = await session.store.models.add(new)
    planned = [
        PlannedUpload(
            f"jobs/{web_id}/{folder}/{name}", "job-1", 1, kind, name, "b" * 64, 5, "text/plain", ""
        )
        for folder, name, kind in (
            ("a" * 16, "adapter_model.safetensors", ArtifactType.LORA_ADAPTER),
            ("a" * 16, "tokenizer.json", ArtifactType.FILE),
            ("c" * 16, "trainer.log", ArtifactType.FILE),
        )
    ]
    await session.store.uploads.plan(target or rig.settings().target, planned)
    async with httpx.AsyncClient() as http:
        for each in planned:
            headers = {
                "apikey": rig.service_key,
                "Authorization": f"Bearer {rig.service_key}",
                "Content-Type": each.content_type,
            }
            url = f"{rig.url}/storage/v1/object/{BUCKET}/{each.object_name}"
            answer = await http.post(url, headers=headers, content=b"12345")
            assert answer.status_code == 200, answer.text
            await session.store.uploads.note(each.object_name, UploadState.VERIFIED, sent_bytes=5)
    return version


async def there(session: Session, rig: SupabaseRig) -> list[str]:
    """File names in the bucket."""
    settings = rig.settings()
    async with connected(settings, session.config.supabase_session_path) as supabase:
        storage = Storage(supabase)
        found = []
        for upload in await session.store.uploads.of_job("job-1"):
            if await storage.facts(upload.object_name) is not None:
                found.append(upload.file_name)
    return sorted(found)


async def test_the_adapters_folder_goes_and_the_jobs_log_stays(
    session: Session, fresh_supabase: SupabaseRig
) -> None:
    version = await uploaded(session, fresh_supabase)
    assert await there(session, fresh_supabase) == [
        "adapter_model.safetensors",
        "tokenizer.json",
        "trainer.log",
    ]

    _, removal = await delete_version(session, version, WHY)

    assert removal.removed == ("2 objects in Supabase",)
    assert await there(session, fresh_supabase) == ["trainer.log"]
    states = {each.file_name: each.state for each in await session.store.uploads.of_job("job-1")}
    assert states.pop("trainer.log") is UploadState.VERIFIED
    assert set(states.values()) == {UploadState.REMOVED}
    assert await session.store.models.upload_states() == {}
    target = fresh_supabase.settings().target
    assert await session.store.uploads.jobs_without(target, "adapter_model.safetensors") == []


async def test_what_a_project_that_is_down_still_has_goes_the_next_time(
    session: Session, fresh_supabase: SupabaseRig
) -> None:
    version = await uploaded(session, fresh_supabase)
    fresh_supabase.faults.add(path=r"/storage/v1/object/.*", status=503, times=20)

    deleted, removal = await delete_version(session, version, WHY)

    assert deleted.is_deleted and removal.removed == ()
    assert len(removal.troubles) == 1
    fresh_supabase.faults.clear()
    assert len(await there(session, fresh_supabase)) == 3

    _, removal = await delete_version(session, deleted, "")

    assert removal.removed == ("2 objects in Supabase",) and removal.troubles == ()
    assert len(await session.store.models.history()) == 1


async def test_a_revoked_key_is_said_and_the_record_is_there(
    session: Session, fresh_supabase: SupabaseRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await uploaded(session, fresh_supabase)
    key = fresh_supabase.secret_key
    monkeypatch.setenv("SUPABASE_SECRET_KEY", key)
    fresh_supabase.revoke(key)

    deleted, removal = await delete_version(session, version, WHY)

    assert deleted.is_deleted and removal.removed == () and len(removal.troubles) == 1
    assert key not in str(removal)
    assert len(await there(session, fresh_supabase)) == 3


async def test_what_the_login_may_not_see_is_not_said_to_be_removed(
    session: Session, fresh_supabase: SupabaseRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await uploaded(session, fresh_supabase)
    monkeypatch.delenv("SUPABASE_SECRET_KEY")
    for name, value in fresh_supabase.environment(fresh_supabase.user_two).items():
        monkeypatch.setenv(name, value)
    await fresh_supabase.log_in(session.config.supabase_session_path, fresh_supabase.user_two)

    _, removal = await delete_version(session, version, WHY)

    assert removal.removed == ()
    assert "that this login does not see" in removal.troubles[0]
    states = {each.state for each in await session.store.uploads.of_job("job-1")}
    assert states == {UploadState.VERIFIED}
    monkeypatch.setenv("SUPABASE_SECRET_KEY", fresh_supabase.service_key)
    assert len(await there(session, fresh_supabase)) == 3


async def test_what_went_to_another_project_is_named(
    session: Session, fresh_supabase: SupabaseRig
) -> None:
    version = await uploaded(session, fresh_supabase, target="https://other.example#public")

    _, removal = await delete_version(session, version, WHY)

    assert removal.kept == ("what was uploaded to https://other.example#public",)
    assert len(await there(session, fresh_supabase)) == 3
