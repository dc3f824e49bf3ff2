"""Machines that die, freeze, restart, lie or are left alone; jobs that go on all the same."""

from __future__ import annotations

import asyncio
import json
import random
import signal

import pytest

from shared.events import (
    AttemptEnded,
    AttemptStarted,
    CheckpointCommitted,
    Event,
    Metrics,
    Resumed,
    utc_now,
)
from shared.lifecycle import JobStatus, StopReason
from shared.rental import MachinePurpose, RentalPhase
from tests.end_to_end.rented import (
    QUICK,
    Rented,
    called_off,
    check_invariants,
    events_on_volume,
    until_final,
    until_phase,
    until_step,
)
from tests.end_to_end.rented_job import completed, files_on, ledger, pod_of, until_said
from tests.remote.remote_box import needs_a_box
from tui.services.controller import money
from tui.services.session import Session

pytestmark = [needs_a_box, pytest.mark.slow]


async def test_with_the_key_revoked_the_machine_ends_itself_and_the_job_is_settled_later(
    user: Rented,
) -> None:
    async with user.controlled(idle_end_s=1.0) as (session, _):
        request = user.request()
        await user.start(session, "revoked", "steps=14 delay=0.2", request)
        await until_step(session, "revoked", 3)
        pod = pod_of(user, "revoked")

        user.fake.revoke_key()
        await until_said(session, "revoked", "the provider refuses our key")
        await until_phase(session, "revoked", RentalPhase.ENDING)
        await until_said(session, "revoked", "STILL BEING PAID FOR")
        async with asyncio.timeout(40):
            while pod in user.fake.pods:
                await asyncio.sleep(0.1)

        assert not (await session.store.get_job("revoked")).status.is_final
        root = files_on(user, request.network_volume_id or "", "revoked")
        assert json.loads((root / "machine-end.json").read_text())["how"] == "terminate"
        user.fake.restore_key()
        await completed(session, "revoked", 14, 1)
        await check_invariants(user, session, "revoked")


async def test_a_console_that_never_returns_leaves_no_machine_that_is_paid_for(
    user: Rented,
) -> None:
    user.fake.settings.pod_key_may = "stop"
    requests = {name: user.request() for name in ("budget", "deadline", "headless")}
    async with user.controlled(silence_limit_s=6, idle_end_s=1.0) as (session, _):
        for job_id, request in requests.items():
            await user.start(session, job_id, "steps=5000 delay=0.1", request)
        for job_id in requests:
            await until_step(session, job_id, 2)
        await _limit(session, "budget", budget_usd=1e-9)
        await _limit(session, "deadline", deadline_s=0.5)
        pods = {job_id: pod_of(user, job_id) for job_id in requests}
    # The console is gone; one machine's agent dies too, and cannot be started again.
    starter = (
        files_on(user, requests["headless"].network_volume_id or "", "headless") / "start-agent"
    )
    starter.unlink()
    assert user.fake.signal_pod(pods["headless"].id, signal.SIGKILL, "agent.cli serve")

    async with asyncio.timeout(60):
        while any(pod.status != "EXITED" for pod in pods.values()):
            await asyncio.sleep(0.1)

    for job_id, reason in (
        ("budget", StopReason.BUDGET_EXHAUSTED),
        ("deadline", StopReason.DEADLINE_REACHED),
    ):
        events = events_on_volume(user, requests[job_id].network_volume_id or "", job_id)
        ended = events[-1]
        assert isinstance(ended, AttemptEnded)
        assert (ended.stop_reason, ended.will_retry) == (reason, False)
        last_step = [event.step for event in events if isinstance(event, Metrics)][-1]
        saved = [event.step for event in events if isinstance(event, CheckpointCommitted)]
        assert saved[-1] == last_step
    shown = "\n".join(line.line for line in pods["headless"].log)
    assert "no heartbeat for" in shown
    assert "terminate: refused (403)" in shown
    assert user.fake.violations == []


async def _limit(session: Session, job_id: str, **changes: float) -> None:
    """Tell the agent of tighter limits than the ones it has."""
    stored = await session.store.rentals.get(job_id)
    job = await session.store.get_job(job_id)
    assert stored is not None and stored.rental.machine is not None
    machine = await session.store.rentals.machine(stored.rental.machine)
    assert machine is not None
    limits = money.limits_for(
        stored.request, stored.rental, machine, spent=0.0, now=utc_now(), idle_end_s=1.0
    )
    async with session.hosts.rented(job_id).client() as client:
        await client.start(job.spec, limits=limits.model_copy(update=changes))


