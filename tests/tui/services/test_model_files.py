"""Deleting a version removes its own files and nothing else, and keeps its record."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.deployment import DeploymentStatus
from shared.errors import InvalidInput
from shared.manifest import commit, manifest_sha256
from shared.model_version import ModelVersion, VersionFacts
from shared.store.model_versions import Change, NewVersion
from shared.store.store import Store
from tests.tui.versions import BEGIN
from tui.config import load_config
from tui.services.model_files import delete_version, local_copies, places
from tui.services.session import Session, open_session

WHY = "it is too long"
ELENA = Change("elena", "because")


@pytest.fixture
async def session(home: Path, store: Store) -> AsyncIterator[Session]:
    async with open_session(load_config()) as opened:
        yield opened


def adapter(path: Path, text: str = "weights") -> str:
    def write(partial: Path) -> dict[str, str]:
        (partial / "adapter_model.safetensors").write_text(text)
        return {}

    path.parent.mkdir(parents=True, exist_ok=True)
    commit(path, write)
    return manifest_sha256(path)


async def add(session: Session, sha256: str, path: Path, host: str = "local") -> ModelVersion:
    facts = VersionFacts(host=host, path=str(path), size_bytes=7)
    new = NewVersion("id-1", "empathy", "job-1", 1, sha256, facts, BEGIN)
    version, _ = await session.store.models.add(new)
    return version


def at_agent(session: Session, job_id: str = "job-1") -> Path:
    return session.config.agent_root / "jobs" / job_id / "attempts" / "1" / "adapter"


async def test_both_copies_on_this_machine_go_and_the_record_stays(session: Session) -> None:
    path = at_agent(session)
    home = session.config.home / "adapters" / "job-1"
    version = await add(session, adapter(path), path)
    adapter(home / "adapter")
    (path.parent / "trainer.log").write_text("kept")
    assert local_copies(session.config, version) == [home, path]

    deleted, removal = await delete_version(session, version, WHY)

    assert not path.exists() and not home.exists()
    assert (path.parent / "trainer.log").exists()
    assert len(removal.removed) == 2 and removal.kept == removal.troubles == ()
    assert deleted.is_deleted and deleted.facts == version.facts
    assert [each.why for each in await session.store.models.history()] == [WHY]
    assert places(session.config, deleted, frozenset({"verified"})) == ["deleted"]


async def test_what_another_job_has_put_in_its_place_is_left_alone(session: Session) -> None:
    path = at_agent(session)
    version = await add(session, "f" * 64, path)
    adapter(path, "other weights")

    _, removal = await delete_version(session, version, WHY)

    assert path.exists()
    assert "another adapter by now" in removal.kept[0]


@pytest.mark.parametrize(
    "where",
    ["../elsewhere", "jobs/job-2/attempts/1/adapter", "jobs/job-1/../job-2", "jobs/job-10", "jobs"],
)
async def test_a_path_outside_the_jobs_own_directory_is_never_followed(
    session: Session, where: str
) -> None:
    path = session.config.agent_root / where
    sha256 = adapter(path / "deep")
    version = await add(session, sha256, path / "deep")

    _, removal = await delete_version(session, version, WHY)

    assert path.exists() and removal.removed == ()


async def test_a_link_in_the_place_of_the_directory_is_not_followed(
    session: Session, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    sha256 = adapter(precious)
    path, home = at_agent(session), session.config.home / "adapters" / "job-1"
    for link in (path, home):
        link.parent.mkdir(parents=True)
        link.symlink_to(precious)
    version = await add(session, sha256, path)

    _, removal = await delete_version(session, version, WHY)

    assert (precious / "adapter_model.safetensors").exists()
    assert removal.removed == () and "symbolic link" in removal.troubles[0]


async def test_a_removal_that_was_cut_off_is_finished_the_next_time(session: Session) -> None:
    path = at_agent(session)
    version = await add(session, adapter(path), path)
    deleted = await session.store.models.delete(version, ELENA)
    next(path.glob("*manifest*")).unlink()

    _, removal = await delete_version(session, deleted, "")

    assert not path.exists() and len(removal.removed) == 1
    assert len(await session.store.models.history()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove everything")
async def test_what_cannot_be_removed_is_named(session: Session) -> None:
    path = at_agent(session)
    version = await add(session, adapter(path), path)
    path.chmod(0o500)
    try:
        _, removal = await delete_version(session, version, WHY)
    finally:
        path.chmod(0o700)
    assert "Permission denied" in removal.troubles[0]


async def test_what_lies_on_another_machine_is_named_and_not_touched(session: Session) -> None:
    path = Path("/data/brightrun/jobs/job-1/attempts/1/adapter")
    version = await add(session, "f" * 64, path, host="ssh:gpu")

    assert places(session.config, version, frozenset({"verified"}))[-1] == "Supabase"
    _, removal = await delete_version(session, version, WHY)

    assert removal.kept == (f"{path} on ssh:gpu",)


async def test_a_version_in_production_keeps_its_files(session: Session) -> None:
    path = at_agent(session)
    version = await add(session, adapter(path), path)
    move = session.store.models.move
    version = await move(version, DeploymentStatus.TESTING, ELENA)
    version = await move(version, DeploymentStatus.PRODUCTION, ELENA)

    with pytest.raises(InvalidInput, match="in production: archive it first"):
        await delete_version(session, version, WHY)

    assert path.exists()


async def test_a_version_that_somebody_promotes_meanwhile_keeps_its_files(
    session: Session,
) -> None:
    path = at_agent(session)
    seen = await add(session, adapter(path), path)
    await session.store.models.move(seen, DeploymentStatus.TESTING, ELENA)

    with pytest.raises(InvalidInput, match="was changed by somebody else"):
        await delete_version(session, seen, WHY)

    assert path.exists()


async def test_without_a_reason_nothing_is_removed(session: Session) -> None:
    path = at_agent(session)
    version = await add(session, adapter(path), path)
    with pytest.raises(InvalidInput, match="Say why"):
        await delete_version(session, version, "  ")
    assert path.exists()
    assert replace(version) == (await session.store.models.all())[0]
