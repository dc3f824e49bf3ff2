"""The cache of this machine, filled by the real quantiser from a hub on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import InvalidBaseModel, InvalidInput, ModelCacheError
from shared.events import ModelProgress, utc_now
from tests.fakes.hub import COMMIT, FakeHub
from tests.tui.services.model_cache.conftest import MODEL
from tui.commands.models_cache import CacheWhere, fill_model, list_models, prune_models
from tui.services.model_cache.cache import PruneWanted, chosen, fill, listed, prune
from tui.services.model_cache.places import LocalCache

BRIGHTRUN = [sys.executable, "-c", "from tui.cli import main; main()"]


@pytest.mark.slow
async def test_it_is_filled_once_listed_and_pruned(environment: Path, hub: FakeHub) -> None:
    place = LocalCache(environment / "agent")
    assert await place.prepare(for_filling=True)
    assert await listed(place) == []
    told: list[ModelProgress] = []

    filled = await fill(place, MODEL, None, told.append)

    assert not filled.was_there
    assert (filled.model.base_model, filled.model.revision) == (MODEL, COMMIT)
    assert filled.model.is_complete
    assert {"downloading", "quantising"} & {progress.what for progress in told}

    asked = len(hub.asked)
    again = await fill(place, MODEL, "main", lambda progress: None)
    assert again.was_there and again.downloaded_bytes == 0
    assert not any("safetensors" in each for each in hub.asked[asked:] if each.startswith("GET"))

    [model] = await listed(place)
    assert model.size_bytes > 1_000_000
    [gone] = await prune(place, chosen([model], PruneWanted(MODEL), utc_now()))
    assert gone.freed_bytes == model.size_bytes
    assert await listed(place) == []
    assert list((environment / "agent" / "models").glob("org--tiny")) == []


@pytest.mark.slow
async def test_what_is_wrong_with_the_model_is_told_and_mended_by_the_user(
    environment: Path, hub: FakeHub
) -> None:
    place = LocalCache(environment / "agent")
    with pytest.raises(InvalidBaseModel, match="org/none"):
        await fill(place, "org/none", None, lambda progress: None)
    with pytest.raises(InvalidBaseModel, match="v9"):
        await fill(place, MODEL, "v9", lambda progress: None)


async def test_a_stack_that_cannot_be_started_says_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "trainer.json").write_text(
        json.dumps(
            {
                "command": [
                    sys.executable,
                    "-c",
                    "raise SystemExit('no \\x1b[31mroom')",
                    "agent.trainer",
                ]
            }
        )
    )
    with pytest.raises(ModelCacheError, match=r"local: the cache .* failed: no .*room") as raised:
        await listed(LocalCache(tmp_path))
    assert "\x1b" not in str(raised.value)


async def test_a_stack_that_is_not_ours_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "trainer.json").write_text('{"command": ["./my-trainer"]}')
    with pytest.raises(InvalidInput, match=r"trainer\.json"):
        await LocalCache(tmp_path).prepare()


async def test_the_command_lists_fills_and_prunes(
    environment: Path, hub: FakeHub, capfd: pytest.CaptureFixture[str]
) -> None:
    here, agreed = CacheWhere(), CacheWhere(yes=True)
    assert await list_models(here, as_json=False) == 0
    assert "local keeps no base models" in capfd.readouterr().err

    assert await fill_model(MODEL, "main", here, as_json=False) == 0
    told = capfd.readouterr()
    assert f"org/tiny at {COMMIT[:12]} is on local now" in told.out
    assert "downloading org/tiny" in told.err

    assert await list_models(here, as_json=False) == 0
    table = capfd.readouterr().out
    assert "org/tiny" in table and f"{COMMIT[:12]} (main)" in table and "complete" in table
    assert await list_models(here, as_json=True) == 0
    [model] = json.loads(capfd.readouterr().out)["models"]
    assert (model["revision"], model["is_complete"]) == (COMMIT, True)

    with pytest.raises(InvalidInput, match="Say which may go"):
        await prune_models(PruneWanted(), agreed, as_json=False)
    with pytest.raises(InvalidInput, match="add --yes"):
        await prune_models(PruneWanted(MODEL), here, as_json=False)
    assert await prune_models(PruneWanted(older_than_days=30), agreed, as_json=False) == 0
    assert "nothing is to be removed" in capfd.readouterr().err
    assert await prune_models(PruneWanted(MODEL), agreed, as_json=True) == 0
    gone = capfd.readouterr()
    assert "removed: 1 copy, " in gone.err
    assert [each["revision"] for each in json.loads(gone.out)["removed"]] == [COMMIT]
    assert await list_models(here, as_json=True) == 0
    assert json.loads(capfd.readouterr().out)["models"] == []


@pytest.mark.slow
def test_an_interrupted_fill_goes_on_where_it_stopped(environment: Path, hub: FakeHub) -> None:
    """Ctrl-C at a terminal reaches the console and the process that fills."""
    files = sorted(name for name in hub.repos[MODEL].files if name.endswith(".safetensors"))
    assert len(files) >= 3
    stalled = files[2]

    def stall(request: object, path: str) -> bool:
        while path.endswith(stalled) and hub.fault is not None and _gets(hub, stalled):
            time.sleep(0.05)
        return False

    hub.fault = stall
    process = subprocess.Popen(
        [*BRIGHTRUN, "models", "cache", "fill", MODEL],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    progress = environment / "agent/models/org--tiny" / COMMIT / "nf4.partial/progress.json"
    _until(lambda: progress.exists() and files[0] in progress.read_text(), process)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    hub.fault = None
    assert process.returncode == 130
    assert "the same command goes on from there" in said and "Traceback" not in said

    before = hub.downloads(files[0])
    again = subprocess.run([*BRIGHTRUN, "models", "cache", "fill", MODEL], timeout=90)
    assert again.returncode == 0
    assert hub.downloads(files[0]) == before


def _gets(hub: FakeHub, file: str) -> bool:
    return any(each.startswith("GET") and each.endswith(file) for each in hub.asked)


def _until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
