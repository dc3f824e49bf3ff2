from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import AgentRefused, DatasetChanged
from shared.lifecycle import JobStatus
from shared.store.store import Store
from tests.tui.fake_agent import FakeAgent
from tui.commands.start import StartOptions, build_spec, start_job
from tui.services import jobs
from tui.services.inspection import inspect_file
from tui.services.session import open_session


@pytest.fixture
def options(tmp_path: Path) -> StartOptions:
    path = tmp_path / "train.jsonl"
    pair = (
        '{"id": "p1", "conversation_id": "c1", "turn_number": 1, "system_prompt": "Be kind.", '
        '"conversation_history": [], "current_user_input": "Hi", "target_response": "Hello."}'
    )
    path.write_text('{"_meta": {"version": "4.0.0"}}\n' + pair + "\n")
    return StartOptions(path, ("lora_r=8",), {"job_id": "job-one", "preset": "aggressive"})


async def test_a_job_is_handed_over_with_its_dataset(
    agent: FakeAgent, store: Store, options: StartOptions
) -> None:
    async with agent.running():
        assert await start_job(options) == 0

    spec = build_spec(options)
    assert agent.started == {"job-one": spec.model_dump(mode="json")}
    assert (agent.root / "datasets" / spec.dataset.stored_name).is_file()
    assert (await store.get_job("job-one")).spec == spec
    assert (spec.hyperparameters.lora_r, spec.hyperparameters.lora_alpha) == (8, 64)
    assert [file.sha256 for file in await store.files()] == [spec.dataset.sha256]


@pytest.mark.parametrize(
    ("status_code", "status"),
    [(422, JobStatus.FAILED), (409, JobStatus.FAILED), (500, JobStatus.QUEUED)],
)
async def test_only_a_real_refusal_ends_the_job(
    agent: FakeAgent, store: Store, options: StartOptions, status_code: int, status: JobStatus
) -> None:
    agent.refuses_with = status_code
    async with agent.running():
        with pytest.raises(AgentRefused, match="not this one"):
            await start_job(options)

    job = await store.get_job("job-one")
    assert job.status is status
    assert job.error_message == ("refused: not this one" if job.status.is_final else None)


async def test_a_base_model_in_a_directory_becomes_absolute(
    options: StartOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)

    options.values["base_model"] = "model"
    assert build_spec(options).base_model == str(tmp_path / "model")

    options.values["base_model"] = "someone/else"
    assert build_spec(options).base_model == "someone/else"


async def test_a_file_that_changes_on_the_way_ends_the_job_instead_of_leaving_it_queued(
    agent: FakeAgent, store: Store, options: StartOptions
) -> None:
    spec = build_spec(options)
    report = inspect_file(options.dataset, base_model="tiny", max_seq_length=4096)
    options.dataset.write_text("something else")
    async with agent.running(), open_session() as session:
        with pytest.raises(DatasetChanged, match="has changed"):
            await jobs.start_job(session, options.dataset, spec, report)

    job = await store.get_job("job-one")
    assert job.status is JobStatus.FAILED
    assert "has changed" in (job.error_message or "")
