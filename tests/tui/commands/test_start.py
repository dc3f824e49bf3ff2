from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import AgentRefused, DatasetChanged, TooLittleMemory
from shared.lifecycle import JobStatus
from shared.store.store import Store
from tests.shared.llama_70b import LLAMA_70B_CONFIG
from tests.tui.fake_agent import FakeAgent
from tui.commands.machines import list_machines
from tui.commands.start import StartOptions, build_spec, start_job
from tui.services import jobs
from tui.services.dataset_check import CheckSettings, check_training_file
from tui.services.session import open_session


@pytest.fixture
def options(tmp_path: Path) -> StartOptions:
    path = tmp_path / "train.jsonl"
    pair = (
        '{"id": "p1", "conversation_id": "c1", "turn_number": 1, "system_prompt": "Be kind.", '
        '"conversation_history": [], "current_user_input": "Hi", "target_response": "Hello."}'
    )
    path.write_text('{"_meta": {"version": "4.0.0"}}\n' + pair + "\n")
    return StartOptions((path,), ("lora_r=8",), {"job_id": "job-one", "preset": "aggressive"})


def with_another_talk(path: Path) -> str:
    """The file's text with one more conversation."""
    text = path.read_text().rstrip()
    pair = text.splitlines()[1].replace('"c1"', '"c2"').replace("Hello.", "Good morning.")
    return f"{text}\n{pair}\n"


async def test_a_job_is_handed_over_with_its_dataset(
    agent: FakeAgent, store: Store, options: StartOptions
) -> None:
    async with agent.running():
        assert await start_job(options) == 0

    spec = build_spec(options, options.datasets[0])
    assert agent.started == {"job-one": spec.model_dump(mode="json")}
    assert (agent.root / "datasets" / spec.dataset.stored_name).is_file()
    assert (await store.get_job("job-one")).spec == spec
    assert (spec.hyperparameters.lora_r, spec.hyperparameters.lora_alpha) == (8, 64)
    assert [file.sha256 for file in await store.training_files.all()] == [spec.dataset.sha256]


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


def test_a_home_directory_of_nobody_stays_as_it_was_typed(options: StartOptions) -> None:
    typed = replace(options, values={**options.values, "base_model": "~nobody-at-all/model"})

    assert build_spec(typed, typed.datasets[0]).base_model == "~nobody-at-all/model"


async def test_a_base_model_in_a_directory_becomes_absolute(
    options: StartOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)

    options.values["base_model"] = "model"
    assert build_spec(options, options.datasets[0]).base_model == str(tmp_path / "model")

    options.values["base_model"] = "someone/else"
    assert build_spec(options, options.datasets[0]).base_model == "someone/else"


async def test_a_file_that_changes_on_the_way_ends_the_job_instead_of_leaving_it_queued(
    agent: FakeAgent, store: Store, options: StartOptions
) -> None:
    spec = build_spec(options, options.datasets[0])
    report = check_training_file(options.datasets[0], CheckSettings("tiny"), None).report
    options.datasets[0].write_text("something else")
    async with agent.running(), open_session() as session:
        with pytest.raises(DatasetChanged, match="has changed"):
            await jobs.start_job(session, options.datasets[0], spec, report)

    job = await store.get_job("job-one")
    assert job.status is JobStatus.FAILED
    assert "has changed" in (job.error_message or "")


async def test_a_retry_of_a_job_whose_file_changed_is_refused_with_the_difference(
    agent: FakeAgent, store: Store, options: StartOptions
) -> None:
    async with agent.running(), open_session() as session:
        assert await start_job(options) == 0
        job = await store.settle_job("job-one", JobStatus.FAILED, "no.")
        (agent.root / "datasets" / job.spec.dataset.stored_name).unlink()
        options.datasets[0].write_text(with_another_talk(options.datasets[0]))

        refusal = r"checked on 20.*: conversations 1 -> 2, turns 1 -> 2, .*Start a new job"
        with pytest.raises(DatasetChanged, match=refusal):
            await jobs.retry_job(session, job)

    retried, *_ = await store.list_jobs()
    assert (retried.retry_of, retried.status) == ("job-one", JobStatus.FAILED)


