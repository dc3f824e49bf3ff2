from __future__ import annotations

import pytest

from shared import events
from shared.errors import DatasetChanged, InvalidDataset, JobConflict, NoTrainerRunning
from shared.lifecycle import JobStatus, StopReason


async def test_a_job_runs_to_a_verified_adapter(pod, steps_of):
    supervisor = await pod.supervisor()
    assert await supervisor.start(pod.spec())
    records = await pod.until_final(supervisor)
    state = supervisor.job("job-one").state
    assert state.status is JobStatus.COMPLETED
    assert state.adapter_verified
    assert steps_of(records) == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    kinds = [record.event.kind for record in records]
    assert kinds[:2] == ["attempt_started", "trainer_started"]
    assert kinds[-2:] == ["trainer_finished", "attempt_ended"]
    assert records[-1].trainer_offset == pod.attempt(1).trainer_events_path.stat().st_size


async def test_starting_twice_changes_nothing(pod):
    supervisor = await pod.supervisor()
    assert await supervisor.start(pod.spec())
    assert not await supervisor.start(pod.spec())
    await pod.until_final(supervisor)
    assert not await supervisor.start(pod.spec())
    assert len(pod.shims()) == 1


async def test_an_id_that_is_taken_by_another_spec_is_refused(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec())
    with pytest.raises(JobConflict):
        await supervisor.start(pod.spec("steps=9"))


async def test_a_dataset_that_changed_is_refused_and_nothing_is_written(pod):
    supervisor = await pod.supervisor()
    spec = pod.spec()
    stored = pod.root.datasets_path / spec.dataset.stored_name
    stored.write_text("other bytes\n")
    with pytest.raises(DatasetChanged):
        await supervisor.start(spec)
    stored.unlink()
    with pytest.raises(InvalidDataset):
        await supervisor.start(spec)
    assert not pod.root.job("job-one").path.exists()


async def test_a_dataset_that_changes_before_the_next_attempt_ends_the_job(pod):
    supervisor = await pod.supervisor()
    spec = pod.spec("at=2 dies=hang")
    await supervisor.start(spec)
    await pod.until_step(1)
    (pod.root.datasets_path / spec.dataset.stored_name).write_text("other bytes\n")
    await kill_trainer(pod, 1)
    await pod.until_final(supervisor)
    assert supervisor.job("job-one").state.stop_reason is StopReason.DATASET_CHANGED
    assert len(pod.shims()) == 1


async def test_a_dataset_that_is_gone_before_the_next_attempt_ends_the_job_with_its_name(pod):
    supervisor = await pod.supervisor()
    spec = pod.spec("at=2 dies=hang")
    stored = pod.root.datasets_path / spec.dataset.stored_name
    await supervisor.start(spec)
    await pod.until_step(1)
    stored.unlink()
    await kill_trainer(pod, 1)
    await pod.until_final(supervisor)
    state = supervisor.job("job-one").state
    assert (state.attempt, state.stop_reason) == (2, StopReason.DATASET_CHANGED)
    assert str(stored) in state.detail


async def test_exit_0_without_an_adapter_is_a_failure(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("at=3 dies=exit0 until=9"))
    await pod.until_final(supervisor)
    state = supervisor.job("job-one").state
    assert (state.status, state.stop_reason) == (JobStatus.FAILED, StopReason.TRAINER_CRASHED)


async def test_a_crash_that_comes_again_is_final_and_shows_the_end_of_the_log(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("at=2 dies=crash until=9"))
    await pod.until_final(supervisor)
    state = supervisor.job("job-one").state
    assert (state.attempt, state.stop_reason) == (2, StopReason.TRAINER_CRASHED)
    assert "crashes as told" in state.detail


async def test_a_crash_before_the_first_step_is_final_at_once(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("at=1 dies=crash"))
    await pod.until_final(supervisor)
    state = supervisor.job("job-one").state
    assert (state.attempt, state.stop_reason) == (1, StopReason.TRAINER_CRASHED)


@pytest.mark.parametrize(
    ("dies", "reason"), [("segfault", "trainer_crashed"), ("ecc", "hardware_fault")]
)
async def test_a_fault_that_does_not_come_again_costs_a_restart_only(pod, dies, reason):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec(f"at=3 dies={dies}"))
    records = await pod.until_final(supervisor)
    ends = [r.event for r in records if isinstance(r.event, events.AttemptEnded)]
    assert [end.stop_reason for end in ends] == [reason, "completed"]


async def test_a_command_that_does_not_exist_is_a_crash_that_says_so(pod):
    supervisor = await pod.supervisor(trainer_command=["/nowhere/trainer"])
    await supervisor.start(pod.spec())
    await pod.until_final(supervisor)
    state = supervisor.job("job-one").state
    assert state.stop_reason is StopReason.TRAINER_CRASHED
    assert "/nowhere/trainer" in state.detail


async def test_a_dry_run_completes_without_an_adapter(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec(dry_run=True))
    await pod.until_final(supervisor)
    state = supervisor.job("job-one").state
    assert (state.status, state.stop_reason) == (JobStatus.COMPLETED, StopReason.DRY_RUN_PASSED)


async def test_a_line_that_is_no_event_becomes_a_warning(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("garbage=1"))
    records = await pod.until_final(supervisor)
    warnings = [r.event for r in records if isinstance(r.event, events.LogLine)]
    assert [(w.level, "confetti" in w.message) for w in warnings] == [("warning", True)]
    assert supervisor.job("job-one").state.status is JobStatus.COMPLETED


async def test_a_flood_of_log_lines_stalls_nothing(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("flood=200000"))
    await pod.until_final(supervisor)
    assert supervisor.job("job-one").state.status is JobStatus.COMPLETED
    assert pod.attempt(1).log_path.stat().st_size > 4_000_000


async def test_two_jobs_run_side_by_side(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec())
    await supervisor.start(pod.spec(job_id="job-two"))
    for job_id in ("job-one", "job-two"):
        await pod.until_final(supervisor, job_id)
        assert supervisor.job(job_id).state.status is JobStatus.COMPLETED


async def test_a_checkpoint_is_saved_on_request(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=3 delay=0.3"))
    await pod.until(lambda: supervisor.job("job-one").state.status is JobStatus.TRAINING)
    supervisor.request_checkpoint("job-one")
    records = await pod.until_final(supervisor)
    saved = [r.event.step for r in records if isinstance(r.event, events.CheckpointCommitted)]
    assert saved[0] == 1
    with pytest.raises(NoTrainerRunning):
        supervisor.request_checkpoint("job-one")


async def kill_trainer(pod, attempt: int) -> None:
    from agent.process import send_signal

    send_signal((await pod.trainer_of(attempt)).trainer, 9)
