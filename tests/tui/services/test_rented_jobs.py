"""What is refused before a machine is rented for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.errors import InvalidBaseModel, InvalidJobSpec
from shared.job_spec import DatasetReference, JobSpec
from shared.machine_request import Candidate, MachineRequest
from shared.store.stored import StoredJob
from tests.fakes.hub import COMMIT, FakeHub, FakeRepo, ask_hub, running_hub
from tests.tui.local_console import Console
from tui.config import Config
from tui.services.dataset_check import check_training_file, settings_of
from tui.services.rented_jobs import start_rented_job
from tui.services.session import Session, open_session

CANDIDATE = Candidate(gpu_type="H100_PCIE", usd_per_hour=2.39)


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[Session]:
    async with open_session(Config(tmp_path / "home", tmp_path / "agent")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("model", "volume", "told"),
    [
        ("/models/llama", None, "a rented machine has no such directory"),
        ("/models/llama", "vol", "a rented machine has no such directory"),
        ("/workspace/models/llama", None, "a rented machine has no such directory"),
        ("./llama", "vol", "is a directory of this machine"),
        ("~/llama", "vol", "is a directory of this machine"),
        ("/workspace/models/llama", "vol", ""),
        ("tiny", None, ""),
    ],
)
async def test_a_model_that_the_machine_cannot_get_at(
    session: Session, tmp_path: Path, model: str, volume: str | None, told: str
) -> None:
    console = Console(tmp_path)
    dataset = DatasetReference.of(console.dataset)
    spec = JobSpec(job_id="job-model", name="model", dataset=dataset, base_model=model)
    request = MachineRequest(candidates=(CANDIDATE,), budget_usd=10.0, network_volume_id=volume)
    report = check_training_file(console.dataset, settings_of(spec), None).report

    if told:
        with pytest.raises(InvalidBaseModel, match=told):
            await start_rented_job(session, console.dataset, spec, report, request)
        assert await session.store.list_jobs() == []
    else:
        job, is_new = await start_rented_job(session, console.dataset, spec, report, request)
        assert (job.host, is_new) == ("runpod:job-model", True)


async def start(session: Session, tmp_path: Path, **values: object) -> tuple[StoredJob, bool]:
    console = Console(tmp_path)
    spec = JobSpec.model_validate(
        {
            "job_id": "job-hub",
            "name": "model",
            "dataset": DatasetReference.of(console.dataset),
            "base_model": "org/model",
            **values,
        }
    )
    request = MachineRequest(candidates=(CANDIDATE,), budget_usd=10.0)
    report = check_training_file(console.dataset, settings_of(spec), None).report
    return await start_rented_job(session, console.dataset, spec, report, request)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    hub = FakeHub()
    files = {"config.json": b"{}", "model.safetensors": b"x"}
    hub.repos["org/model"] = FakeRepo(files, {"main": COMMIT, "v1": "1" * 40})
    hub.repos["org/gated"] = FakeRepo(files, is_gated=True)
    with running_hub(hub):
        ask_hub(monkeypatch, hub.endpoint, tmp_path)
        yield hub


@pytest.mark.parametrize(("typed", "commit"), [(None, COMMIT), ("v1", "1" * 40)])
async def test_the_commit_that_a_revision_means_now_is_frozen_in_the_job(
    session: Session, tmp_path: Path, hub: FakeHub, typed: str | None, commit: str
) -> None:
    job, _ = await start(session, tmp_path, base_model_revision=typed)
    assert job.spec.base_model_revision == commit
    again, is_new = await start(session, tmp_path, base_model_revision=typed)
    assert (again.spec, is_new) == (job.spec, False)


async def test_a_repeated_start_means_what_the_first_one_froze_though_the_branch_has_moved(
    session: Session, tmp_path: Path, hub: FakeHub
) -> None:
    job, _ = await start(session, tmp_path)
    hub.repos["org/model"].branches = {"main": "2" * 40, "old": COMMIT}
    again, is_new = await start(session, tmp_path)
    assert (again.spec, is_new) == (job.spec, False)
    # Who names the branch asks for other weights than the job has.
    with pytest.raises(InvalidJobSpec, match="job-hub exists with other settings"):
        await start(session, tmp_path, base_model_revision="main")


async def test_a_hub_that_does_not_answer_stops_no_start(
    session: Session, tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_hub(monkeypatch, "http://127.0.0.1:9", tmp_path)
    job, _ = await start(session, tmp_path)
    assert job.spec.base_model_revision is None


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"base_model": "org/gated"}, "org/gated is gated: set HF_TOKEN"),
        ({"base_model": "org/none"}, "the hub has no org/none"),
        ({"base_model_revision": "v9"}, "org/model has no revision v9"),
    ],
)
async def test_what_the_hub_refuses_is_not_written_down(
    session: Session, tmp_path: Path, hub: FakeHub, values: dict[str, str], told: str
) -> None:
    with pytest.raises(InvalidBaseModel, match=rf"{told}.*Nothing was rented"):
        await start(session, tmp_path, **values)
    assert await session.store.list_jobs() == []
