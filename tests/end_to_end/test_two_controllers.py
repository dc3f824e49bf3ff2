"""Controllers that die, sleep or meet at the moments when a machine could be rented twice.

The provider's pods are records here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from shared.lifecycle import JobStatus
from shared.rental import MachineState, RentalPhase
from tests.end_to_end import controller_process
from tests.end_to_end.rented import (
    Rented,
    called_off,
    check_invariants,
    until,
    until_machine,
    until_phase,
)

JOB = "job-one"
CREATE = {"method": "POST", "path": r"/v2/pods$"}
VOLUMES = {"method": "GET", "path": r"/v2/network-volumes$"}


@asynccontextmanager
async def a_controller() -> AsyncIterator[subprocess.Popen[bytes]]:
    """In a process of its own; killed at the end, if it was not before."""
    process = subprocess.Popen(controller_process.start(lease_s=1.5))
    try:
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def test_a_machine_made_for_a_controller_that_was_killed_is_adopted(
    on_paper: Rented,
) -> None:
    on_paper.fake.faults.add(**CREATE, after_doing=True, hang=True)
    async with on_paper.session() as session:
        await on_paper.start(session, JOB, "", on_paper.request())
        async with a_controller() as killed:
            await until(lambda: has_pods(on_paper, 1))
            killed.kill()
        (machine,) = await session.store.rentals.machines(JOB)
        assert (machine.state, machine.machine_id) == (MachineState.INTENDED, None)

        async with on_paper.controlled():
            machine = await until_machine(session, JOB, MachineState.RENTED)
            assert [machine.machine_id] == [pod.id for pod in on_paper.fake.pods]
            await called_off(session, JOB)

        assert len(on_paper.fake.calls(**CREATE)) == 1
        await check_invariants(on_paper, session, JOB)


async def test_a_controller_killed_before_it_asked_is_followed_by_one_that_proves_it(
    on_paper: Rented,
) -> None:
    fault = on_paper.fake.faults.add(**VOLUMES, hang=True, times=None)
    async with on_paper.session() as session:
        await on_paper.start(session, JOB, "", on_paper.request())
        async with a_controller() as killed:
            # The bookkeeper asks for the volumes too, perhaps before the machine is intended.
            await until_machine(session, JOB, MachineState.INTENDED)
            await until(lambda: met(fault))
            killed.kill()
        on_paper.fake.faults.clear()
        (machine,) = await session.store.rentals.machines(JOB)
        assert (machine.state, machine.machine_id) == (MachineState.INTENDED, None)

        async with on_paper.controlled():
            await until_machine(session, JOB, MachineState.RENTED, number=2)
            (first, _) = await session.store.rentals.machines(JOB)
            assert first.state is MachineState.NEVER
            await called_off(session, JOB)

        assert len(on_paper.fake.calls(**CREATE)) == 1
        await check_invariants(on_paper, session, JOB)


async def test_a_machine_that_is_made_after_its_controller_was_killed_is_waited_for(
    on_paper: Rented,
) -> None:
    fault = on_paper.fake.faults.add(**CREATE, delay_s=3.0)
    async with on_paper.session() as session:
        await on_paper.start(session, JOB, "", on_paper.request())
        async with a_controller() as killed:
            await until(lambda: met(fault))
            killed.kill()
        assert on_paper.fake.pods == []

        async with on_paper.controlled(absence_grace_s=6.0):
            machine = await until_machine(session, JOB, MachineState.RENTED)
            assert [machine.machine_id] == [pod.id for pod in on_paper.fake.pods]
            await called_off(session, JOB)

        assert len(on_paper.fake.calls(**CREATE)) == 1
        await check_invariants(on_paper, session, JOB)


async def test_a_controller_that_ends_in_good_order_notes_the_answer_first(
    on_paper: Rented,
) -> None:
    fault = on_paper.fake.faults.add(**CREATE, delay_s=1.0)
    async with on_paper.session() as session:
        async with on_paper.controlled():
            await on_paper.start(session, JOB, "", on_paper.request())
            await until(lambda: met(fault))

        (machine,) = await session.store.rentals.machines(JOB)
        assert machine.state is MachineState.RENTED
        assert [machine.machine_id] == [pod.id for pod in on_paper.fake.pods]

        async with on_paper.controlled():
            await called_off(session, JOB)
        assert len(on_paper.fake.calls(**CREATE)) == 1
        await check_invariants(on_paper, session, JOB)


async def test_of_two_controllers_one_acts_and_the_other_follows_it(on_paper: Rented) -> None:
    on_paper.fake.next_machine(never_running=True)
    async with on_paper.controlled() as (session, second):
        async with on_paper.controlled() as (_, first):
            await on_paper.start(session, JOB, "", on_paper.request())
            await until_machine(session, JOB, MachineState.RENTED)
            assert [first.leads, second.leads].count(True) == 1
            leader, watcher = (first, second) if first.leads else (second, first)
            assert leader.lease is not None
            await until(lambda: sees(watcher, leader))

        await until(lambda: leads(second))

        job = await called_off(session, JOB)
        assert job.status is JobStatus.CANCELLED
        assert len(on_paper.fake.calls(**CREATE)) == 1
        await check_invariants(on_paper, session, JOB)


async def test_a_leader_that_slept_through_its_lease_acts_no_more(on_paper: Rented) -> None:
    on_paper.fake.next_machine(never_running=True)
    async with on_paper.session() as session, a_controller() as sleeper:
        await on_paper.start(session, JOB, "", on_paper.request())
        await until_machine(session, JOB, MachineState.RENTED)
        await put_to_sleep(sleeper, on_paper)

        async with on_paper.controlled() as (_, other):
            await until(lambda: leads(other))
            os.kill(sleeper.pid, signal.SIGCONT)
            await on_paper.start(session, "job-two", "", on_paper.request())
            await until_phase(session, "job-two", RentalPhase.CONNECTING)
            assert other.leads
            lease = await session.store.rentals.lease()
            assert lease is not None and lease.label.endswith(f"(pid {os.getpid()})")
            for job_id in (JOB, "job-two"):
                await called_off(session, job_id)

        assert len(on_paper.fake.calls(**CREATE)) == 2
        assert sleeper.poll() is None
        await check_invariants(on_paper, session, JOB, "job-two")


async def put_to_sleep(process: subprocess.Popen[bytes], user: Rented) -> None:
    """Stop it, but not within a transaction: nobody else could write then."""
    while True:
        os.kill(process.pid, signal.SIGSTOP)
        store = sqlite3.connect(user.config.database_path, timeout=0.1)
        with contextlib.closing(store), contextlib.suppress(sqlite3.OperationalError):
            store.execute("BEGIN IMMEDIATE")
            return
        os.kill(process.pid, signal.SIGCONT)
        await asyncio.sleep(0.05)


async def has_pods(user: Rented, count: int) -> bool:
    return len(user.fake.pods) == count


async def met(fault: Any) -> bool:
    return bool(fault.met)


async def leads(controller: Any) -> bool:
    return bool(controller.leads)


async def sees(watcher: Any, leader: Any) -> bool:
    return watcher.lease is not None and watcher.lease.owner == leader.lease.owner
