"""`brightrun start --host runpod` against a stand-in for RunPod over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidInput, NoCapacity, OverBudget, ProviderUnauthorized
from shared.events import utc_now
from shared.lifecycle import JobStatus
from shared.machine_request import Cloud
from shared.rental import RentalPhase
from shared.store.store import Store
from tests.fakes.runpod.server import FakeRunpod
from tests.tui import rented
from tui.commands import consent
from tui.commands.rent import RentOptions
from tui.commands.start import StartOptions, start_job
from tui.services.rent_plan import RentWanted

PAIR = (
    '{"id": "p1", "conversation_id": "c1", "turn_number": 1, "system_prompt": "Be kind.", '
    '"conversation_history": [], "current_user_input": "Hi", "target_response": "Hello."}'
)


@pytest.fixture
def options(tmp_path: Path) -> StartOptions:
    path = tmp_path / "train.jsonl"
    path.write_text('{"_meta": {"version": "4.0.0"}}\n' + PAIR + "\n")
    wanted = RentWanted(budget_usd=5.0, gpu_types=("H100_PCIE",))
    return StartOptions(
        (path,), (), {"job_id": "job-rent"}, host="runpod", rent=RentOptions(wanted, yes=True)
    )


def renting(options: StartOptions, *, yes: bool = True, **wanted: Any) -> StartOptions:
    return replace(options, rent=RentOptions(replace(options.rent.wanted, **wanted), yes))


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Somebody at the terminal, who types these answers; what was asked is in the list."""

    def sits_there(*answers: str) -> list[str]:
        asked: list[str] = []
        coming = iter(answers)
        monkeypatch.setattr(consent, "_is_somebody_there", lambda: True)
        monkeypatch.setattr("builtins.input", lambda *_: asked.append("?") or next(coming))
        return asked

    return sits_there


async def led_by_another(store: Store) -> None:
    """Another controller of the same store leads."""
    await store.rentals.take_lease("other", "serve on box", utc_now(), timedelta(hours=1))


async def brought_to(store: Store, phase: RentalPhase) -> None:
    """What that other controller does: once the job is there, it comes this far."""
    while await store.rentals.get("job-rent") is None:
        await asyncio.sleep(0.01)
    await store.rentals.note("job-rent", utc_now(), "installing: the training stack")
    await rented.put(store, phase=phase)


async def test_without_a_cap_on_the_cost_nothing_is_even_looked_at(
    runpod: FakeRunpod, options: StartOptions
) -> None:
    with pytest.raises(InvalidInput, match="--budget"):
        await start_job(renting(options, budget_usd=None))
    assert runpod.requests == []


async def test_without_a_terminal_and_without_yes_nothing_is_rented(
    runpod: FakeRunpod, store: Store, options: StartOptions
) -> None:
    for as_json in (False, True):
        with pytest.raises(InvalidInput, match="--yes"):
            await start_job(replace(renting(options, yes=False), as_json=as_json))
    assert await store.list_jobs() == []
    assert runpod.requests == []


@pytest.mark.parametrize("answer", ["", "n", "what?"])
async def test_what_is_not_a_clear_yes_rents_nothing(
    runpod: FakeRunpod,
    store: Store,
    options: StartOptions,
    person: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    answer: str,
) -> None:
    asked = person(answer)

    assert await start_job(renting(options, yes=False)) == 3

    out, err = capsys.readouterr()
    assert len(asked) == 1
    assert "Rent a machine for this job, for up to $5.00? [y/N]" in err
    assert "nothing was rented." in err
    assert "H100_PCIE  secure  anywhere  2.39  high   fits" in out
    assert "Without a network volume a lost machine loses its checkpoints" in out
    assert (await store.list_jobs(), runpod.calls("POST", "")) == ([], [])


