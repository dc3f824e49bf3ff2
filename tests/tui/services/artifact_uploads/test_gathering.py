"""What of a job is to go up, and where it is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.agent_protocol import ArtifactFile
from shared.errors import InvalidInput, SshRefused
from shared.store.uploads import UploadState
from tests.shared.store.journal import completed_job, job_spec
from tests.tui.rented import request
from tests.tui.services.artifact_uploads.completed import QUICK, at_home, uploads_of
from tui.config import Config
from tui.services.artifact_uploads import worker as worker_module
from tui.services.artifact_uploads.gathering import (
    adapter_files,
    owner_of,
    plan_listed_checkpoint,
    written_files,
)
from tui.services.artifact_uploads.worker import Worker
from tui.services.kept_logs import log_path
from tui.services.session import open_session
from tui.services.supabase.settings import SupabaseSettings

SUPABASE = SupabaseSettings("http://127.0.0.1:1", "key", is_service=True)


async def test_an_adapter_that_is_only_on_a_volume_says_how_it_comes_home(home: Path) -> None:
    async with open_session(Config(home, home / "agent")) as session:
        spec = job_spec("job-rent")
        await session.store.add_job(spec, "runpod:job-rent", request=request())
        await session.store.apply_records("job-rent", completed_job(job_id="job-rent"))
        job = await session.store.get_job("job-rent")
        with pytest.raises(InvalidInput, match="job-rent is not done"):
            await adapter_files(session, job)


async def test_a_secret_in_the_log_does_not_go_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "canary-value-0123456789")
    async with at_home(home) as (session, job):
        log = log_path(home, job.job_id, 1)
        log.parent.mkdir(parents=True)
        log.write_text("loading\nHF_TOKEN=canary-value-0123456789\ndone\n")
        written = {upload.file_name: upload for upload in await written_files(session, job, [])}
        path = written["trainer.log"].local_path
        assert path is not None
        assert "canary" not in path.read_text()
        assert path.read_text().splitlines()[::2] == ["loading", "done"]


async def test_the_same_job_gives_the_same_files_again(home: Path) -> None:
    async with at_home(home) as (session, job):
        first = await written_files(session, job, [])
        again = await written_files(session, job, [])
        assert [each.object_name for each in first] == [each.object_name for each in again]
        path = first[1].local_path
        assert path is not None
        report = json.loads(path.read_text())
        assert report["job"]["job_id"] == job.job_id
        assert report["stages_s"]["train"] is not None


async def test_a_checkpoint_is_found_by_its_step_and_the_others_are_named(home: Path) -> None:
    async with at_home(home) as (session, job):
        owner = await owner_of(session, job)
    names = ("parameters.safetensors", "manifest.json")
    listed = [
        ArtifactFile(path=f"checkpoints/step-{step:08d}/{name}", size_bytes=1, sha256="a" * 64)
        for step in (2, 12)
        for name in names
    ]
    listed.append(ArtifactFile(path="adapter/manifest.json", size_bytes=1, sha256="b" * 64))
    planned = plan_listed_checkpoint(owner, listed, 12)
    assert {upload.agent_path for upload in planned} == {
        f"checkpoints/step-00000012/{name}" for name in names
    }
    with pytest.raises(InvalidInput, match="no checkpoint of step 3 is kept; there: 2, 12"):
        plan_listed_checkpoint(owner, listed, 3)


async def test_a_machine_that_said_no_is_not_asked_again_for_every_job(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_session(Config(home, home / "agent")) as session:
        for job_id in ("job-one", "job-two"):
            await session.store.add_job(job_spec(job_id), "ssh:nowhere")
            await session.store.apply_records(job_id, completed_job(job_id=job_id))
        asked: list[str] = []

        class Refusing:
            async def ensure_agent(self) -> None:
                asked.append("asked")
                raise SshRefused("no key fits.")

        monkeypatch.setattr(type(session), "host_of", lambda *_: Refusing())
        worker = Worker(session, SUPABASE, settings=QUICK)
        for _ in range(3):
            await worker.look()
        assert asked == ["asked"]
        assert worker_module._REFUSED_PAUSE_S >= 600


async def test_a_project_that_is_not_there_leaves_a_plan_behind(home: Path) -> None:
    async with at_home(home) as (session, _):
        await Worker(session, SUPABASE, settings=QUICK).look()
        uploads = await uploads_of(session)
        assert {upload.state for upload in uploads.values()} == {UploadState.WAITING}
