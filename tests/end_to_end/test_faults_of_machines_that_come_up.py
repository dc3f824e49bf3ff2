"""Machines that are not what was agreed, cannot be reached, or are not who they say they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared.lifecycle import JobStatus
from shared.rental import MachineState, RentalPhase
from shared.store.rentals import StoredRental
from tests.end_to_end.rented import (
    Rented,
    called_off,
    check_invariants,
    story,
    until,
    until_final,
    until_machine,
    until_phase,
    until_step,
)
from tests.remote.remote_box import needs_a_box
from tui.services.rented_jobs import answer_question
from tui.services.session import Session

JOB = "job-one"
LIST = {"method": "GET", "path": r"/v2/pods$"}
BAD_MACHINES = [
    ({"gpu_name": "NVIDIA A100 80GB PCIe"}, "NVIDIA A100 80GB PCIe is not the H100_PCIE agreed"),
    ({"gpu_count": 0}, "1 GPU(s) were agreed: No devices were found"),
    ({"gpu_count": 2}, "1 GPU(s) were agreed: it has 2"),
    ({"memory_mib": 40_960}, "is not the H100_PCIE agreed"),
    ({"driver_version": "535.1", "cuda_version": "12.2"}, "runs CUDA 12.2; 12.8 is needed"),
    ({"disk_free_gb": 4.0}, "4.0 GB of disk are free; the training stack needs more"),
]


@needs_a_box
@pytest.mark.slow
async def test_a_machine_that_is_not_as_agreed_is_given_back_within_a_minute(
    user: Rented,
) -> None:
    candidates = tuple(
        user.candidate(usd_per_hour=user.price() + number / 1000)
        for number in range(len(BAD_MACHINES))
    )
    for machine, _ in BAD_MACHINES:
        user.fake.next_machine(**machine)
    async with user.controlled() as (session, _):
        await user.start(session, JOB, "", user.request(candidates=candidates))

        stored = await until_phase(session, JOB, RentalPhase.WAITING, timeout_s=90)

        for failure, (_, why) in zip(stored.rental.failures, BAD_MACHINES, strict=True):
            assert why in failure, await story(session, JOB)
        machines = await session.store.rentals.machines(JOB)
        assert {machine.state for machine in machines[: len(BAD_MACHINES)]} == {MachineState.GONE}
        for machine in machines[: len(BAD_MACHINES)]:
            assert machine.ending_at is not None
            assert (machine.ending_at - machine.created_at).total_seconds() < 60
        await called_off(session, JOB)
        await check_invariants(user, session, JOB)


async def test_images_that_are_never_pulled_and_machines_that_never_answer_have_a_deadline(
    on_paper: Rented,
) -> None:
    on_paper.fake.next_machine(pull_loop=True)
    on_paper.fake.next_machine(never_running=True)
    candidates = tuple(
        on_paper.candidate(usd_per_hour=on_paper.price() + number / 1000) for number in range(3)
    )
    # Of the deadlines: 1.8 s to come up, 1.2 s to be reached.
    async with on_paper.controlled(deadline_factor=0.002) as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request(candidates=candidates))
        machine = await until_machine(session, JOB, MachineState.RENTED)
        assert machine.machine_id == on_paper.fake.pods[0].id

        stored = await until_phase(session, JOB, RentalPhase.WAITING)

        pull, silent, unreached = stored.rental.failures
        assert "did not come up in time: error pulling image: failed to register layer" in pull
        assert "did not come up in time" in silent
        assert "was not connecting in time: its log names no host key yet" in unreached
        await called_off(session, JOB)
        await check_invariants(on_paper, session, JOB)


@needs_a_box
@pytest.mark.slow
async def test_a_machine_whose_ssh_never_opens_is_given_back_at_its_deadline(
    user: Rented,
) -> None:
    user.fake.next_machine(sshd="silent")
    async with user.controlled(deadline_factor=0.006) as (session, _):
        await user.start(session, JOB, "", user.request())

        machine = await until_machine(session, JOB, MachineState.GONE)

        assert machine.end_reason.startswith("was not connecting in time: ")
        assert "127.0.0.1" in machine.end_reason
        await called_off(session, JOB)
        await check_invariants(user, session, JOB)


@needs_a_box
@pytest.mark.slow
async def test_a_machine_with_another_host_key_than_its_log_names_is_sent_nothing(
    user: Rented,
) -> None:
    user.fake.next_machine(shows_host_keys=False)
    foreign = "256 SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU root@pod (ED25519)"
    async with user.controlled() as (session, _):
        await user.start(session, JOB, "", user.request())
        machine = await until_machine(session, JOB, MachineState.RENTED)
        user.fake.pod(machine.name).write("container", foreign)
        disk = user.fake.disk(str(machine.machine_id))

        async with kept(disk / ".sshd" / "log") as log:
            machine = await until_machine(session, JOB, MachineState.ENDING)

        assert "shows another host key (SHA256:" in machine.end_reason
        assert "nothing was sent to it" in machine.end_reason
        assert "publickey" not in log.text and "Accepted" not in log.text
        await called_off(session, JOB)
        await check_invariants(user, session, JOB)


@needs_a_box
@pytest.mark.slow
async def test_a_machine_whose_log_names_no_key_is_let_in_by_the_users_answer_once(
    user: Rented,
) -> None:
    user.fake.next_machine(shows_host_keys=False)
    async with user.controlled() as (session, _):
        await user.start(session, JOB, "steps=4", user.request())
        stored = await until_question(session)
        assert "names no host key" in stored.rental.question
        assert stored.rental.phase is RentalPhase.CONNECTING
        (pod,) = user.fake.pods

        job = await session.store.get_job(JOB)
        await answer_question(session, job, await own_fingerprint(user.fake.disk(pod.id)))
        job = await until_final(session, JOB)

        assert job.status is JobStatus.COMPLETED, await story(session, JOB)
        ended = await session.store.rentals.get(JOB)
        assert ended is not None and (ended.answer, ended.rental.question) == ("", "")
        await check_invariants(user, session, JOB)


@needs_a_box
@pytest.mark.slow
async def test_a_provider_that_falls_silent_while_a_job_trains_does_not_touch_the_trainer(
    user: Rented,
) -> None:
    async with user.controlled() as (session, _):
        await user.start(session, JOB, "steps=150 delay=0.05", user.request())
        await until_step(session, JOB, 3)
        omission = user.fake.faults.add(**LIST, omit=".*", times=1)
        await until(lambda: met(omission.met >= 1))

        silence = user.fake.faults.add(method="*", path="/v2/", status=503, times=None)
        await until(lambda: reason_has(session, "the provider does not answer"))
        step = (await session.store.get_job(JOB)).state.step
        await until_step(session, JOB, step + 20)
        assert silence.met >= 2
        stored = await session.store.rentals.get(JOB)
        assert stored is not None and stored.rental.phase is RentalPhase.RUNNING
        user.fake.faults.clear()
        await until(lambda: reason_is(session, ""))

        job = await until_final(session, JOB)
        assert (job.status, job.state.attempt) == (JobStatus.COMPLETED, 1)
        assert len(await session.store.rentals.machines(JOB)) == 1
        await check_invariants(user, session, JOB)


class kept:
    """A file's text, read again and again as long as it is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.text = ""

    async def __aenter__(self) -> kept:
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await asyncio.wait({self._reading})

    async def _read(self) -> None:
        while True:
            if self._path.exists():
                self.text = self._path.read_text()
            await asyncio.sleep(0.02)


async def own_fingerprint(disk: Path) -> str:
    public = disk / ".sshd" / "ssh_host_ed25519_key.pub"
    process = await asyncio.create_subprocess_exec(
        "ssh-keygen", "-lf", str(public), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    return printed.decode().split()[1]


async def until_question(session: Session) -> StoredRental:
    async def is_asked() -> bool:
        stored = await session.store.rentals.get(JOB)
        return stored is not None and bool(stored.rental.question)

    await until(is_asked)
    stored = await session.store.rentals.get(JOB)
    assert stored is not None
    return stored


async def reason_has(session: Session, words: str) -> bool:
    stored = await session.store.rentals.get(JOB)
    return stored is not None and words in stored.rental.reason


async def reason_is(session: Session, words: str) -> bool:
    stored = await session.store.rentals.get(JOB)
    return stored is not None and words == stored.rental.reason


async def met(is_met: bool) -> bool:
    return is_met
