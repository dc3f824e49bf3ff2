"""A provider that answers wrongly, late or not at all while a machine is asked for.

Its pods are records here: none of this gets as far as a machine that answers.
"""

from __future__ import annotations

import time

import pytest

from shared.lifecycle import JobStatus, StopReason
from shared.machine_request import Cloud
from shared.rental import MachineState, RentalPhase
from tests.end_to_end.rented import (
    Rented,
    called_off,
    check_invariants,
    story,
    until,
    until_final,
    until_machine,
    until_phase,
)
from tui.services.providers.runpod.provider import RunpodProvider
from tui.services.session import Session

JOB = "job-one"
CREATE = {"method": "POST", "path": r"/v2/pods$"}
LIST = {"method": "GET", "path": r"/v2/pods$"}


def ask_with_little_patience(user: Rented, session: Session) -> None:
    """An answer that takes longer than a second never came."""
    key = user.fake.api_key
    assert key is not None
    session._providers["runpod"] = RunpodProvider(key, user.fake.url, answer_timeout_s=1.0)


@pytest.mark.parametrize("fault", [{"status": 500}, {"reset": True}, {"hang": True}])
async def test_a_create_that_was_done_and_not_answered_is_adopted(
    on_paper: Rented, fault: dict[str, object]
) -> None:
    on_paper.fake.faults.add(**CREATE, after_doing=True, **fault)
    async with on_paper.controlled() as (session, _):
        ask_with_little_patience(on_paper, session)
        began = time.monotonic()
        await on_paper.start(session, JOB, "", on_paper.request())

        machine = await until_machine(session, JOB, MachineState.RENTED)

        assert time.monotonic() - began < 15
        assert [machine.machine_id] == [pod.id for pod in on_paper.fake.pods]
        assert len(on_paper.fake.calls(**CREATE)) == 1
        job = await called_off(session, JOB)
        assert (job.status, len(on_paper.fake.all_pods)) == (JobStatus.CANCELLED, 1)
        await check_invariants(on_paper, session, JOB)


async def test_a_create_that_was_not_done_is_asked_for_again_once_its_absence_is_proved(
    on_paper: Rented,
) -> None:
    on_paper.fake.faults.add(**CREATE, reset=True)
    async with on_paper.controlled() as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())

        machine = await until_machine(session, JOB, MachineState.RENTED, number=2)

        first, _ = await session.store.rentals.machines(JOB)
        assert (first.state, first.machine_id) == (MachineState.NEVER, None)
        refused, asked = on_paper.fake.calls(**CREATE)
        looks = [c for c in on_paper.fake.calls(**LIST) if refused.at_s < c.at_s < asked.at_s]
        assert len(looks) >= 2
        assert asked.body["name"] == machine.name != first.name
        await called_off(session, JOB)
        await check_invariants(on_paper, session, JOB)


async def test_candidates_are_tried_in_their_order_and_every_refusal_is_kept(
    on_paper: Rented,
) -> None:
    on_paper.fake.catalogue.set_stock(0, data_centre="US-KS-2")
    on_paper.fake.catalogue.set_stock(0, data_centre="US-TX-3")
    candidates = tuple(on_paper.candidate(data_center=p) for p in ("US-KS-2", "US-TX-3"))
    third = on_paper.candidate("H100_SXM", data_center="EU-RO-1")
    async with on_paper.controlled() as (session, _):
        request = on_paper.request(candidates=(*candidates, third), network_volume_id=None)
        await on_paper.start(session, JOB, "", request)

        machine = await until_machine(session, JOB, MachineState.RENTED, number=3)

        asked = [call.body["dataCenterIds"][0] for call in on_paper.fake.calls(**CREATE)]
        assert asked == ["US-KS-2", "US-TX-3", "EU-RO-1"]
        assert machine.label == "H100_SXM secure EU-RO-1"
        told = await story(session, JOB)
        assert "H100_PCIE secure US-KS-2: RunPod, POST /v2/pods: 400" in told
        assert "H100_PCIE secure US-TX-3: RunPod, POST /v2/pods: 400" in told
        await called_off(session, JOB)
        await check_invariants(on_paper, session, JOB)


