"""`brightrun template` and `start --template`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from shared.store.store import open_store
from tests.fakes.runpod.server import FakeRunpod
from tests.tui import rented
from tests.tui.local_console import Console


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path)


def queued(console: Console, *arguments: str) -> dict[str, Any]:
    """The job that such a start writes down."""
    code, out, err = console.start("job-new", "", "--queue", "--json", *arguments)
    assert code == 0, err + out
    shown: dict[str, Any] = json.loads(console.run("show", "job-new", "--json")[1])
    return shown["job"]  # type: ignore[no-any-return]


def test_what_is_typed_comes_before_the_template_and_that_before_what_is_usual(
    console: Console,
) -> None:
    code, out, _ = console.run(
        *("template", "save", "big one", "--preset", "aggressive", "--tag", "kept"),
        *("--set", "lora_r=8", "--set", "seed=7", "--set", "checkpoints_kept=9"),
        *("--set", "cut_targets=train"),
    )
    assert (code, 'start --template "big one"' in out) == (0, True)

    job = queued(
        console,
        *("--template", "big one", "--set", "seed=8", "--cut-targets", "exclude", "--tag", "typed"),
    )

    assert (job["preset"], job["checkpoints_kept"], job["cut_targets"]) == (
        "aggressive",
        9,
        "exclude",
    )
    assert (job["hyperparameters"]["lora_r"], job["hyperparameters"]["seed"]) == (8, 8)
    assert job["tags"] == ["typed"]


def test_a_template_of_a_job_gives_jobs_like_it(console: Console) -> None:
    first = queued(console, "--set", "num_epochs=2", "--over-long", "exclude", "--tag", "a")
    assert console.run("template", "save", "like", "--from", "job-new", "--set", "lora_r=4")[0] == 0
    code, out, _ = console.run("template", "show", "like")
    assert code == 0
    assert {"lora_r": "4", "over_long": "exclude"}.items() <= {
        line.split()[0]: line.split()[-1] for line in out.splitlines()
    }.items()

    arguments = ("--dataset", console.dataset, "--job-id", "job-2", "--queue")
    assert console.run("start", "--template", "like", *arguments)[0] == 0
    again = json.loads(console.run("show", "job-2", "--json")[1])["job"]
    first["hyperparameters"]["lora_r"] = 4
    assert again == {**first, "job_id": "job-2"}


def test_templates_are_listed_shown_replaced_and_deleted(console: Console) -> None:
    assert "no templates yet" in console.run("template", "list")[2]
    console.run("template", "save", "one", "--model", "smollm2")
    code, _, err = console.run("template", "save", "one")
    assert (code, "there is one of that name" in err) == (2, True)
    assert console.run("template", "save", "one", "--preset", "conservative", "--replace")[0] == 0
    (listed,) = json.loads(console.run("template", "list", "--json")[1])
    assert (listed["name"], listed["settings"]) == ("one", {"preset": "conservative"})
    assert console.run("template", "delete", "one")[0] == 0
    assert console.run("template", "show", "one")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "lora_r=0"), "lora_r"),
        (("--set", "warp=9"), "no such setting"),
        (("--set", "force_resume=true"), "a checkpoint belongs to one job"),
        (("--from", "job-none"), "there is no job"),
    ],
)
def test_a_template_that_could_give_no_job_is_not_kept(
    console: Console, arguments: tuple[str, ...], words: str
) -> None:
    code, _, err = console.run("template", "save", "one", *arguments)
    assert (code != 0, words in err) == (True, True), err
    assert json.loads(console.run("template", "list", "--json")[1]) == []


def test_a_template_of_a_newer_version_is_named_as_such_and_stays(console: Console) -> None:
    settings = {"preset": "balanced", "of_the_future": [1, 2]}

    async def save() -> None:
        async with open_store(console.home / "brightrun.db") as store:
            await store.templates.save("newer", settings)

    asyncio.run(save())
    for command in (("template", "show", "newer"), ("start", "--template", "newer")):
        more = ("--dataset", console.dataset) if command[0] == "start" else ()
        code, _, err = console.run(*command, *more)
        assert (code, "does not know of_the_future" in err) == (2, True), err
    assert "of a newer version" in console.run("template", "list")[1]
    (listed,) = json.loads(console.run("template", "list", "--json")[1])
    assert listed["settings"] == settings


def test_a_template_of_a_rented_job_asks_for_such_a_machine(
    console: Console, runpod: FakeRunpod
) -> None:
    console.environment |= {"RUNPOD_API_KEY": str(runpod.api_key)}
    console.environment |= {"RUNPOD_API_BASE_URL": runpod.url}

    async def add() -> None:
        async with open_store(console.home / "brightrun.db") as store:
            await rented.add_rented_job(store, network_volume_id=None, max_interruptions=1)

    asyncio.run(add())
    assert console.run("template", "save", "rent", "--from", "job-rent")[0] == 0

    code, out, err = console.run(
        *("start", "--template", "rent", "--dataset", console.dataset, "--model", "tiny"),
        *("--job-id", "job-again", "--gpu", "A100_80GB", "--yes", "--queue", "--json"),
    )

    assert code == 0, err
    assert json.loads(out)["created"] is True

    async def request() -> Any:
        async with open_store(console.home / "brightrun.db") as store:
            stored = await store.rentals.get("job-again")
            assert stored is not None
            return stored.request

    wanted = asyncio.run(request())
    assert (wanted.budget_usd, wanted.max_interruptions) == (20, 1)
    assert {each.gpu_type for each in wanted.candidates} == {"A100_80GB"}
    assert runpod.pods == []
