"""Checkpoints give back exactly what went in, and a bad one is never used."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path

import bitsandbytes
import numpy
import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from agent.trainer import checkpoints
from agent.trainer.checkpoints import Progress, newest_valid, prune, save
from shared.errors import CheckpointRejected

FINGERPRINT = {"dataset_sha256": "a" * 64, "versions": {"torch": "2.13.0"}}

MakeOptimizer = Callable[[torch.nn.Module], torch.optim.Optimizer]
OPTIMIZERS: dict[str, MakeOptimizer] = {
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-2),
    "adamw_8bit": lambda model: bitsandbytes.optim.AdamW8bit(model.parameters(), lr=1e-2),
}


class Run:
    """A model, its optimizer and its schedule, with steps that use random numbers."""

    def __init__(self, make_optimizer: MakeOptimizer) -> None:
        torch.manual_seed(1)
        # Large enough that bitsandbytes keeps its state in 8 bits (4,096 values).
        self.model = torch.nn.Sequential(torch.nn.Linear(96, 96), torch.nn.Linear(96, 4))
        self.model[1].weight.requires_grad_(False)
        self.optimizer = make_optimizer(self.model)
        self.scheduler = LambdaLR(self.optimizer, lambda step: 0.9**step)

    def step(self) -> None:
        noise = torch.randn(8, 96) + random.random() + float(numpy.random.rand())
        self.optimizer.zero_grad()
        self.model(noise).square().mean().backward()
        self.optimizer.step()
        self.scheduler.step()

    def save(self, folder: Path, step: int) -> Path:
        return save(
            folder,
            step,
            model=self.model,
            optimizer=self.optimizer,
            scheduler=self.scheduler,
            progress=Progress(final_loss=1.25, base_eval_loss=2.0),
            trainer_state={"global_step": step},
            fingerprint=FINGERPRINT,
        )

    def restore(self, directory: Path) -> None:
        checkpoints.restore_parameters(directory, self.model)
        checkpoints.restore_optimizer(directory, self.optimizer, self.scheduler)
        checkpoints.restore_generators(directory)

    @property
    def weights(self) -> torch.Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()])


@pytest.fixture
def run() -> Run:
    return Run(OPTIMIZERS["adamw"])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_restored_run_takes_the_same_steps_bit_for_bit(kind: str, tmp_path: Path) -> None:
    original = Run(OPTIMIZERS[kind])
    for _ in range(3):
        original.step()
    directory = original.save(tmp_path, 3)
    for _ in range(3):
        original.step()

    restored = Run(OPTIMIZERS[kind])
    restored.step()  # An optimizer with a state of its own, which must not shine through.
    restored.restore(directory)
    for _ in range(3):
        restored.step()
    assert torch.equal(restored.weights, original.weights)
    assert restored.scheduler.get_last_lr() == original.scheduler.get_last_lr()


def test_figures_of_the_run_come_back(run: Run, tmp_path: Path) -> None:
    directory = run.save(tmp_path, 1)
    assert checkpoints.read_progress(directory) == Progress(1.25, 2.0, None)


def test_a_checkpoint_holds_no_pickle(run: Run, tmp_path: Path) -> None:
    run.step()
    names = {path.name for path in run.save(tmp_path, 1).iterdir()}
    assert {Path(name).suffix for name in names} == {".json", ".safetensors"}


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda d: (d / "optimizer.safetensors").write_bytes(
        (d / "optimizer.safetensors").read_bytes()[:-1]
    ),
    "zeroed": lambda d: (d / "parameters.safetensors").write_bytes(
        bytes((d / "parameters.safetensors").stat().st_size)
    ),
    "file gone": lambda d: (d / "state.json").unlink(),
    "stray file": lambda d: (d / "optimizer.pt").write_bytes(b"pickle"),
    "no manifest": lambda d: (d / "manifest.json").unlink(),
    "manifest torn": lambda d: (d / "manifest.json").write_text('{"files": {'),
    "empty": lambda d: [path.unlink() for path in d.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_the_previous_one_used(
    run: Run, tmp_path: Path, damage: str
) -> None:
    good, bad = run.save(tmp_path, 1), run.save(tmp_path, 2)
    DAMAGES[damage](bad)
    found, refused = newest_valid([tmp_path], FINGERPRINT)
    assert found == good
    assert [path.name for path, reason in refused] == [bad.name]
    assert not bad.exists()
    assert newest_valid([tmp_path], FINGERPRINT) == (good, [])


def test_a_half_written_checkpoint_is_not_seen(run: Run, tmp_path: Path) -> None:
    good = run.save(tmp_path, 1)
    run.save(tmp_path, 2).rename(tmp_path / "step-00000002.partial")
    assert newest_valid([tmp_path], FINGERPRINT) == (good, [])


def test_the_newest_attempt_comes_before_a_higher_step_of_an_earlier_one(
    run: Run, tmp_path: Path
) -> None:
    # After a fall-back the earlier attempt's later steps belong to a history that was left.
    run.save(tmp_path / "1", 9)
    later = run.save(tmp_path / "2", 5)
    found, _ = newest_valid([tmp_path / "2", tmp_path / "1"], FINGERPRINT)
    assert found == later


def test_a_checkpoint_of_another_run_is_refused_with_the_difference(
    run: Run, tmp_path: Path
) -> None:
    run.save(tmp_path, 1)
    other = {**FINGERPRINT, "versions": {"torch": "2.14.0"}}
    with pytest.raises(CheckpointRejected, match=r"versions: .*2\.13\.0.* there, .*2\.14\.0.*here"):
        newest_valid([tmp_path], other)


def test_parameters_of_another_shape_of_adapter_are_refused(run: Run, tmp_path: Path) -> None:
    directory = run.save(tmp_path, 1)
    with pytest.raises(CheckpointRejected, match="other parameters"):
        checkpoints.restore_parameters(directory, torch.nn.Linear(2, 2))


def test_a_full_disk_lets_older_checkpoints_make_room(run: Run, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        run.save(tmp_path, step)

    def write() -> str:
        # As large as two checkpoints: fits once two of the three are gone.
        if len(list(tmp_path.iterdir())) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return "written"

    assert checkpoints.with_room(tmp_path, write) == "written"
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]


def test_only_the_newest_are_kept(run: Run, tmp_path: Path) -> None:
    for step in (1, 2, 10, 3):
        run.save(tmp_path, step)
    prune(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000010"]