async def test_a_new_volume_is_asked_for_by_its_price_and_made_only_after_both_answers(
    runpod: FakeRunpod,
    store: Store,
    options: StartOptions,
    person: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    await led_by_another(store)
    with_volume = renting(options, yes=False, volume="new:100", data_centers=("EU-RO-1",))

    person("n")
    assert await start_job(with_volume) == 3
    assert "100 GB in EU-RO-1, $7.00 a month, to be made? It costs that" in capsys.readouterr().err
    person("y", "n")
    assert await start_job(with_volume) == 3
    assert runpod.volumes == {}

    person("y", "yes")
    _, code = await asyncio.gather(brought_to(store, RentalPhase.RUNNING), start_job(with_volume))
    assert code == 0
    [volume_id] = runpod.volumes
    stored = await store.rentals.get("job-rent")
    assert stored is not None and stored.request.network_volume_id == volume_id
    assert {each.data_center for each in stored.request.candidates} == {"EU-RO-1"}


async def test_what_was_agreed_is_written_down_before_anything_is_rented(
    runpod: FakeRunpod,
    store: Store,
    options: StartOptions,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await led_by_another(store)
    wanted = renting(
        options,
        gpu_types=("H100_SXM", "H100_PCIE"),
        clouds=(Cloud.SECURE, Cloud.COMMUNITY),
        max_interruptions=1,
        max_duration_hours=7.0,
    )

    _, code = await asyncio.gather(brought_to(store, RentalPhase.RUNNING), start_job(wanted))

    assert code == 0
    job, stored = await store.get_job("job-rent"), await store.rentals.get("job-rent")
    assert stored is not None
    assert (job.host, job.state.rented) == ("runpod:job-rent", True)
    request = stored.request
    assert [each.gpu_type for each in request.candidates] == ["H100_SXM"] * 2 + ["H100_PCIE"] * 2
    assert (request.budget_usd, request.max_duration_hours) == (5.0, 7.0)
    assert request.max_interruptions == 1
    assert runpod.calls("POST", "") == []
    out, err = capsys.readouterr()
    assert "job-rent is written down" in out
    assert "controlled by serve on box; this command only watches." in err
    assert "installing: the training stack" in err
    assert "job-rent runs on its machine. serve on box controls it." in err


async def test_a_job_that_ends_without_running_says_why_and_exits_as_it_ended(
    runpod: FakeRunpod, store: Store, options: StartOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    await led_by_another(store)

    async def fails() -> None:
        while await store.rentals.get("job-rent") is None:
            await asyncio.sleep(0.01)
        await store.settle_job("job-rent", JobStatus.FAILED, "no machine was to be had")
        await rented.put(store, phase=RentalPhase.DONE)

    _, code = await asyncio.gather(fails(), start_job(options))
    assert code == 1
    assert "job-rent failed: no machine was to be had" in capsys.readouterr().err


async def test_a_question_comes_with_the_command_that_answers_it(
    runpod: FakeRunpod, store: Store, options: StartOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    await led_by_another(store)

    async def asks() -> None:
        while await store.rentals.get("job-rent") is None:
            await asyncio.sleep(0.01)
        await rented.put(store, phase=RentalPhase.ASKING, question="Another\x1b[31m try?")
        while "Another" not in (said := capsys.readouterr().err):
            await asyncio.sleep(0.05)
        assert 'Another try? Answer with `brightrun answer job-rent "go on"`, or "stop".' in said
        await rented.put(store, phase=RentalPhase.RUNNING, question="")

    _, code = await asyncio.gather(asks(), start_job(options))
    assert code == 0


async def test_the_same_job_again_goes_on_with_what_was_agreed_and_asks_nothing(
    runpod: FakeRunpod, store: Store, options: StartOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    await led_by_another(store)
    await asyncio.gather(brought_to(store, RentalPhase.RUNNING), start_job(options))
    before = await store.rentals.get("job-rent")
    asked = len(runpod.requests)

    again = replace(renting(options, budget_usd=99.0), as_json=True)
    assert await start_job(again) == 0

    assert await store.rentals.get("job-rent") == before
    assert len(runpod.requests) == asked
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{\n") :])["created"] is False


async def test_ctrl_c_leaves_the_job_and_says_who_goes_on_with_it(
    runpod: FakeRunpod, store: Store, options: StartOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    starting = asyncio.create_task(start_job(options))
    while not runpod.pods:
        await asyncio.sleep(0.05)
    while not await store.rentals.machines("job-rent"):
        await asyncio.sleep(0.05)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    err = capsys.readouterr().err
    assert "job-rent stays as it is. Nobody controls it now" in err
    assert "brightrun serve" in err
    assert len(runpod.pods) == 1
    assert not (await store.get_job("job-rent")).status.is_final
    lease = await store.rentals.lease()
    assert lease is not None and lease.expires_at <= utc_now()


async def test_as_json_stdout_is_data_only(
    runpod: FakeRunpod, store: Store, options: StartOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    await led_by_another(store)
    _, code = await asyncio.gather(
        brought_to(store, RentalPhase.RUNNING), start_job(replace(options, as_json=True))
    )
    out, err = capsys.readouterr()
    assert code == 0
    assert json.loads(out) == {"job_id": "job-rent", "created": True, "status": "queued"}
    assert "H100_PCIE" in err


async def test_money_and_stock_are_checked_before_anything_is_written(
    runpod: FakeRunpod, store: Store, options: StartOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OverBudget, match="nothing was rented"):
        await start_job(renting(options, budget_usd=0.2))
    runpod.catalogue.set_stock(0)
    with pytest.raises(NoCapacity, match="H100_PCIE secure anywhere: none"):
        await start_job(renting(options, wait_for_stock_hours=0.0))
    monkeypatch.delenv("RUNPOD_API_KEY")
    with pytest.raises(ProviderUnauthorized, match="RUNPOD_API_KEY"):
        await start_job(options)
    assert await store.list_jobs() == []
    assert runpod.calls("POST", "") == []


async def test_gpus_of_the_machine_are_replicas_of_the_job(
    runpod: FakeRunpod, store: Store, options: StartOptions
) -> None:
    await led_by_another(store)
    two = replace(renting(options, gpu_count=2), values={**options.values, "num_gpus": 2})
    await asyncio.gather(brought_to(store, RentalPhase.RUNNING), start_job(two))

    stored = await store.rentals.get("job-rent")
    assert stored is not None and stored.request.candidates[0].gpu_count == 2
    assert (await store.get_job("job-rent")).spec.num_gpus == 2
