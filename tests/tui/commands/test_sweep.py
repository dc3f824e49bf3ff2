"""`brightrun sweep` on a machine of the user's own, and on a stand-in for RunPod over real HTTP."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from shared.errors import (
    InvalidDataset,
    InvalidHyperparameter,
    InvalidInput,
    InvalidJobSpec,
    OverBudget,
    OverMonthlyLimit,
    StoreError,
    UnknownJob,
)
from shared.lifecycle import Activity, JobStatus
from shared.store.schema import training_jobs
from shared.store.store import Store
from tests.fakes.runpod.server import FakeRunpod
from tests.shared.small_tokenizer import small_encoder
from tests.tui.sweeps import OOM, add_sweep
from tui.commands import consent
from tui.commands.rent import RentOptions
from tui.commands.start import StartOptions
from tui.commands.sweep import SweepOptions, start_sweep
from tui.commands.sweep_rent import base_of_before
from tui.commands.sweep_show import ShowOptions, cancel_all, compare_jobs, list_sweeps, show_sweep
from tui.services.rent_plan import RentWanted
from tui.services.session import open_session

PAIR = (
    '{"id": "p1", "conversation_id": "c1", "turn_number": 1, "system_prompt": "Be kind.", '
    '"conversation_history": [], "current_user_input": "Hi", "target_response": "Hello."}'
)
GRID = ("learning_rate=1e-4,2e-4", "lora_r=8,16")


@pytest.fixture
def options(tmp_path: Path) -> SweepOptions:
    path = tmp_path / "train.jsonl"
    path.write_text('{"_meta": {"version": "4.0.0"}}\n' + PAIR + "\n")
    start = StartOptions((path,), ("num_epochs=1",), {"preset": "aggressive"})
    return SweepOptions(start, GRID, "Grid", "grid", queue_only=True)


@pytest.fixture
def rented(options: SweepOptions) -> SweepOptions:
    wanted = RentWanted(budget_usd=20.0, gpu_types=("H100_PCIE",))
    start = replace(options.start, host="runpod", rent=RentOptions(wanted, yes=True))
    return replace(options, start=start)


def renting(rented: SweepOptions, over_limit: str = "", **wanted: Any) -> SweepOptions:
    rent = rented.start.rent
    rent = RentOptions(replace(rent.wanted, **wanted), True, over_limit)
    return replace(rented, start=replace(rented.start, rent=rent))


async def test_all_jobs_wait_for_their_turn_with_names_that_say_what_varies(
    home: Path, store: Store, options: SweepOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await start_sweep(options) == 0

    jobs = await store.sweeps.jobs("grid")
    assert [job.spec.name for job in jobs] == [
        "Grid lr=1e-4 r=8",
        "Grid lr=1e-4 r=16",
        "Grid lr=2e-4 r=8",
        "Grid lr=2e-4 r=16",
    ]
    assert {job.spec.hyperparameters.lora_alpha for job in jobs} == {64}
    assert all(job.waits_for_turn and job.host == "local" for job in jobs)
    assert [job.job_id for job in await store.queue.waiting()] == [job.job_id for job in jobs]
    assert [file.sha256 for file in await store.training_files.all()] == [
        jobs[0].spec.dataset.sha256
    ]
    assert len(await store.forecasts.all()) == 4
    out, err = capsys.readouterr()
    assert "Grid: 4 jobs (2 of learning_rate x 2 of lora_r) as grid." in out
    assert "lr=2e-4 r=16" in out
    assert "0 jobs under way, 4 waiting" in err and "`brightrun serve`" in err


async def test_the_same_sweep_again_changes_nothing_and_another_one_is_refused(
    store: Store, options: SweepOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    await start_sweep(options)
    before = await store.sweeps.jobs("grid")

    assert await start_sweep(options) == 0
    assert "had been started before; nothing was changed" in capsys.readouterr().out
    for other in (
        replace(options, varied=("lora_r=8,16",)),
        replace(options, name="Another"),
        replace(options, start=replace(options.start, settings=("num_epochs=2",))),
    ):
        with pytest.raises(InvalidJobSpec, match="choose another --sweep-id"):
            await start_sweep(other)

    assert await store.sweeps.jobs("grid") == before


@pytest.mark.parametrize(
    ("varied", "error"),
    [
        (("lora_r=8,100000",), InvalidHyperparameter),
        (("speed=1,2",), InvalidJobSpec),
        ((), InvalidJobSpec),
    ],
)
async def test_nothing_is_written_where_one_combination_is_out_of_range(
    store: Store, options: SweepOptions, varied: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await start_sweep(replace(options, varied=varied))
    assert await store.list_jobs() == []
    assert await store.sweeps.all() == []


async def test_a_file_that_is_in_order_for_only_some_of_the_jobs_starts_none(
    store: Store, options: SweepOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.commands.start.counting_encoder", lambda *_: small_encoder())
    path = options.start.datasets[0]
    path.write_text(path.read_text().replace("Be kind.", "Be kind. " * 400))

    with pytest.raises(InvalidDataset, match="has errors with Grid length=64"):
        await start_sweep(replace(options, varied=("max_seq_length=4096,64",)))
    assert await store.list_jobs() == []


async def test_a_budget_on_a_machine_of_ones_own_is_refused(options: SweepOptions) -> None:
    rent = RentOptions(RentWanted(budget_usd=5.0))
    with pytest.raises(InvalidInput, match="nobody pays for local"):
        await start_sweep(replace(options, start=replace(options.start, rent=rent)))


async def test_json_says_what_was_written(
    home: Path, options: SweepOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    await start_sweep(replace(options, start=replace(options.start, as_json=True)))

    said = json.loads(capsys.readouterr().out)
    assert said["created"] == 4
    assert said["job_ids"][0] == "grid-01"


async def test_rented_jobs_share_the_budget_and_one_new_volume(
    runpod: FakeRunpod, store: Store, rented: SweepOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await start_sweep(renting(rented, volume="new:100")) == 0

    requests = []
    for job in await store.sweeps.jobs("grid"):
        stored = await store.rentals.get(job.job_id)
        assert stored is not None
        assert job.host == f"runpod:{job.job_id}"
        requests.append(stored.request)
    assert [request.budget_usd for request in requests] == [5.0] * 4
    (volume,) = runpod.volumes.values()
    assert {request.network_volume_id for request in requests} == {volume["id"]}
    assert volume["name"] == "brightrun-grid"
    assert (await store.sweeps.find("grid")).budget_usd == 20.0
    out = capsys.readouterr().out
    assert "$20.00, never exceeded: $5.00 for each to begin with" in out
    assert "cost of all" in out
    looked = [request for request in runpod.requests if "gpu" in request.path.lower()]
    assert len(looked) <= 2, "one look at the catalogue serves all jobs"

    assert await start_sweep(renting(rented, volume="new:100")) == 0
    assert len(runpod.volumes) == 1
    assert "nothing was changed" in capsys.readouterr().out


async def test_a_budget_that_is_too_small_for_each_is_refused_in_those_words(
    runpod: FakeRunpod, store: Store, rented: SweepOptions
) -> None:
    with pytest.raises(OverBudget, match=r"gives each of its 4 jobs \$0.25"):
        await start_sweep(renting(rented, budget_usd=1.0))
    assert await store.list_jobs() == []
    assert runpod.volumes == {}


async def test_a_sweep_beyond_the_monthly_limit_needs_a_reason_which_is_recorded(
    runpod: FakeRunpod, store: Store, rented: SweepOptions
) -> None:
    await store.settings.put("monthly_limit_usd", 0.5)

    with pytest.raises(OverMonthlyLimit):
        await start_sweep(rented)
    assert await store.list_jobs() == []
    assert await start_sweep(renting(rented, over_limit="the demo is tomorrow")) == 0

    recorded = await store.spending.overrides()
    assert {each.job_id for each in recorded} == {f"grid-0{number}" for number in (1, 2, 3, 4)}
    assert {each.reason for each in recorded} == {"the demo is tomorrow"}


@pytest.mark.parametrize("answer", ["", "n"])
async def test_what_is_not_a_clear_yes_rents_nothing(
    runpod: FakeRunpod,
    store: Store,
    rented: SweepOptions,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
) -> None:
    monkeypatch.setattr(consent, "_is_somebody_there", lambda: True)
    monkeypatch.setattr("builtins.input", lambda *_: answer)
    asking = replace(rented.start, rent=replace(rented.start.rent, yes=False))

    assert await start_sweep(replace(rented, start=asking)) == 3

    assert "Rent machines for these 4 jobs, for up to $20.00 in all? [y/N]" in (
        capsys.readouterr().err
    )
    assert await store.list_jobs() == []


async def test_show_compares_and_names_what_failed(
    home: Path, store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    await add_sweep(store)
    target = tmp_path / "sweep.csv"

    assert await show_sweep("Elena", ShowOptions(curves=True, csv=target)) == 0

    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "Elena (grid): 4 jobs"
    assert [line.split()[0] for line in lines[2:6]] == ["grid-03", "grid-01", "grid-02", "grid-04"]
    assert "A*  lr=2e-4 r=8" in lines[2]
    assert f"lr=1e-4 r=16 (grid-02): out_of_memory: {OOM}" in out
    assert "held-out loss against step" in out
    assert target.read_text().startswith("job_id,name,lr,r,status,")
    with pytest.raises(InvalidInput, match="is there already"):
        await show_sweep("grid", ShowOptions(csv=target))


async def test_any_jobs_can_be_compared(
    home: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    await add_sweep(store)

    assert await compare_jobs(["grid-01", "grid-03", "grid-01"], ShowOptions(as_json=True)) == 0

    found = json.loads(capsys.readouterr().out)["jobs"]
    assert [job["job_id"] for job in found] == ["grid-03", "grid-01"]
    assert "r" not in found[0], "it does not vary between these two"


async def test_sweeps_are_listed_and_cancelled_with_all_that_wait(
    home: Path, store: Store, options: SweepOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await list_sweeps(as_json=False) == 0
    assert "no sweeps yet" in capsys.readouterr().err
    await start_sweep(options)
    capsys.readouterr()

    assert await cancel_all("grid", "seen enough") == 0

    jobs = await store.sweeps.jobs("grid")
    assert {job.status for job in jobs} == {JobStatus.CANCELLED}
    assert {job.state.detail for job in jobs} == {"seen enough"}
    assert "4 jobs cancelled" in capsys.readouterr().out
    await list_sweeps(as_json=False)
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row[:6] == ["grid", "Grid", "learning_rate,", "lora_r", "4", "4"]
    with pytest.raises(UnknownJob, match="no sweep"):
        await cancel_all("other", "")


async def test_leaving_the_command_leaves_the_jobs_waiting_and_says_who_goes_on(
    home: Path,
    store: Store,
    options: SweepOptions,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(*_: object) -> None:
        """Give no turn."""

    monkeypatch.setattr("tui.services.host_queue.HostQueue._look", nothing)
    said: list[str] = []

    def heard() -> str:
        said.append(capsys.readouterr().err)
        return "".join(said)

    running = asyncio.create_task(start_sweep(replace(options, queue_only=False)))
    async with asyncio.timeout(20):
        while "grid-04 waiting" not in heard():
            await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert "4 waiting. Those that wait start while a console" in heard()
    jobs = await store.sweeps.jobs("grid")
    assert {job.state.activity for job in jobs} == {Activity.WAITING_FOR_TURN}


async def test_after_a_failure_between_volume_and_jobs_the_same_command_makes_no_second_volume(
    runpod: FakeRunpod, store: Store, rented: SweepOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> int:
        raise StoreError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr("tui.commands.sweep.write_sweep", full)
        with pytest.raises(StoreError):
            await start_sweep(renting(rented, volume="new"))
    assert await store.list_jobs() == []

    assert await start_sweep(renting(rented, volume="new")) == 0

    assert len(runpod.volumes) == 1
    assert len(await store.sweeps.jobs("grid")) == 4


async def test_a_repeated_start_means_the_commit_that_the_first_one_froze(
    home: Path, store: Store
) -> None:
    await add_sweep(store)
    sweep = await store.sweeps.find("grid")
    spec = (await store.get_job("grid-01")).spec
    async with store.database.writing() as connection:
        frozen = spec.model_copy(update={"base_model_revision": "c" * 40})
        values = {"spec": json.loads(frozen.model_dump_json())}
        await connection.execute(
            update(training_jobs).where(training_jobs.c.id == "grid-01").values(values)
        )
    async with open_session() as session:
        assert (await base_of_before(session, spec, sweep)).base_model_revision == "c" * 40
        typed = spec.model_copy(update={"base_model_revision": "main"})
        assert await base_of_before(session, typed, sweep) == typed