async def test_a_job_that_ended_with_nobody_there_comes_home_when_the_console_returns(
    user: Rented,
) -> None:
    requests = {job_id: user.request() for job_id in ("soon", "late")}
    async with user.controlled(idle_end_s=1.0) as (session, _):
        for job_id, request in requests.items():
            await user.start(session, job_id, "steps=20 delay=0.1", request)
        for job_id in requests:
            await until_step(session, job_id, 2)
    async with asyncio.timeout(40):
        while user.fake.pods:
            await asyncio.sleep(0.1)

    async with user.session() as session:
        # As if days had passed: no machine like the first may be rented for it any more.
        over = requests["late"].model_copy(update={"max_duration_hours": 1e-4})
        await session.store.rentals.change_request("late", over)
    async with user.controlled() as (session, _):
        for job_id in requests:
            await completed(session, job_id, 20, 1)
            assert (user.config.home / "adapters" / job_id).is_dir()
        purposes = [machine.purpose for machine in await session.store.rentals.machines("late")]
        assert purposes == [MachinePurpose.TRAIN, MachinePurpose.RESCUE]
        await check_invariants(user, session, *requests)


async def test_a_machine_lost_at_a_random_step_costs_no_more_than_was_not_saved(
    user: Rented,
) -> None:
    user.fake.settings.image_workspace = str(user.template)
    seed = random.randrange(1000)
    step = random.Random(seed).randint(2, 9)
    print(f"seed {seed}: lost at step {step}")
    requests = {"noticed": user.request(), "unnoticed": user.request()}
    requests["bare"] = user.request(network_volume_id=None)
    async with user.controlled() as (session, _):
        for job_id, request in requests.items():
            await user.start(session, job_id, "steps=16 delay=0.2", request)
        for job_id in requests:
            await until_step(session, job_id, step)
            if job_id == "noticed":
                user.fake.signal_pod(pod_of(user, job_id).id, signal.SIGTERM)
                await asyncio.sleep(0.5)  # The grace before SIGKILL; five seconds in reality.
            user.fake.lose_pod(pod_of(user, job_id).id, "exited" if job_id == "bare" else "gone")

        for job_id in requests:
            await completed(session, job_id, 16, 2)

        for job_id, interval in (("noticed", 1), ("unnoticed", 2)):
            first, second = await _attempts(session, job_id)
            (resumed,) = [event.step for event in second if isinstance(event, Resumed)]
            assert _steps(first)[-1] - interval <= resumed <= _steps(first)[-1]
        # Without a volume all of it is done again, and the chart says so.
        _, second = await _attempts(session, "bare")
        assert _steps(second) == list(range(1, 17))
        assert "its checkpoints went too" in await ledger(session, "bare")
        await check_invariants(user, session, *requests)


async def _attempts(session: Session, job_id: str) -> tuple[list[Event], list[Event]]:
    records = await session.store.events(job_id)
    return (
        [record.event for record in records if record.attempt == 1],
        [record.event for record in records if record.attempt == 2],
    )


def _steps(events: list[Event]) -> list[int]:
    return [event.step for event in events if isinstance(event, Metrics)]


async def test_failed_hardware_is_left_for_another_machine(user: Rented) -> None:
    async with user.controlled() as (session, _):
        notes = "steps=8 delay=0.1 at=5 dies=ecc"
        await user.start(session, "ecc", notes, user.request())

        await completed(session, "ecc", 8, 2)

        records = await session.store.events("ecc")
        begun = [r.event.rental for r in records if isinstance(r.event, AttemptStarted)]
        assert begun == [1, 2]
        assert "its hardware failed" in await ledger(session, "ecc")
        assert "uncorrectable ECC error" in await ledger(session, "ecc")
        await check_invariants(user, session, "ecc")


