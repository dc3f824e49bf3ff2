"""Machines that die, freeze, restart, lie or are left alone; jobs that go on all the same."""

from __future__ import annotations

import asyncio
import json
import random
import signal

from shared.events import (
    AttemptEnded,
    AttemptStarted,
    CheckpointCommitted,
    Metrics,
    Resumed,
    utc_now,
)
from shared.lifecycle import JobStatus, StopReason
from shared.machine_request import AfterInterruptions
from shared.rental import MachinePurpose, RentalPhase
from tests.end_to_end.rented import (
    QUICK,
    Rented,
    check_invariants,
    events_on_volume,
    story,
    until_final,
    until_phase,
    until_step,
)
from tests.end_to_end.rented_job import completed, files_on, ledger, pod_of, until_said
from tests.remote.remote_box import needs_a_box
from tui.services.controller import money
from tui.services.rented_jobs import answer_question, cancel_rented_job
from tui.services.session import Session

pytestmark = needs_a_box


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
    async with user.controlled(idle_end_s=1.0) as (session, _):
        await user.start(session, "alone", "steps=20 delay=0.1", user.request())
        await until_step(session, "alone", 2)
        pod = pod_of(user, "alone")
    async with asyncio.timeout(40):
        while pod in user.fake.pods:
            await asyncio.sleep(0.1)

    async with user.controlled() as (session, _):
        await completed(session, "alone", 20, 1)
        assert (user.config.home / "adapters" / "alone").is_dir()
        await check_invariants(user, session, "alone")


async def test_a_job_that_ended_long_before_the_console_is_back_is_read_from_its_volume(
    user: Rented,
) -> None:
    async with user.controlled(idle_end_s=1.0) as (session, _):
        request = user.request()
        await user.start(session, "unheard", "steps=20 delay=0.1", request)
        await until_step(session, "unheard", 2)
        pod = pod_of(user, "unheard")
    async with asyncio.timeout(40):
        while pod in user.fake.pods:
            await asyncio.sleep(0.1)

    async with user.session() as session:
        # As if days had passed: no machine like the first may be rented any more.
        over = request.model_copy(update={"max_duration_hours": 1e-4})
        await session.store.rentals.change_request("unheard", over)
    async with user.controlled() as (session, _):
        await completed(session, "unheard", 20, 1)
        assert (user.config.home / "adapters" / "unheard").is_dir()
        purposes = [m.purpose for m in await session.store.rentals.machines("unheard")]
        assert purposes == [MachinePurpose.TRAIN, MachinePurpose.RESCUE]
        await check_invariants(user, session, "unheard")


async def test_a_notice_and_a_kill_at_a_random_step_lose_no_more_than_was_not_saved(
    user: Rented,
) -> None:
    seed = random.randrange(1000)
    step = random.Random(seed).randint(2, 9)
    print(f"seed {seed}: signals at step {step}")
    async with user.controlled() as (session, _):
        await user.start(session, "noticed", "steps=16 delay=0.2", user.request())
        await user.start(session, "unnoticed", "steps=16 delay=0.2", user.request())
        for job_id in ("noticed", "unnoticed"):
            await until_step(session, job_id, step)
        user.fake.signal_pod(pod_of(user, "noticed").id, signal.SIGTERM)
        user.fake.lose_pod(pod_of(user, "unnoticed").id, "exited")
        await asyncio.sleep(0.5)  # The grace between SIGTERM and SIGKILL; five seconds in reality.
        user.fake.lose_pod(pod_of(user, "noticed").id, "gone")

        await completed(session, "noticed", 16, 2)
        await completed(session, "unnoticed", 16, 2)

        for job_id, interval in (("noticed", 1), ("unnoticed", 2)):
            records = await session.store.events(job_id)
            last = max(
                record.event.step
                for record in records
                if record.attempt == 1 and isinstance(record.event, Metrics)
            )
            (resumed,) = [r.event.step for r in records if isinstance(r.event, Resumed)]
            assert last - interval <= resumed <= last
        await check_invariants(user, session, "noticed", "unnoticed")


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

        # On the volume it is safe; without one it is trained again.
        await completed(session, "kept", 4, 1)
        await completed(session, "gone", 4, 2)
        stored_now = await session.store.rentals.get("kept")
        assert stored_now is not None
        assert stored_now.rental.results == f"network volume {kept.network_volume_id}"
        assert (user.config.home / "adapters" / "gone").is_dir()
        await check_invariants(user, session, "kept", "gone")