async def test_without_any_capacity_it_waits_looks_again_and_ends_with_every_reason(
    on_paper: Rented,
) -> None:
    on_paper.fake.catalogue.set_stock(0)
    candidates = on_paper.candidate(), on_paper.candidate("H100_SXM")
    async with on_paper.controlled() as (session, _):
        request = on_paper.request(candidates=candidates, wait_for_stock_hours=2.5 / 3600)
        await on_paper.start(session, JOB, "", request)
        waiting = await until_phase(session, JOB, RentalPhase.WAITING)
        assert len(waiting.rental.failures) == 2

        job = await until_final(session, JOB)

        assert (job.status, job.state.stop_reason) == (JobStatus.FAILED, StopReason.NO_MACHINE)
        for label in ("H100_PCIE secure US-KS-2: ", "H100_SXM secure US-KS-2: "):
            assert label + "RunPod, POST /v2/pods: 400" in job.state.detail
        # Only the catalogue is asked again: an order in vain would fill the ledger.
        assert len(on_paper.fake.calls(**CREATE)) == 2
        assert len(on_paper.fake.calls("GET", "/v2/catalog/gpus$")) >= 2
        assert len(on_paper.fake.all_pods) == 0
        await check_invariants(on_paper, session, JOB)


async def test_stock_that_comes_back_is_taken(on_paper: Rented) -> None:
    on_paper.fake.catalogue.set_stock(0)
    async with on_paper.controlled() as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())
        await until_phase(session, JOB, RentalPhase.WAITING)

        on_paper.fake.catalogue.set_stock(1)
        await until(lambda: has_a_machine(session))

        await called_off(session, JOB)
        await check_invariants(on_paper, session, JOB)


async def test_a_candidate_above_what_is_left_of_the_budget_is_passed_over(
    on_paper: Rented,
) -> None:
    cheap = on_paper.candidate()
    dear = on_paper.candidate("H100_SXM", usd_per_hour=40.0)
    async with on_paper.controlled() as (session, _):
        request = on_paper.request(candidates=(dear, cheap), budget_usd=4.0)
        await on_paper.start(session, JOB, "", request)
        await until(lambda: has_a_machine(session))

        (asked,) = on_paper.fake.calls(**CREATE)

        assert asked.body["gpu"]["id"] == "NVIDIA H100 PCIe"
        assert "dearer than what is left of the budget" in await story(session, JOB)
        await called_off(session, JOB)
        await check_invariants(on_paper, session, JOB)


async def test_a_budget_below_the_cheapest_candidate_rents_nothing(on_paper: Rented) -> None:
    async with on_paper.controlled() as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request(budget_usd=0.3))

        job = await until_final(session, JOB)

        assert job.state.stop_reason is StopReason.BUDGET_EXHAUSTED
        assert "too little for H100_PCIE secure US-KS-2 at $2.39 an hour" in job.state.detail
        assert on_paper.fake.calls(**CREATE) == []
        await check_invariants(on_paper, session, JOB)


async def test_a_machine_dearer_than_agreed_is_ended_and_the_next_one_taken(
    on_paper: Rented,
) -> None:
    on_paper.fake.next_machine(price_factor=1.5, never_running=True)
    on_paper.fake.next_machine(price_factor=1.01, never_running=True)
    candidates = on_paper.candidate(), on_paper.candidate("H100_SXM")
    async with on_paper.controlled() as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request(candidates=candidates))

        second = await until_machine(session, JOB, MachineState.RENTED, number=2)

        first, _ = await session.store.rentals.machines(JOB)
        assert first.state is MachineState.GONE
        assert "costs $3.58 an hour, not $2.39 as agreed" in first.end_reason
        assert second.usd_per_hour == pytest.approx(2.99 * 1.01, abs=0.001)
        await called_off(session, JOB)
        await check_invariants(on_paper, session, JOB)