async def test_several_files_are_one_training_set(
    agent: FakeAgent, store: Store, options: StartOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    [first] = options.datasets
    second = first.with_name("more.jsonl")
    second.write_text(with_another_talk(first))
    async with agent.running():
        assert await start_job(replace(options, datasets=(first, second))) == 0

    words = "train+more.jsonl: 2 conversations of 2 files, 1 duplicate left out."
    assert words in capsys.readouterr().out
    [file] = await store.training_files.all()
    assert [source.name for source in file.merged_from] == ["train.jsonl", "more.jsonl"]
    spec = (await store.get_job("job-one")).spec
    assert (spec.name, spec.dataset.file_name) == ("train+more", "train+more.jsonl")
    assert (agent.root / "datasets" / spec.dataset.stored_name).is_file()


async def test_a_start_says_what_has_changed_in_the_file_since_its_last_check(
    agent: FakeAgent, options: StartOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    [path] = options.datasets
    async with agent.running():
        assert await start_job(options) == 0
        assert "has changed" not in capsys.readouterr().out
        path.write_text(with_another_talk(path))
        again = replace(options, values={**options.values, "job_id": "job-two"})
        assert await start_job(again) == 0

    out = " ".join(capsys.readouterr().out.split())
    assert "has changed since it was checked on 20" in out
    assert "conversations 1 -> 2" in out


@pytest.fixture
def large(options: StartOptions, tmp_path: Path) -> StartOptions:
    """A job with a model of 70B."""
    directory = tmp_path / "llama-70b"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(LLAMA_70B_CONFIG))
    return replace(options, values={**options.values, "base_model": str(directory)})


def gpus(*memory_mib: int) -> dict[str, object]:
    """What an agent tells of a machine with these."""
    return {
        "gpus": [
            {"index": index, "name": "A GPU", "memory_total_mib": mib, "memory_used_mib": 0}
            for index, mib in enumerate(memory_mib)
        ]
    }


async def test_a_job_that_cannot_fit_into_the_gpu_is_refused_before_anything_is_written(
    agent: FakeAgent, store: Store, large: StartOptions
) -> None:
    agent.machine = gpus(24_564)
    async with agent.running():
        await list_machines(["local"], as_json=False)
        with pytest.raises(TooLittleMemory, match=r"of 24\.0 GB \(A GPU\).* such as A40"):
            await start_job(large)
        assert (agent.started, await store.list_jobs()) == ({}, [])

        assert await start_job(replace(large, ignore_memory=True)) == 0
    assert list(agent.started) == ["job-one"]


async def test_a_job_that_fits_says_what_it_will_need(
    agent: FakeAgent, large: StartOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.machine = gpus(81_559)
    async with agent.running():
        await list_machines(["local"], as_json=False)
        assert await start_job(large) == 0
    assert re.search(r"memory: about 4\d\.\d GB of 79\.6 GB", capsys.readouterr().out)


async def test_every_gpu_that_the_job_takes_has_to_be_large_enough(
    agent: FakeAgent, large: StartOptions
) -> None:
    agent.machine = gpus(81_559, 24_564)
    async with agent.running():
        await list_machines(["local"], as_json=False)
        with pytest.raises(TooLittleMemory):
            await start_job(replace(large, settings=("num_gpus=2",)))
        assert await start_job(large) == 0


async def test_too_little_ram_is_a_warning(
    agent: FakeAgent, large: StartOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.machine = {"memory_total_bytes": 16 * 10**9, "memory_available_bytes": 8 * 10**9}
    async with agent.running():
        await list_machines(["local"], as_json=False)
        assert await start_job(large) == 0
    assert "(RAM): too much, it may end out of memory." in capsys.readouterr().out
