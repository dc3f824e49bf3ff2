"""The controller is killed, restarted, called off and overloaded; its jobs end as they should."""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.lifecycle import JobStatus, StopReason
from shared.rental import RentalPhase
from tests.end_to_end import controller_process
from tests.end_to_end.rented import (
    Rented,
    called_off,
    check_invariants,
    story,
    until_final,
    until_phase,
    until_step,
)
from tests.remote.remote_box import needs_a_box
from tui.services.session import Session

pytestmark = [needs_a_box, pytest.mark.slow]

ALL_PHASES = (
    RentalPhase.QUEUED,
    RentalPhase.PROVISIONING,
    RentalPhase.CONNECTING,
    RentalPhase.CHECKING,
    RentalPhase.INSTALLING,
    RentalPhase.STARTING,
    RentalPhase.RUNNING,
    RentalPhase.SECURING,
    RentalPhase.ENDING,
)
LEASE_S = 1.5


@asynccontextmanager
async def a_controller(*arguments: Any) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A controller in a process; it is killed at the end, if it was not before."""
    process = subprocess.Popen(controller_process.start(*arguments, lease_s=LEASE_S))
    try:
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def killed_in(phase: RentalPhase, seconds: float, session: Session, job_id: str) -> None:
    """Run a controller until it dies in this phase."""
    async with a_controller(phase.value, seconds) as process:
        try:
            async with asyncio.timeout(60):
                while process.poll() is None:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{phase}:\n{await story(session, job_id)}") from None


async def test_a_controller_killed_in_any_phase_is_followed_by_one_that_goes_on(
    user: Rented,
) -> None:
    seed = random.randrange(10_000)
    chance = random.Random(seed)
    print(f"seed {seed}")
    async with user.session() as session:
        await user.start(session, "killed", "steps=20 delay=0.1 weights=20000000", user.request())
        for phase in ALL_PHASES:
            seconds = chance.choice([0.0, chance.uniform(0, 0.4)])
            await killed_in(phase, seconds, session, "killed")
            is_final = (await session.store.get_job("killed")).status.is_final
            assert not is_final or phase is RentalPhase.ENDING
            await asyncio.sleep(chance.choice([0.0, 2 * LEASE_S]))  # Nobody leads meanwhile.

        async with a_controller():
            job = await until_final(session, "killed")

        assert (job.status, job.state.step) == (JobStatus.COMPLETED, 20)
        assert job.state.attempt == 1, await story(session, "killed")
        assert (user.config.home / "adapters" / "killed").is_dir()
        await check_invariants(user, session, "killed")


async def test_a_job_can_be_called_off_in_every_phase(user: Rented) -> None:
    fake = user.fake
    sold_out = user.candidate("H100_SXM")
    fake.catalogue.set_stock(0, "NVIDIA H100 80GB HBM3")
    notes = "steps=1000 delay=0.1"
    async with user.controlled(concurrent_jobs=4) as (session, _):
        fake.next_machine(never_running=True)
        await user.start(session, "provisioning", notes, user.request())
        await until_phase(session, "provisioning", RentalPhase.PROVISIONING)
        await _until_rented(session, "provisioning")
        fake.next_machine(sshd="silent")
        await user.start(session, "connecting", notes, user.request())
        await until_phase(session, "connecting", RentalPhase.CONNECTING)
        await user.start(session, "waiting", notes, user.request(candidates=(sold_out,)))
        await until_phase(session, "waiting", RentalPhase.WAITING)
        await user.start(session, "installing", notes, user.request())
        await until_phase(session, "installing", RentalPhase.INSTALLING)
        await user.start(session, "queued", notes, user.request())
        await until_phase(session, "queued", RentalPhase.QUEUED)
        for job_id in ("queued", "provisioning", "connecting", "waiting", "installing"):
            job = await called_off(session, job_id)
            assert job.status is JobStatus.CANCELLED, await story(session, job_id)
            assert (job.state.stop_reason, job.state.step) == (StopReason.CANCELLED, 0)

        await user.start(session, "running", notes, user.request())
        await user.start(session, "securing", "steps=2 weights=60000000", user.request())
        await until_step(session, "running", 3)
        job = await called_off(session, "running")
        assert (job.status, job.state.stop_reason) == (JobStatus.CANCELLED, StopReason.CANCELLED)
        assert job.state.last_checkpoint_step == job.state.step
        # What has been trained to its end is not thrown away.
        await until_phase(session, "securing", RentalPhase.SECURING, RentalPhase.DONE)
        job = await called_off(session, "securing")
        assert job.status is JobStatus.COMPLETED
        ids = ("queued", "provisioning", "connecting", "waiting", "installing", "running")
        await check_invariants(user, session, *ids, "securing")


async def _until_rented(session: Session, job_id: str) -> None:
    async with asyncio.timeout(20):
        while not any(m.machine_id for m in await session.store.rentals.machines(job_id)):
            await asyncio.sleep(0.02)


async def test_of_four_jobs_three_run_at_once_and_all_are_done(user: Rented) -> None:
    ids = [f"queue-{number}" for number in range(4)]
    async with user.controlled() as (session, _):
        for job_id in ids:
            await user.start(session, job_id, "steps=4 delay=0.1", user.request())
        await until_phase(session, ids[0], RentalPhase.RUNNING)
        stored = await session.store.rentals.get(ids[3])
        assert stored is not None and stored.rental.phase is RentalPhase.QUEUED
        assert "which is the limit" in stored.rental.reason

        jobs = [await until_final(session, job_id) for job_id in ids]

        assert {job.status for job in jobs} == {JobStatus.COMPLETED}
        prefix = f"brightrun-{await session.store.rentals.mark()}-"
        assert user.fake.max_billing_at_once(prefix) <= 3
        await check_invariants(user, session, *ids)
