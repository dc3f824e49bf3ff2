"""A provider whose list, refusals and promises cannot be relied on, and machines of nobody.

Its pods are records here.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import httpx
import pytest

from shared.errors import ProviderError
from shared.lifecycle import JobStatus
from shared.rental import MachineState, RentalPhase
from tests.end_to_end.rented import (
    Rented,
    called_off,
    check_invariants,
    story,
    until,
    until_machine,
    until_phase,
)
from tui.services.controller.fleet import end_machine, our_machines, reap
from tui.services.controller.machine_names import machine_name
from tui.services.session import Session

JOB = "job-one"
CREATE = {"method": "POST", "path": r"/v2/pods$"}
LIST = {"method": "GET", "path": r"/v2/pods$"}
DELETE = {"method": "DELETE", "path": r"/v2/pods/\w+$"}


async def test_a_provider_that_fails_for_long_is_asked_less_and_less_and_then_gone_on_with(
    on_paper: Rented,
) -> None:
    on_paper.fake.next_machine(delay_s=1.0)
    async with on_paper.controlled(provider_pause_s=1.0) as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())
        machine = await until_machine(session, JOB, MachineState.RENTED)

        on_paper.fake.faults.add(**LIST, status=503, times=None)
        since_s = on_paper.fake.clock.now_s()
        await until(lambda: reason_has(session, "503"))
        await asyncio.sleep(2)

        assert looks_since(on_paper, since_s) <= 6
        stored = await session.store.rentals.get(JOB)
        assert stored is not None and stored.rental.phase is RentalPhase.PROVISIONING
        on_paper.fake.faults.clear()
        await until_phase(session, JOB, RentalPhase.CONNECTING)
        assert [pod.id for pod in on_paper.fake.pods] == [machine.machine_id]
        await called_off(session, JOB)
        await check_invariants(on_paper, session, JOB)


async def test_no_list_is_asked_for_before_the_provider_allows_it(on_paper: Rented) -> None:
    on_paper.fake.next_machine(never_running=True)
    async with on_paper.controlled() as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())
        await until_machine(session, JOB, MachineState.RENTED)

        fault = on_paper.fake.faults.add(**LIST, status=429, retry_after_s=1, times=6)
        await until(lambda: met(fault, 6))
        await until(lambda: reason_has(session, "starting"))

        refused = [call for call in on_paper.fake.calls(**LIST) if call.status == 429]
        pauses = [later.at_s - earlier.at_s for earlier, later in pairwise(refused)]
        # The official package drops the header, so one more question is needed to learn of it.
        assert all(pause >= 0.99 for pause in pauses[1:])
        await called_off(session, JOB)
        await check_invariants(on_paper, session, JOB)


async def test_no_machine_is_asked_for_before_the_provider_allows_it(on_paper: Rented) -> None:
    fault = on_paper.fake.faults.add(**CREATE, status=429, retry_after_s=1, times=4)
    async with on_paper.controlled() as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())

        machine = await until_machine(session, JOB, MachineState.RENTED, number=2)

        calls = on_paper.fake.calls(**CREATE)
        assert fault.met == 4 and len(calls) == 5
        assert all(b.at_s - a.at_s >= 0.99 for a, b in pairwise(calls))
        assert [pod.id for pod in on_paper.fake.pods] == [machine.machine_id]
        await called_off(session, JOB)
        await check_invariants(on_paper, session, JOB)


async def test_one_list_call_a_tick_serves_all_jobs(on_paper: Rented) -> None:
    jobs = ["job-one", "job-two", "job-three"]
    async with on_paper.controlled(tick_s=0.5) as (session, _):
        for job_id in jobs:
            on_paper.fake.next_machine(never_running=True)
            await on_paper.start(session, job_id, "", on_paper.request())
        for job_id in jobs:
            await until_machine(session, job_id, MachineState.RENTED)

        before = len(on_paper.fake.requests)
        await asyncio.sleep(3)
        calls = on_paper.fake.requests[before:]

        assert {(call.method, call.path) for call in calls} == {("GET", "/v2/pods")}
        assert 2 <= len(calls) <= 3 / 0.5 + 1
        for job_id in jobs:
            await called_off(session, job_id)
        await check_invariants(on_paper, session, *jobs)


async def test_a_machine_that_the_list_omits_once_is_not_lost(on_paper: Rented) -> None:
    async with on_paper.controlled(tick_s=0.4, log_patience_s=0.05) as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())
        await until_phase(session, JOB, RentalPhase.CONNECTING)
        machine = await until_machine(session, JOB, MachineState.RENTED)

        # Now and then, so that one of the omissions meets a step of the job.
        for number in range(4):
            omission = on_paper.fake.faults.add(**LIST, omit=".*", skip=3 * number)
        await until(lambda: met(omission, 1))
        since_s = on_paper.fake.clock.now_s()
        await until(lambda: looked_again(on_paper, since_s, times=2))

        stored = await session.store.rentals.get(JOB)
        assert stored is not None and stored.rental.phase is RentalPhase.CONNECTING
        assert [pod.id for pod in on_paper.fake.pods] == [machine.machine_id]

        on_paper.fake.faults.add(**LIST, omit=".*", times=20)
        second = await until_machine(session, JOB, MachineState.ENDING)
        assert "vanished while connecting" in second.end_reason
        await called_off(session, JOB)
        await check_invariants(on_paper, session, JOB)


async def test_a_machine_that_was_just_made_may_be_missing_for_a_while(on_paper: Rented) -> None:
    on_paper.fake.faults.add(**LIST, omit=".*", times=4)
    on_paper.fake.faults.add(method="GET", path=r"/v2/pods/\w+$", status=404, times=4)
    async with on_paper.controlled(absence_grace_s=6.0) as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())

        await until_phase(session, JOB, RentalPhase.CONNECTING)

        assert len(on_paper.fake.calls(**CREATE)) == 1
        await called_off(session, JOB)
        await check_invariants(on_paper, session, JOB)


@pytest.mark.parametrize(
    "answers", [(500,), (204,), (500, 204, 204)], ids=["fails", "lies", "both"]
)
async def test_a_machine_that_does_not_end_is_ended_again_and_said_aloud(
    on_paper: Rented, answers: tuple[int, ...]
) -> None:
    async with on_paper.controlled(ending_alarm_s=1.0) as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())
        await until_machine(session, JOB, MachineState.RENTED)
        for status in answers * 100:
            on_paper.fake.faults.add(**DELETE, status=status)

        job = asyncio.create_task(called_off(session, JOB))
        await until(lambda: told(session, "STILL BEING PAID FOR"))
        (machine,) = await session.store.rentals.machines(JOB)
        assert machine.state is MachineState.ENDING
        assert (await session.store.get_job(JOB)).status is JobStatus.QUEUED
        asked = len(on_paper.fake.calls(**DELETE))
        await until(lambda: met_calls(on_paper, DELETE, asked + 4))
        on_paper.fake.faults.clear()

        assert (await job).status is JobStatus.CANCELLED
        alarms = [e for e in await session.store.rentals.ledger(JOB) if e.level == "error"]
        assert len(alarms) == 1
        await check_invariants(on_paper, session, JOB)


async def test_a_list_that_fails_proves_no_absence(on_paper: Rented) -> None:
    async with on_paper.controlled() as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())
        await until_machine(session, JOB, MachineState.RENTED)
        fault = on_paper.fake.faults.add(**LIST, status=500, times=None)

        job = asyncio.create_task(called_off(session, JOB))
        await until(lambda: has_ended(on_paper))
        met_before = fault.met
        await until(lambda: met(fault, met_before + 3))
        (machine,) = await session.store.rentals.machines(JOB)
        assert machine.state is MachineState.ENDING
        on_paper.fake.faults.clear()

        assert (await job).status is JobStatus.CANCELLED
        await check_invariants(on_paper, session, JOB)


async def test_a_list_that_leaves_a_machine_out_proves_nothing_while_its_id_is_known(
    on_paper: Rented,
) -> None:
    async with on_paper.controlled() as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())
        machine = await until_machine(session, JOB, MachineState.RENTED)
        on_paper.fake.faults.add(**DELETE, status=204, times=4)
        on_paper.fake.faults.add(**LIST, omit=".*", times=None)

        await called_off(session, JOB)

        assert on_paper.fake.pod(machine.name).ended
        await check_invariants(on_paper, session, JOB)


async def test_a_machine_that_is_absent_once_is_not_gone(on_paper: Rented) -> None:
    async with on_paper.controlled() as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())
        machine = await until_machine(session, JOB, MachineState.RENTED)
        on_paper.fake.faults.add(**DELETE, status=204, times=2)
        on_paper.fake.faults.add(method="GET", path=r"/v2/pods/\w+$", status=404, times=1)
        on_paper.fake.faults.add(**LIST, omit=".*", times=None)

        await called_off(session, JOB)

        assert on_paper.fake.pod(machine.name).ended
        assert len(on_paper.fake.calls(**DELETE)) >= 3
        await check_invariants(on_paper, session, JOB)


async def test_only_machines_with_the_stores_own_mark_are_listed_and_ended(
    on_paper: Rented,
) -> None:
    async with on_paper.controlled() as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())
        mine = await until_machine(session, JOB, MachineState.RENTED)
        mark = await session.store.rentals.mark()
        orphan = machine_name(mark, "long-gone", 1)
        strangers = [machine_name("ffffffff", "long-gone", 1), "somebody-elses", f"x-{orphan}"]
        for name in (orphan, *strangers):
            make_pod(on_paper, name)
        provider = session.provider()

        fleet = await our_machines(session, provider)
        assert [(m.name, m.is_orphan) for m in fleet] == [(orphan, True), (mine.name, False)]
        steps: list[str] = []
        ended = await reap(session, provider, steps.append, poll_s=0.05)

        assert [machine.name for machine in ended] == [orphan]
        left = {pod.name for pod in on_paper.fake.pods}
        assert left == {mine.name, *strangers}
        await called_off(session, JOB)
        assert {pod.name for pod in on_paper.fake.pods} == set(strangers)
        await check_invariants(on_paper, session, JOB)


async def test_a_machine_that_appears_after_it_was_given_up_is_ended(on_paper: Rented) -> None:
    on_paper.fake.faults.add(**CREATE, reset=True)
    async with on_paper.controlled() as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())
        machine = await until_machine(session, JOB, MachineState.RENTED, number=2)
        given_up, _ = await session.store.rentals.machines(JOB)
        assert given_up.state is MachineState.NEVER

        make_pod(on_paper, given_up.name)
        await until(lambda: only_pod_is(on_paper, machine.name))

        assert "appeared after all; it is being ended" in await story(session, JOB)
        await called_off(session, JOB)
        assert on_paper.fake.pods == []


async def test_an_orphan_counts_as_ended_once_it_was_absent_twice(on_paper: Rented) -> None:
    async with on_paper.session() as session:
        orphan = machine_name(await session.store.rentals.mark(), "long-gone", 1)
        make_pod(on_paper, orphan)
        provider = session.provider()
        (machine,) = await our_machines(session, provider)
        on_paper.fake.faults.add(**DELETE, status=204, times=2)
        steps: list[str] = []

        await end_machine(session, provider, machine, steps.append, poll_s=0.05)

        assert on_paper.fake.pods == []
        assert steps.count("it is still there") == 2
        assert steps[-1] == "absent, 2 of 2 looks"

        make_pod(on_paper, orphan)
        (machine,) = await our_machines(session, provider)
        on_paper.fake.faults.add(**DELETE, status=500, times=1)
        with pytest.raises(ProviderError):
            await end_machine(session, provider, machine, poll_s=0.05)


def make_pod(user: Rented, name: str) -> None:
    """As somebody else with the same account would."""
    body = {
        "name": name,
        "image": "ubuntu",
        "cloud": "SECURE",
        "gpu": {"id": "NVIDIA H100 PCIe", "count": 1},
    }
    headers = {"Authorization": f"Bearer {user.fake.api_key}"}
    answer = httpx.post(f"{user.fake.url}/v2/pods", json=body, headers=headers)
    assert answer.status_code == 201, answer.text


async def reason_has(session: Session, words: str) -> bool:
    stored = await session.store.rentals.get(JOB)
    return stored is not None and words in stored.rental.reason


async def told(session: Session, words: str) -> bool:
    return words in await story(session, JOB)


async def met(fault: Any, times: int) -> bool:
    return bool(fault.met >= times)


async def met_calls(user: Rented, calls: dict[str, str], count: int) -> bool:
    return len(user.fake.calls(**calls)) >= count


def looks_since(user: Rented, since_s: float) -> int:
    return len([call for call in user.fake.calls(**LIST) if call.at_s > since_s])


async def looked_again(user: Rented, since_s: float, times: int) -> bool:
    return looks_since(user, since_s) >= times


async def only_pod_is(user: Rented, name: str) -> bool:
    return [pod.name for pod in user.fake.pods] == [name]


async def has_ended(user: Rented) -> bool:
    return user.fake.pods == []
