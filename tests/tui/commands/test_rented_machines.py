"""`brightrun machines` for what is rented, against a stand-in for RunPod over real HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.rental import MachineState, RentalPhase
from shared.store.store import Store
from tests.fakes.runpod.server import FakeRunpod
from tests.tui import rented
from tui.commands import rented_machines
from tui.commands.machines import list_machines
from tui.commands.rented_machines import end_one, reap_orphans
from tui.services.controller import fleet


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other at once; how many there have to be stays."""
    for function in (fleet.end_machine, fleet.reap):
        monkeypatch.setitem(function.__kwdefaults__, "poll_s", 0.01)


async def pod_of(runpod: FakeRunpod, store: Store, job_id: str) -> str:
    """A pod with our mark; returns its name."""
    return a_pod(runpod, f"brightrun-{await store.rentals.mark()}-{job_id}-1")


def a_pod(runpod: FakeRunpod, name: str) -> str:
    gpu = {"id": "NVIDIA H100 PCIe", "count": 1}
    runpod.create({"name": name, "image": "an-image", "gpu": gpu, "cloud": "SECURE"})
    return name


async def serving(runpod: FakeRunpod, store: Store) -> str:
    """A pod that an open job has."""
    name = await pod_of(runpod, store, "job-rent")
    await rented.add_rented_job(store)
    await store.rentals.intend(rented.machine(name=name, state=MachineState.RENTED))
    await rented.put(store, phase=RentalPhase.RUNNING, machine=name)
    return name


async def test_orphans_come_first_and_machines_without_our_mark_never(
    runpod: FakeRunpod, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    a_pod(runpod, "somebody-elses")
    a_pod(runpod, "brightrun-ffffffff-job-rent-1")
    ours = await serving(runpod, store)
    orphan = await pod_of(runpod, store, "job-gone")

    assert await list_machines([], as_json=False) == 0

    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["MACHINE", "STATE", "WHAT"]
    assert lines[1].split()[0] == orphan
    assert "orphan, " in lines[1], "whichever state the pod has come to by now"
    assert "job-gone (not in this store)" in lines[1]
    assert lines[2].split()[0] == ours
    assert "$2.39" in lines[2]
    assert lines[4].split()[:2] == ["HOST", "STATE"]
    assert "1 machine is paid for and serve no job: `brightrun machines reap`" in err
    assert "somebody-elses" not in out and "ffffffff" not in out


async def test_as_json_rented_machines_stand_behind_the_hosts(
    runpod: FakeRunpod, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    name = await serving(runpod, store)

    assert await list_machines([], as_json=True) == 0

    host, machine = json.loads(capsys.readouterr().out)
    assert (host["kind"], host["name"]) == ("host", "local")
    assert (machine["kind"], machine["name"]) == ("rented", name)
    assert (machine["is_orphan"], machine["is_listed"], machine["job_id"]) == (
        False,
        True,
        "job-rent",
    )


async def test_where_the_provider_does_not_answer_the_ledger_is_shown_and_that_is_said(
    runpod: FakeRunpod, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    name = await serving(runpod, store)
    runpod.revoke_key()

    assert await list_machines([], as_json=False) == 0

    out, err = capsys.readouterr()
    assert name in out
    assert "rented machines are as our ledger has them: " in err
    assert "API key" in err


async def test_without_a_key_and_without_rented_machines_nothing_is_said_of_them(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await list_machines([], as_json=False) == 0
    out, err = capsys.readouterr()
    assert out.startswith("HOST")
    assert "RUNPOD" not in err and "rented" not in err


async def test_reap_ends_orphans_until_they_are_proved_absent_and_nothing_else(
    runpod: FakeRunpod, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    a_pod(runpod, "somebody-elses")
    ours = await serving(runpod, store)
    orphan = await pod_of(runpod, store, "job-gone")

    with pytest.raises(InvalidInput, match="--yes"):
        await reap_orphans(yes=False)
    assert len(runpod.pods) == 3
    assert await reap_orphans(yes=True) == 0

    assert {pod.name for pod in runpod.pods} == {"somebody-elses", ours}
    err = capsys.readouterr().err
    assert f"{orphan} is gone." in err
    assert await reap_orphans(yes=True) == 0
    assert "no orphans" in capsys.readouterr().err


async def test_a_machine_that_came_after_the_question_is_not_ended_by_its_answer(
    runpod: FakeRunpod, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await pod_of(runpod, store, "job-one")
    second = f"brightrun-{await store.rentals.mark()}-job-two-1"

    def agrees(question: str, *, yes: bool) -> bool:
        a_pod(runpod, second)
        return True

    monkeypatch.setattr(rented_machines, "agreed", agrees)
    assert await reap_orphans(yes=False) == 0

    assert [pod.name for pod in runpod.pods] == [second]
    assert first != second


async def test_one_machine_is_ended_by_its_name_id_or_job(runpod: FakeRunpod, store: Store) -> None:
    for job_id in ("job-one", "job-two", "job-three"):
        await pod_of(runpod, store, job_id)
    by_name, by_id, by_job = runpod.pods

    assert await end_one(by_name.name, yes=True) == 0
    assert await end_one(by_id.id, yes=True) == 0
    assert await end_one("job-three", yes=True) == 0
    assert by_job.ended and runpod.pods == []


async def test_a_machine_that_serves_a_job_is_not_ended_under_it(
    runpod: FakeRunpod, store: Store
) -> None:
    name = await serving(runpod, store)

    with pytest.raises(InvalidInput, match="`brightrun cancel job-rent`"):
        await end_one(name, yes=True)
    with pytest.raises(InvalidInput, match=f"no machine of this store; there are: {name}"):
        await end_one("somebody-elses", yes=True)
    assert len(runpod.pods) == 1
