"""One process at a time makes a copy, and a dead one is no obstacle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.process import identify
from agent.trainer.model_cache.ownership import Ownership, OwnershipLost, owned, read_owner
from shared.events import ModelProgress

FAST = {"silence_limit_s": 0.3, "look_s": 0.02}


def never() -> bool:
    return False


def said_by(token: str, **values: object) -> str:
    owner = {"token": token, "beat": 1, "process": None, "namespace": "", "progress": None}
    return json.dumps({**owner, **values})


def test_the_file_names_this_process_and_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "nf4.owner"
    with owned(path, never, print) as ownership:
        assert ownership is not None
        ownership.check()
        owner = read_owner(path)
        assert owner is not None
        assert not owner.is_dead
    assert not path.exists()


def test_who_waits_hears_how_far_the_owner_is_and_leaves_once_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "nf4.owner"
    progress = ModelProgress(what="downloading", done_bytes=1, total_bytes=2)
    path.write_text(said_by("other", progress=progress.model_dump(mode="json")))
    heard: list[ModelProgress] = []
    with owned(path, lambda: bool(heard), heard.append, look_s=0.02) as ownership:
        assert ownership is None
    assert heard == [progress]
    assert path.exists()


def test_an_owner_of_another_machine_whose_beat_stands_still_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "nf4.owner"
    path.write_text(said_by("dead"))
    with owned(path, never, print, **FAST) as ownership:
        assert ownership is not None
        owner = read_owner(path)
        assert owner is not None
        assert owner.token != "dead"
    assert list(tmp_path.iterdir()) == []


def test_a_dead_process_of_this_machine_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "nf4.owner"
    take = "import sys; from pathlib import Path\n"
    take += "from agent.trainer.model_cache.ownership import _take\n"
    take += "_take(Path(sys.argv[1]), 'dead')"
    subprocess.run([sys.executable, "-c", take, str(path)], check=True, timeout=60)
    owner = read_owner(path)
    assert owner is not None
    assert owner.is_dead
    with owned(path, never, print, silence_limit_s=1000, look_s=1000) as ownership:
        assert ownership is not None


def test_the_same_number_in_another_container_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "nf4.owner"
    process = identify(1)
    assert process is not None
    gone = process._replace(start_time=process.start_time + 1)
    path.write_text(said_by("other", process=gone, namespace="pid:[1]"))
    owner = read_owner(path)
    assert owner is not None
    assert not owner.is_dead


def test_an_owner_that_was_replaced_stops(tmp_path: Path) -> None:
    path = tmp_path / "nf4.owner"
    with owned(path, never, print) as ownership:
        assert ownership is not None
        path.write_text(said_by("successor"))
        with pytest.raises(OwnershipLost):
            ownership.check()
    assert path.exists()  # The successor's.


def test_a_file_that_says_nothing_is_waited_for_and_then_replaced(tmp_path: Path) -> None:
    path = tmp_path / "nf4.owner"
    path.write_bytes(b"")
    assert read_owner(path) is None
    with owned(path, never, print, **FAST) as ownership:
        assert isinstance(ownership, Ownership)
