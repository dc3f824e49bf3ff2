"""Where a rented job asks its user: after too many lost machines, and before one that stays."""

from __future__ import annotations

import pytest

from shared.lifecycle import JobStatus, StopReason
from shared.machine_request import AfterInterruptions
from shared.rental import RentalPhase
from tests.end_to_end.rented import (
    Rented,
    called_off,
    check_invariants,
    story,
    until_final,
    until_phase,
    until_step,
)
from tests.end_to_end.rented_job import completed, pod_of, until_said
from tests.remote.remote_box import needs_a_box
from tui.services.rented_jobs import answer_question

pytestmark = [needs_a_box, pytest.mark.slow]


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
        await until_said(session, "asks", "1 machine was lost. Answer 'go on'")
        await answer_question(session, await session.store.get_job("asks"), "go on")
        job = await until_final(session, "stops")
        assert job.state.stop_reason is StopReason.MACHINE_LOST, await story(session, "stops")
        assert job.status is JobStatus.FAILED
        await completed(session, "changes", 12, 2)
        machines = await session.store.rentals.machines("changes")
        assert [machine.label.split()[0] for machine in machines] == ["H100_PCIE", "H100_SXM"]
        await completed(session, "asks", 12, 2)
        await check_invariants(user, session, *policies)


async def test_a_job_that_has_trained_waits_for_an_account_that_has_run_dry(user: Rented) -> None:
    async with user.controlled() as (session, _):
        await user.start(session, "dry", "steps=12 delay=0.2", user.request())
        await until_step(session, "dry", 2)
        user.fake.set_balance(0)
        user.fake.lose_pod(pod_of(user, "dry").id, "exited")

        await until_phase(session, "dry", RentalPhase.ASKING)
        await until_said(session, "dry", "Mend that, then answer 'go on'")
        user.fake.set_balance(100)
        await answer_question(session, await session.store.get_job("dry"), "go on")

        await completed(session, "dry", 12, 2)
        await check_invariants(user, session, "dry")


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

        await completed(session, "agreed", 4, 1)
        job = await called_off(session, "refused")
        assert (job.status, job.state.step) == (JobStatus.CANCELLED, 0)
        await check_invariants(user, session, "agreed", "refused")
