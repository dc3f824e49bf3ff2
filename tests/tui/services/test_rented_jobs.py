"""What is refused before a machine is rented for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import InvalidBaseModel
from shared.job_spec import DatasetReference, JobSpec
from shared.machine_request import Candidate, MachineRequest
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