async def test_an_account_without_money_ends_the_job_and_says_so(on_paper: Rented) -> None:
    on_paper.fake.set_balance(0.0)
    async with on_paper.controlled() as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())

        job = await until_final(session, JOB)

        assert job.state.stop_reason is StopReason.PROVIDER_REFUSED
        assert "Add funds" in job.state.detail
        assert len(on_paper.fake.calls(**CREATE)) == 1
        await check_invariants(on_paper, session, JOB)


async def test_money_that_runs_out_ends_the_job_and_leaves_nothing_running(
    on_paper: Rented,
) -> None:
    async with on_paper.controlled() as (session, _):
        candidates = on_paper.candidate(), on_paper.candidate("H100_SXM")
        await on_paper.start(session, JOB, "", on_paper.request(candidates=candidates))
        await until_phase(session, JOB, RentalPhase.CONNECTING)

        on_paper.fake.set_balance(0.0)
        job = await until_final(session, JOB)

        assert job.state.stop_reason is StopReason.PROVIDER_REFUSED
        assert "Add funds" in job.state.detail
        assert "was exited while connecting" in await story(session, JOB)
        await check_invariants(on_paper, session, JOB)


async def test_a_wrong_key_ends_the_job_and_says_so(
    on_paper: Rented, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_wrong")
    async with on_paper.controlled() as (session, _):
        await on_paper.start(session, JOB, "", on_paper.request())

        job = await until_final(session, JOB)

        assert job.state.stop_reason is StopReason.PROVIDER_REFUSED
        assert "The API key is wrong or revoked" in job.state.detail
        assert "rpa_wrong" not in await story(session, JOB)
        await check_invariants(on_paper, session, JOB)


async def test_without_a_key_the_job_waits_until_there_is_one(
    on_paper: Rented, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY")
    async with on_paper.controlled() as (session, controller):
        await on_paper.start(session, JOB, "", on_paper.request())
        await until(lambda: says(controller.trouble, "RUNPOD_API_KEY"))
        assert on_paper.fake.requests == []

        monkeypatch.setenv("RUNPOD_API_KEY", str(on_paper.fake.api_key))
        await until(lambda: has_a_machine(session))

        assert controller.trouble == ""
        await called_off(session, JOB)
        await check_invariants(on_paper, session, JOB)


async def test_a_volume_elsewhere_is_refused_at_once_and_not_waited_for(on_paper: Rented) -> None:
    elsewhere = on_paper.volume("EU-RO-1")
    async with on_paper.controlled() as (session, _):
        request = on_paper.request(network_volume_id=elsewhere)
        await on_paper.start(session, JOB, "", request)

        job = await until_final(session, JOB)

        assert job.state.stop_reason is StopReason.PROVIDER_REFUSED
        assert f"{elsewhere} is in EU-RO-1, not in US-KS-2" in job.state.detail
        assert on_paper.fake.calls(**CREATE) == []
        await check_invariants(on_paper, session, JOB)


async def test_a_data_centre_that_does_not_exist_is_a_reason_among_others(
    on_paper: Rented,
) -> None:
    nowhere = on_paper.candidate(data_center="XX-NO-9")
    there = on_paper.candidate(data_center="US-TX-3", cloud=Cloud.COMMUNITY)
    async with on_paper.controlled() as (session, _):
        request = on_paper.request(candidates=(nowhere, there), network_volume_id=None)
        await on_paper.start(session, JOB, "", request)

        machine = await until_machine(session, JOB, MachineState.RENTED, number=2)

        assert machine.data_center == "US-TX-3"
        assert "H100_PCIE secure XX-NO-9: RunPod, POST /v2/pods: 400" in await story(session, JOB)
        await called_off(session, JOB)
        await check_invariants(on_paper, session, JOB)


async def has_a_machine(session: Session) -> bool:
    machines = await session.store.rentals.machines(JOB)
    return any(machine.state is MachineState.RENTED for machine in machines)


async def says(text: str, words: str) -> bool:
    return words in text
