"""Where there is no room a checkpoint is not written; the run and the newest one stay."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from agent.trainer.checkpointing.checkpoint_disk import CheckpointDisk
from agent.trainer.checkpointing.snapshot import Snapshot
from shared import events, manifest


class Told(list[events.Event]):
    def write(self, event: events.Event) -> None:
        self.append(event)

    @property
    def lines(self) -> list[tuple[str, str]]:
        return [(item.level, item.message) for item in self if isinstance(item, events.LogLine)]

    @property
    def steps(self) -> list[int]:
        return [item.step for item in self if isinstance(item, events.CheckpointCommitted)]


@pytest.fixture
def told() -> Told:
    return Told()


def snapshot(step: int) -> Snapshot:
    tensors = {"weight": torch.full((5000,), float(step))}
    return Snapshot(step, tensors, {}, {}, {"progress": {}}, {"global_step": step}, stall_s=0.25)


def disk_of(folder: Path, told: Told, *, kept: int = 2, floor_bytes: int = 0) -> CheckpointDisk:
    facts = {"fingerprint": {"optim": "adamw_torch"}}
    return CheckpointDisk([folder], told, kept=kept, floor_bytes=floor_bytes, facts=facts)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_committed_checkpoint_is_told_with_its_times_and_the_oldest_goes(
    tmp_path: Path, told: Told
) -> None:
    disk = disk_of(tmp_path / "checkpoints", told)
    for step in (1, 2, 3):
        disk.commit(snapshot(step))
    assert names(tmp_path / "checkpoints") == ["step-00000002", "step-00000003"]
    committed = told[-1]
    assert isinstance(committed, events.CheckpointCommitted)
    directory = Path(committed.path)
    assert committed.manifest_sha256 == manifest.manifest_sha256(directory)
    assert committed.size_bytes == sum(path.stat().st_size for path in directory.iterdir())
    assert committed.seconds > 0
    assert committed.stall_s == 0.25
    assert disk.last_step == 3
    stated = manifest.verify(directory)
    assert stated["fingerprint"] == {"optim": "adamw_torch"}
    assert (stated["step"], stated["format_version"]) == (3, 2)


def test_below_the_floor_only_the_newest_stays_and_it_is_said_once(
    tmp_path: Path, told: Told
) -> None:
    roomy = disk_of(tmp_path, told)
    roomy.commit(snapshot(1))
    roomy.commit(snapshot(2))
    told.clear()
    disk = disk_of(tmp_path, told, floor_bytes=2 * shutil.disk_usage(tmp_path).free)
    for step in (3, 4, 5):
        disk.commit(snapshot(step))
    assert names(tmp_path) == ["step-00000002"]
    ((level, message),) = told.lines
    assert level == "warning"
    assert "MB more must be free" in message
    disk._floor_bytes = 0
    disk.commit(snapshot(6))
    assert told.lines[1:] == [("info", "checkpoint saved again: there is room on the disk")]
    assert told.steps == [6]


@pytest.fixture
def limit_of_file_size() -> Iterator[None]:
    """The kernel's own limit: writes beyond 10 kB fail, as on a full disk."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, unlimited[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)


@pytest.mark.usefixtures("limit_of_file_size")
def test_a_full_disk_is_an_error_in_the_log_and_leaves_nothing_half_written(
    tmp_path: Path, told: Told
) -> None:
    disk_of(tmp_path, told).commit(snapshot(1))
    ((level, message),) = told.lines
    assert level == "error"
    assert message.startswith("checkpoint of step 1 not saved, the disk is full: ")
    assert "parameters.safetensors" in message
    assert names(tmp_path) == []


def test_a_disk_that_fails_otherwise_is_not_hidden(tmp_path: Path, told: Told) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises(OSError):
        disk_of(tmp_path / "checkpoints", told).commit(snapshot(1))