async def test_a_machine_lost_while_its_adapter_is_fetched(user: Rented) -> None:
    user.fake.settings.image_workspace = str(user.template)
    async with user.controlled() as (session, _):
        notes = "steps=4 delay=0.1 weights=60000000"
        kept = user.request()
        await user.start(session, "kept", notes, kept)
        await user.start(session, "gone", notes, user.request(network_volume_id=None))
        for job_id in ("kept", "gone"):
            stored = await until_phase(session, job_id, RentalPhase.SECURING)
            user.fake.lose_pod(pod_of(user, job_id).id, "exited")
            assert stored.rental.outcome is StopReason.COMPLETED
        # What the lost machine has said of the end holds no more.
        await until_phase(session, "gone", RentalPhase.RUNNING)
        assert (await session.store.get_job("gone")).state.outcome is None

        # On the volume it is safe; without one it is trained again.
        await completed(session, "kept", 4, 1)
        await completed(session, "gone", 4, 2)
        stored_now = await session.store.rentals.get("kept")
        assert stored_now is not None
        assert stored_now.rental.results == f"network volume {kept.network_volume_id}"
        assert (user.config.home / "adapters" / "gone").is_dir()
        await check_invariants(user, session, "kept", "gone")


async def test_a_container_that_begins_anew_is_pinned_again_and_goes_on(user: Rented) -> None:
    user.fake.settings.image_workspace = str(user.template)
    async with user.controlled() as (session, _):
        await user.start(session, "restarted", "steps=25 delay=0.2", user.request())
        bare = user.request(network_volume_id=None)
        await user.start(session, "wiped", "steps=25 delay=0.2", bare)
        ports = {}
        for job_id in ("restarted", "wiped"):
            await until_step(session, job_id, 3)
            container = pod_of(user, job_id).container
            assert container is not None
            ports[job_id] = container.port
            user.fake.restart_container(pod_of(user, job_id).id)

        for job_id in ("restarted", "wiped"):
            job = await until_final(session, job_id)
            assert (job.status, job.state.step) == (JobStatus.COMPLETED, 25)
            assert job.state.attempt == 2
            assert "its container began anew" in await ledger(session, job_id)
            assert len(await session.store.rentals.machines(job_id)) == 1
        await check_invariants(user, session, "restarted", "wiped")


async def test_a_machine_that_cannot_be_reached_is_not_replaced_while_it_runs(
    user: Rented,
) -> None:
    async with user.controlled() as (session, _):
        await user.start(session, "cut", "steps=1000 delay=0.1", user.request())
        await until_step(session, "cut", 3)
        pod = pod_of(user, "cut")
        assert user.fake.signal_pod(pod.id, signal.SIGSTOP, "sshd")
        await until_said(session, "cut", "unreachable: ")
        before = (await session.store.get_job("cut")).state.step
        await asyncio.sleep(2 * QUICK.contact_patience_s)
        stored = await session.store.rentals.get("cut")
        assert stored is not None and stored.rental.phase is RentalPhase.RUNNING
        user.fake.signal_pod(pod.id, signal.SIGCONT, "sshd")
        await until_said(session, "cut", "its agent answers again")
        # It has gone on meanwhile, and nothing of that is missing.
        await until_step(session, "cut", before + 30)

        job = await called_off(session, "cut")

        assert (job.status, job.state.attempt) == (JobStatus.CANCELLED, 1)
        assert len(await session.store.rentals.machines("cut")) == 1
        await check_invariants(user, session, "cut")


async def test_a_machine_that_comes_back_from_the_dead_writes_nothing_more(user: Rented) -> None:
    async with user.controlled() as (session, _):
        request = user.request()
        await user.start(session, "fenced", "steps=25 delay=0.2", request)
        await until_step(session, "fenced", 3)
        old = pod_of(user, "fenced")
        user.fake.signal_pod(old.id, signal.SIGSTOP)
        user.fake.lose_pod(old.id, "gone", dies=False)
        await until_step(session, "fenced", 8)
        assert (await session.store.get_job("fenced")).state.attempt == 2
        journal = (
            files_on(user, request.network_volume_id or "", "fenced") / "jobs/fenced/attempts/1"
        )
        before = (journal / "journal.jsonl").read_bytes()

        user.fake.signal_pod(old.id, signal.SIGCONT)
        async with asyncio.timeout(30):
            while any(user.fake.signal_pod(old.id, 0, name) for name in ("agent.", "stand_in")):
                await asyncio.sleep(0.1)

        await completed(session, "fenced", 25, 2)
        assert (journal / "journal.jsonl").read_bytes() == before
        old.read_output()
        shown = "\n".join(line.line for line in old.log)
        user.fake.kill_pod(old.id)
        assert "machine 2 has taken over from machine 1" in shown
        await check_invariants(user, session, "fenced")
