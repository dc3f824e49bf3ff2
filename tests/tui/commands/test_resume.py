from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.events import CheckpointCommitted, CheckpointRefused, Event
from shared.job_spec import CheckpointReference
from shared.lifecycle import StopReason
from shared.store.store import Store
from shared.store.stored import StoredJob
from tests.shared.dataset.documents import document, file_pairs
from tests.shared.store.journal import ended, job_spec, journal, started
from tests.tui.fake_agent import FakeAgent
from tui.commands.resume import ResumeOptions, resume_job
from tui.commands.start import StartOptions, start_job
from tui.services.resumption import newest_checkpoint


@pytest.fixture
async def job_one(agent: FakeAgent, store: Store, tmp_path: Path) -> AsyncIterator[StoredJob]:
    """A job that an agent has, and which has not ended."""
    path = tmp_path / "train.json"
    path.write_text(json.dumps(document(c1=file_pairs("Hi", "Hello."))))
    async with agent.running():
        assert await start_job(StartOptions((path,), ("lora_r=8",), {"job_id": "job-one"})) == 0
        yield await store.get_job("job-one")


def committed(step: int, attempt: int = 1) -> CheckpointCommitted:
    return CheckpointCommitted(
        step=step,
        path=f"/host/jobs/job-one/attempts/{attempt}/checkpoints/step-{step:08d}",
        manifest_sha256=f"{attempt}{step}".ljust(64, "0"),
        size_bytes=1_000_000,
        seconds=0.1,
    )


def refused(step: int, attempt: int = 1) -> CheckpointRefused:
    folder = f"/host/jobs/job-one/attempts/{attempt}/checkpoints/refused"
    return CheckpointRefused(path=f"{folder}/step-{step:08d}", reason="bit flip")


def reference(step: int, attempt: int = 1) -> CheckpointReference:
    sha256 = committed(step, attempt).manifest_sha256
    return CheckpointReference(job_id="job-one", step=step, manifest_sha256=sha256)


async def end(store: Store, reason: StopReason, *events: Event) -> None:
    await store.apply_records("job-one", journal(started(), *events, ended(reason)))


async def new_job(store: Store) -> StoredJob:
    newest, *_ = await store.list_jobs()
    assert newest.job_id != "job-one"
    return newest


async def test_an_ended_job_goes_on_from_its_newest_checkpoint_as_a_new_one(
    store: Store, agent: FakeAgent, job_one: StoredJob, capsys: pytest.CaptureFixture[str]
) -> None:
    await end(store, StopReason.CANCELLED, committed(3), committed(7))
    assert await resume_job("job-one", ResumeOptions(("max_restarts=9",))) == 0

    again = await new_job(store)
    expected = {"job_id": again.job_id, "resume_from": reference(7), "max_restarts": 9}
    assert again.spec == job_one.spec.model_copy(update=expected)
    assert (again.retry_of, again.host) == ("job-one", job_one.host)
    assert agent.started[again.job_id] == again.spec.model_dump(mode="json")
    out = capsys.readouterr().out
    assert f"{again.job_id} started; it goes on from step 7 of job-one." in out
    assert "  max_restarts: 3 -> 9\n" in out


async def test_other_hyperparameters_need_force_and_are_shown(
    store: Store, job_one: StoredJob
) -> None:
    await end(store, StopReason.NON_FINITE, committed(3))
    settings = ("learning_rate=1e-4", "lora_dropout=0.1")
    with pytest.raises(InvalidInput) as caught:
        await resume_job("job-one", ResumeOptions(settings))
    assert str(caught.value).splitlines() == [
        "The checkpoint of job-one belongs to a run with other settings:",
        "  learning_rate: 0.0002 there, 0.0001 here",
        "  lora_dropout: 0.05 there, 0.1 here",
        "Add --force to go on from it all the same.",
    ]
    assert [job.job_id for job in await store.list_jobs()] == ["job-one"]

    assert await resume_job("job-one", ResumeOptions(settings, force=True)) == 0
    spec = (await new_job(store)).spec
    assert (spec.force_resume, spec.hyperparameters.learning_rate) == (True, 1e-4)


@pytest.mark.parametrize(
    ("reason", "events", "complaint"),
    [
        (StopReason.COMPLETED, [committed(3)], "is completed: nothing is left"),
        (StopReason.CANCELLED, [], "has no checkpoint to go on from; `brightrun retry job-one`"),
    ],
)
async def test_where_nothing_can_be_resumed_the_message_says_what_can_be_done(
    store: Store, job_one: StoredJob, reason: StopReason, events: list[Event], complaint: str
) -> None:
    await end(store, reason, *events)
    with pytest.raises(InvalidInput, match=complaint):
        await resume_job("job-one", ResumeOptions())
    assert [job.job_id for job in await store.list_jobs()] == ["job-one"]


async def test_a_job_that_still_runs_is_not_resumed(store: Store, job_one: StoredJob) -> None:
    await store.apply_records("job-one", journal(started(), committed(3)))
    with pytest.raises(InvalidInput, match="only a job that has ended"):
        await resume_job("job-one", ResumeOptions())


async def test_a_checkpoint_that_a_later_attempt_refused_is_passed_over(store: Store) -> None:
    job, _ = await store.add_job(job_spec(), "local")
    await store.apply_records("job-one", journal(started(), committed(4), committed(5)))
    assert await newest_checkpoint(store, job) == reference(5)
    await store.apply_records("job-one", journal(started(), refused(5), attempt=2))
    assert await newest_checkpoint(store, job) == reference(4)
    later = journal(started(), refused(5), committed(5, attempt=2), attempt=2)
    await store.apply_records("job-one", later)
    assert await newest_checkpoint(store, job) == reference(5, attempt=2)


async def test_a_job_without_a_checkpoint_of_its_own_passes_on_where_it_began(store: Store) -> None:
    began_at = CheckpointReference(job_id="job-zero", step=2, manifest_sha256="b" * 64)
    job, _ = await store.add_job(job_spec(resume_from=began_at), "local")
    assert await newest_checkpoint(store, job) == began_at