async def test_without_a_volume_a_lost_machine_means_a_new_beginning(user: Rented) -> None:
    user.fake.settings.image_workspace = str(user.template)
    async with user.controlled() as (session, _):
        request = user.request(network_volume_id=None)
        await user.start(session, "anew", "steps=12 delay=0.2", request)
        await until_step(session, "anew", 5)
        user.fake.lose_pod(pod_of(user, "anew").id, "gone")

        await completed(session, "anew", 12, 2)

        records = await session.store.events("anew")
        again = [
            record.event.step
            for record in records
            if record.attempt == 2 and isinstance(record.event, Metrics)
        ]
        assert again == list(range(1, 13))
        assert "its checkpoints went too" in await ledger(session, "anew")
        await check_invariants(user, session, "anew")


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


async def test_after_too_many_lost_machines_it_asks_changes_the_gpu_or_stops(user: Rented) -> None:
    policies = {
        "asks": AfterInterruptions.ASK,
        "changes": AfterInterruptions.NEXT_GPU,
        "stops": AfterInterruptions.STOP,
    }
    both = (user.candidate("H100_PCIE"), user.candidate("H100_SXM"))
    async with user.controlled() as (session, _):
        for job_id, policy in policies.items():
            request = user.request(max_interruptions=0, after_interruptions=policy, candidates=both)
            await user.start(session, job_id, "steps=12 delay=0.2", request)
        for job_id in policies:
            await until_step(session, job_id, 2)
            user.fake.lose_pod(pod_of(user, job_id).id, "error")

        stored = await until_phase(session, "asks", RentalPhase.ASKING)
        assert stored.rental.outcome is None
        prefix = f"brightrun-{await session.store.rentals.mark()}-asks-"
        assert user.fake.billing_now(prefix) == []
        await until_said(session, "asks", "machines were lost. Answer 'go on'")
        await answer_question(session, await session.store.get_job("asks"), "go on")
        job = await until_final(session, "stops")
        assert job.state.stop_reason is StopReason.MACHINE_LOST, await story(session, "stops")
        assert job.status is JobStatus.FAILED
        await completed(session, "changes", 12, 2)
        machines = await session.store.rentals.machines("changes")
        assert [machine.label.split()[0] for machine in machines] == ["H100_PCIE", "H100_SXM"]
        await completed(session, "asks", 12, 2)
        await check_invariants(user, session, *policies)


async def test_a_machine_that_cannot_be_reached_is_not_replaced_while_it_runs(
    user: Rented,
) -> None:
    async with user.controlled() as (session, _):
        await user.start(session, "cut", "steps=60 delay=0.2", user.request())
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
        await until_step(session, "cut", before + 10)

        await completed(session, "cut", 60, 1)

        assert len(await session.store.rentals.machines("cut")) == 1
        await check_invariants(user, session, "cut")


async def test_a_machine_that_comes_back_from_the_dead_writes_nothing_more(user: Rented) -> None:
    async with user.controlled() as (session, _):
        request = user.request()
        await user.start(session, "fenced", "steps=40 delay=0.2", request)
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

        await completed(session, "fenced", 40, 2)
        assert (journal / "journal.jsonl").read_bytes() == before
        old.read_output()
        shown = "\n".join(line.line for line in old.log)
        user.fake.kill_pod(old.id)
        assert "machine 2 has taken over from machine 1" in shown
        await check_invariants(user, session, "fenced")


async def test_a_machine_that_cannot_end_itself_is_not_trained_on_without_consent(
    user: Rented,
) -> None:
    user.fake.settings.pod_key_may = "nothing"
    async with user.controlled() as (session, _):
        for job_id in ("agreed", "refused"):
            await user.start(session, job_id, "steps=4", user.request())
        for job_id in ("agreed", "refused"):
            await until_said(session, job_id, "cannot end itself")
            assert (await session.store.get_job(job_id)).state.step == 0
        await answer_question(session, await session.store.get_job("agreed"), "go on")
        job = await session.store.get_job("refused")
        await cancel_rented_job(session, job, "too dear")

        await completed(session, "agreed", 4, 1)
        job = await until_final(session, "refused")
        assert (job.status, job.state.step) == (JobStatus.CANCELLED, 0)
        await check_invariants(user, session, "agreed", "refused")
