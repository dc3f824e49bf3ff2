from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidHyperparameter, InvalidInput, InvalidJobSpec
from shared.events import CheckpointCommitted, Event
from shared.job_spec import CheckpointReference
from shared.lifecycle import Activity, JobStatus, StopReason
from shared.store.store import Store
from shared.store.stored import StoredJob
from tests.shared.dataset.documents import document, file_pairs
from tests.shared.store.journal import ended, journal, metrics, run_facts, stage, started
from tests.tui.fake_agent import FakeAgent
from tui.commands.jobs import list_jobs
from tui.commands.retry import RetryOptions, retry_job
from tui.commands.show import show_job
from tui.commands.start import StartOptions, start_job
from tui.commands.watch import watch_job

CHECKPOINT = CheckpointCommitted(
    step=3,
    path="step-3",
    manifest_sha256="d" * 64,
    size_bytes=1_000_000,
    seconds=0.1,
)


@pytest.fixture
async def job_one(agent: FakeAgent, store: Store, tmp_path: Path) -> AsyncIterator[StoredJob]:
    """A job that an agent has, and which has not ended."""
    path = tmp_path / "train.json"
    path.write_text(json.dumps(document(c1=file_pairs("Hi", "Hello."))))
    async with agent.running():
        values = {"job_id": "job-one", "num_gpus": 2}
        assert await start_job(StartOptions((path,), ("lora_r=8",), values)) == 0
        yield await store.get_job("job-one")


async def end(store: Store, reason: StopReason, *events: Event) -> None:
    records = journal(
        started(),
        run_facts(100),
        stage(JobStatus.TRAINING, Activity.TRAINING),
        *events,
        ended(reason, detail="loss is nan at step 4"),
    )
    await store.apply_records("job-one", records)


async def new_job(store: Store) -> StoredJob:
    newest, *_ = await store.list_jobs()
    assert newest.job_id != "job-one"
    return newest


def changed(before: StoredJob, after: StoredJob) -> dict[str, Any]:
    old, new = before.spec.model_dump(), after.spec.model_dump()
    fields = {name: new[name] for name in new if new[name] != old[name]}
    assert fields.pop("job_id") == after.job_id
    hyperparameters = fields.pop("hyperparameters", {})
    kept = old["hyperparameters"]
    return {**fields, **{k: v for k, v in hyperparameters.items() if v != kept[k]}}


async def test_a_retry_changes_what_was_typed_and_says_from_what_to_what(
    store: Store, agent: FakeAgent, job_one: StoredJob, capsys: pytest.CaptureFixture[str]
) -> None:
    await end(store, StopReason.CANCELLED)
    options = RetryOptions(("learning_rate=1e-4", "early_stopping_patience=2", "num_gpus=2"))
    assert await retry_job("job-one", options) == 0

    again = await new_job(store)
    assert changed(job_one, again) == {"learning_rate": 1e-4, "early_stopping_patience": 2}
    assert again.retry_of == "job-one"
    assert agent.started[again.job_id] == again.spec.model_dump(mode="json")
    out = capsys.readouterr().out
    assert "  learning_rate: 0.0002 -> 0.0001\n" in out
    assert "  early_stopping_patience: none -> 2\n" in out
    assert "num_gpus" not in out


@pytest.mark.parametrize(
    ("setting", "error", "complaint"),
    [
        ("lora_r=0", InvalidHyperparameter, "lora_r = '0' is out of range"),
        ("num_gpus=0", InvalidJobSpec, "num_gpus = '0' is out of range"),
        ("warmth=1", InvalidJobSpec, "there is no such setting"),
    ],
)
async def test_a_wrong_change_starts_nothing(
    store: Store, job_one: StoredJob, setting: str, error: type[Exception], complaint: str
) -> None:
    await end(store, StopReason.CANCELLED)
    with pytest.raises(error, match=complaint):
        await retry_job("job-one", RetryOptions((setting,)))
    assert [job.job_id for job in await store.list_jobs()] == ["job-one"]


async def test_what_is_suggested_is_shown_with_its_command_and_launched_by_its_number(
    store: Store, job_one: StoredJob, capsys: pytest.CaptureFixture[str]
) -> None:
    await end(store, StopReason.NON_FINITE, metrics(1, 2.5), metrics(2, 2.75))
    command = "brightrun retry job-one --set learning_rate=0.0001 --set warmup_ratio=0.1"
    reason = "Loss or gradient broke after 2 sound steps of 100 (the last loss was 2.7500)"

    capsys.readouterr()
    assert await show_job("job-one", as_json=False) == 0
    assert f"1. {reason}" in (shown := capsys.readouterr().out)
    assert f"   {command}\n" in shown
    assert await watch_job("job-one", as_json=False) == 1
    assert f"   {command}\n" in capsys.readouterr().err

    expected = {"learning_rate": "0.0001", "warmup_ratio": "0.1"}
    await show_job("job-one", as_json=True)
    [suggestion] = json.loads(capsys.readouterr().out)["suggestions"]
    assert (suggestion["changes"], suggestion["command"]) == (expected, command)
    await list_jobs([], as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["suggestions"] == [suggestion]

    assert await retry_job("job-one", RetryOptions(("num_epochs=1",), suggestion=1)) == 0
    values = {"learning_rate": 1e-4, "warmup_ratio": 0.1, "num_epochs": 1}
    assert changed(job_one, await new_job(store)) == values
    assert reason in capsys.readouterr().out


async def test_a_suggestion_that_goes_on_begins_at_the_last_checkpoint(
    store: Store, job_one: StoredJob
) -> None:
    await end(store, StopReason.DISK_FULL, metrics(3, 2.5), CHECKPOINT)
    assert await retry_job("job-one", RetryOptions(suggestion=1)) == 0

    source = CheckpointReference(job_id="job-one", step=3, manifest_sha256="d" * 64)
    spec = (await new_job(store)).spec
    assert (spec.resume_from, spec.checkpoints_kept) == (source, 1)


async def test_a_number_that_is_none_is_refused(store: Store, job_one: StoredJob) -> None:
    await end(store, StopReason.NON_FINITE, metrics(1, 2.5))
    with pytest.raises(InvalidInput, match="no suggestion 2, only 1 to 1"):
        await retry_job("job-one", RetryOptions(suggestion=2))


async def test_where_nothing_is_suggested_the_way_to_change_it_oneself_is_told(
    store: Store, job_one: StoredJob, capsys: pytest.CaptureFixture[str]
) -> None:
    await end(store, StopReason.TRAINER_CRASHED)
    with pytest.raises(InvalidInput, match=r"nothing is suggested for it; .*--set NAME=VALUE"):
        await retry_job("job-one", RetryOptions(suggestion=1))
    capsys.readouterr()
    await show_job("job-one", as_json=True)
    assert json.loads(capsys.readouterr().out)["suggestions"] == []


async def test_two_retries_at_once_are_two_jobs(store: Store, job_one: StoredJob) -> None:
    await end(store, StopReason.CANCELLED)
    await asyncio.gather(*(retry_job("job-one", RetryOptions()) for _ in range(2)))
    assert len(await store.list_jobs()) == 3
