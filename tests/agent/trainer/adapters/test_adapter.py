"""An adapter is written whole or not at all, and the same by whichever attempt comes to its end."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.run_directory import AttemptDirectory
from agent.trainer import train
from shared import manifest
from shared.lifecycle import StopReason
from tests.agent.trainer.in_process import train_here
from tests.agent.trainer.running import finish_of, metrics_by_step, next_attempt

pytestmark = [
    # Raised inside transformers and peft, about each other.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture
def second(trained: AttemptDirectory, tmp_path: Path) -> AttemptDirectory:
    """The next attempt of the job, as if the first had been lost before its adapter was verified.

    Its last checkpoint is there, so nothing is left to train.
    """
    job = shutil.copytree(trained.path.parent.parent, tmp_path / "jobs" / "trained-job")
    return next_attempt(AttemptDirectory(job / "attempts" / "1"))


def test_the_next_attempt_writes_the_same_adapter_and_the_whole_history(
    trained: AttemptDirectory, second: AttemptDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train_here(second, monkeypatch) is None
    assert metrics_by_step(second) == {}
    manifest.verify(second.adapter_path)
    for name in ("adapter_model.safetensors", "portability.json", "curves.svg"):
        ours = (second.adapter_path / name).read_bytes()
        assert ours == (trained.adapter_path / name).read_bytes(), name
    assert "no losses were recorded" not in (second.adapter_path / "curves.svg").read_text()
    assert second.portability_path.read_bytes() == trained.portability_path.read_bytes()


def test_a_disk_that_stays_full_leaves_no_half_adapter_and_the_last_checkpoint(
    second: AttemptDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest: Callable[..., dict[str, Any]] = train.save_adapter
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)

    def save_on_a_full_disk(*arguments: object) -> dict[str, Any]:
        # A real limit of the kernel: writes past 200 kB fail, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, unlimited[1]))
        try:
            return honest(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)

    monkeypatch.setattr(train, "save_adapter", save_on_a_full_disk)
    assert train_here(second, monkeypatch) == 3
    assert finish_of(second).stop_reason is StopReason.DISK_FULL
    assert not list(second.path.glob("adapter*"))
    (first,) = second.earlier()
    kept = [path for path in first.checkpoints_path.iterdir() if path.name.startswith("step-")]
    assert kept
    for path in kept:
        manifest.verify(path)
