from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.installation.base import Base
from agent.installation.pruning import prune

TWO_DAYS_S = 2 * 24 * 3600


@pytest.fixture
def base(tmp_path: Path) -> Base:
    made = Base(tmp_path)
    made.root.mkdir()
    for name in (
        "code/old",
        "code/new",
        "env/old",
        "env/new",
        "trainer-env/old",
        "trainer-env/new",
    ):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "code/old.zip").touch()
    (tmp_path / "code/new.zip").touch()
    made.trainer_file.write_text(
        json.dumps({"command": [f"{tmp_path}/trainer-env/new/bin/python"], "key": "new"})
    )
    for entry in tmp_path.glob("*/*"):
        os.utime(entry, (0, time.time() - TWO_DAYS_S))
    return made


def left(base: Base) -> set[str]:
    return {
        str(path.relative_to(base.path))
        for path in base.path.glob("*/*")
        if path.parent.name != "agent"
    }


NEW = {"code/new", "code/new.zip", "env/new", "trainer-env/new"}


def keep(base: Base) -> list[Path]:
    return [base.code("new"), base.environments / "new"]


def test_old_code_and_environments_are_removed(base: Base) -> None:
    prune(base, keep(base))
    assert left(base) == NEW


def test_what_came_today_may_be_waited_for(base: Base) -> None:
    os.utime(base.path / "code" / "old.zip")
    prune(base, keep(base))
    assert left(base) == NEW | {"code/old.zip"}


@pytest.fixture
def user_of_the_old_code(base: Base) -> Iterator[None]:
    environment = {**os.environ, "PYTHONPATH": str(base.code("old"))}
    command = [sys.executable, "-c", "print(flush=True); import time; time.sleep(600)"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.kill()


@pytest.mark.usefixtures("user_of_the_old_code")
def test_what_a_process_uses_stays(base: Base) -> None:
    prune(base, keep(base))
    assert left(base) == NEW | {"code/old", "code/old.zip"}


def test_a_trainer_file_that_cannot_be_read_keeps_every_training_stack(base: Base) -> None:
    base.trainer_file.write_text("{")
    prune(base, keep(base))
    assert left(base) == NEW | {"trainer-env/old"}


def test_what_other_machines_may_use_is_kept(base: Base, tmp_path: Path) -> None:
    job = Base(tmp_path / "jobs" / "job-one")
    job.root.mkdir(parents=True)
    for name in ("code", "env", "trainer-env"):
        (job.path / name).symlink_to(f"../../{name}")
    prune(job, [])
    assert (tmp_path / "code/old").is_dir()
    assert (tmp_path / "env/old").is_dir()
