"""Checkpoints give back exactly what went in, and a bad one is never used."""

from __future__ import annotations

import errno
import itertools
import json
import os
import pickle
import random
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes
import numpy
import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from agent.run_directory import AgentRoot
from agent.trainer.checkpointing import checkpoints, restore
from agent.trainer.checkpointing.checkpoints import newest_valid, prune, save
from agent.trainer.checkpointing.snapshot import Progress, Snapshot, SnapshotTaker
from shared import manifest
from shared.errors import CheckpointRejected
from shared.job_spec import CheckpointReference
from shared.manifest import manifest_sha256

FACTS = {"fingerprint": {"dataset_sha256": "a" * 64, "versions": {"torch": "2.13.0"}}}

MakeOptimizer = Callable[[torch.nn.Module], torch.optim.Optimizer]
OPTIMIZERS: dict[str, MakeOptimizer] = {
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-2),
    "adamw_8bit": lambda model: bitsandbytes.optim.AdamW8bit(model.parameters(), lr=1e-2),
}


class Run:
    """A model, its optimizer and its schedule, with steps that use random numbers."""

    def __init__(self, make_optimizer: MakeOptimizer) -> None:
        torch.manual_seed(1)
        self.taker = SnapshotTaker()
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

    def snapshot(self, step: int) -> Snapshot:
        return self.taker.take(
            step,
            model=self.model,
            optimizer=self.optimizer,
            scheduler=self.scheduler,
            progress=Progress(1.25, 2.0, None, {"memory": {"floor": 3}}),
            trainer_state={"global_step": step},
        )

    def save(self, folder: Path, step: int) -> Path:
        snapshot = self.snapshot(step)
        directory = save(folder, snapshot, FACTS)
        self.taker.give_back(snapshot)
        return directory

    def restore(self, directory: Path) -> bool:
        restore.restore_parameters(directory, self.model)
        is_same_kind = restore.restore_optimizer(directory, self.optimizer, self.scheduler)
        restore.restore_generators(directory)
        return is_same_kind

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
    assert restore.read_progress(directory) == Progress(1.25, 2.0, None, {"memory": {"floor": 3}})


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
    found, refused = newest_valid([tmp_path])
    assert found == good
    assert [path.name for path, reason in refused] == [bad.name]
    assert not bad.exists()
    assert newest_valid([tmp_path]) == (good, [])


def test_a_half_written_checkpoint_is_not_seen(run: Run, tmp_path: Path) -> None:
    good = run.save(tmp_path, 1)
    run.save(tmp_path, 2).rename(tmp_path / "step-00000002.partial")
    assert newest_valid([tmp_path]) == (good, [])


def test_the_newest_attempt_comes_before_a_higher_step_of_an_earlier_one(
    run: Run, tmp_path: Path
) -> None:
    # After a fall-back the earlier attempt's later steps belong to a history that was left.
    run.save(tmp_path / "1", 9)
    later = run.save(tmp_path / "2", 5)
    found, _ = newest_valid([tmp_path / "2", tmp_path / "1"])
    assert found == later


def test_parameters_of_another_shape_of_adapter_are_refused(run: Run, tmp_path: Path) -> None:
    directory = run.save(tmp_path, 1)
    with pytest.raises(CheckpointRejected, match="other parameters"):
        restore.restore_parameters(directory, torch.nn.Linear(2, 2))


def test_a_full_disk_lets_older_checkpoints_make_room(run: Run, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        run.save(tmp_path, step)

    def write() -> str:
        # As large as two checkpoints: fits once two of the three are gone.
        if len(list(tmp_path.iterdir())) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return "written"

    assert checkpoints.with_room([tmp_path], write) == "written"
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]


def test_only_the_newest_are_kept(run: Run, tmp_path: Path) -> None:
    for step in (1, 2, 10, 3):
        run.save(tmp_path, step)
    prune([tmp_path], keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000010"]


# --- damage, file by file -----------------------------------------------------------------------

FILES = (
    "parameters.safetensors",
    "optimizer.safetensors",
    "generators.safetensors",
    "state.json",
    "trainer_state.json",
    "manifest.json",
)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def zero_the_tail(path: Path) -> None:
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2] + bytes(size - size // 2))


FILE_DAMAGES: dict[str, Callable[[Path], object]] = {
    "bit flip": flip_a_bit,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "zero-filled tail": zero_the_tail,
    "empty": lambda path: path.write_bytes(b""),
    "missing": Path.unlink,
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", FILE_DAMAGES)
def test_damage_to_any_file_sends_the_run_to_the_previous_checkpoint(
    run: Run, tmp_path: Path, name: str, damage: str
) -> None:
    run.step()
    good, bad = run.save(tmp_path, 1), run.save(tmp_path, 2)
    FILE_DAMAGES[damage](bad / name)
    found, refused = newest_valid([tmp_path])
    assert found == good
    ((aside, reason),) = refused
    assert aside == tmp_path / "refused" / bad.name
    note = json.loads((tmp_path / "refused" / f"{bad.name}.json").read_text())
    assert note["reason"] == reason != ""


# --- kills -------------------------------------------------------------------------------------


def killed_child(work: Callable[[], object]) -> None:
    """Run `work` in a child of this process, in which the kernel or the work itself kills it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "the child was to be killed"


def save_until_bytes(folder: Path, snapshot: Snapshot, limit_bytes: int) -> None:
    """Save; the kernel kills the process at the first write beyond this offset of a file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    save(folder, snapshot, FACTS)


def save_until_call(folder: Path, snapshot: Snapshot, last: int) -> None:
    """Save; SIGKILL right before the call number `last` that syncs or renames something."""
    calls = itertools.count(1)

    def counted(honest: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if next(calls) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return honest(*args)

        return call

    os.fsync, os.rename = counted(os.fsync), counted(os.rename)
    save(folder, snapshot, FACTS)


CALLS_OF_A_COMMIT = 9
"""Five files, the manifest and the directory are synced; a rename; the folder is synced."""


def the_step_before_is_used_or_the_whole_new_one(run: Run, folder: Path, good: Path) -> None:
    cleared = checkpoints.clear_leftovers([folder])
    found, refused = newest_valid([folder])
    assert refused == []
    assert found is not None
    if found == good:
        assert [path.name for path in cleared] == ["step-00000002.partial"]
    else:
        assert found.name == "step-00000002"
    assert sorted({entry.name for entry in folder.iterdir()} - {found.name}) in ([], [good.name])
    run.restore(found)


@pytest.mark.parametrize("limit_bytes", [0, 1, 8, 100, 500, 4_000, 9_000, 20_000, 37_000, 60_000])
def test_a_kill_after_so_many_bytes_leaves_the_previous_checkpoint(
    run: Run, tmp_path: Path, limit_bytes: int
) -> None:
    run.step()
    good, snapshot = run.save(tmp_path, 1), run.snapshot(2)
    killed_child(lambda: save_until_bytes(tmp_path, snapshot, limit_bytes))
    assert (tmp_path / "step-00000002.partial").exists()
    the_step_before_is_used_or_the_whole_new_one(run, tmp_path, good)


@pytest.mark.parametrize("last", range(1, CALLS_OF_A_COMMIT + 1))
def test_a_kill_before_any_sync_or_rename_leaves_a_whole_checkpoint(
    run: Run, tmp_path: Path, last: int
) -> None:
    good, snapshot = run.save(tmp_path, 1), run.snapshot(2)
    killed_child(lambda: save_until_call(tmp_path, snapshot, last))
    the_step_before_is_used_or_the_whole_new_one(run, tmp_path, good)


def test_a_kill_between_the_renames_of_a_second_commit_brings_the_first_one_back(
    run: Run, tmp_path: Path
) -> None:
    directory = run.save(tmp_path, 4)
    directory.rename(tmp_path / "step-00000004.replaced")
    assert checkpoints.clear_leftovers([tmp_path]) == []
    assert newest_valid([tmp_path]) == (directory, [])


def test_what_a_kill_left_half_removed_is_cleared(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "3" / "checkpoints"
    good = run.save(folder, 4)
    shutil.copytree(good, folder / "step-00000002.removing")
    shutil.copytree(good, folder / "step-00000004.replaced")
    (folder / "notes.partial").mkdir()
    assert checkpoints.clear_leftovers([folder, tmp_path / "nowhere"]) == [
        folder / "step-00000002.removing",
        folder / "step-00000004.replaced",
    ]
    assert sorted(entry.name for entry in folder.iterdir()) == ["notes.partial", good.name]


# --- room --------------------------------------------------------------------------------------


def test_checkpoints_are_counted_over_all_attempts(run: Run, tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for step in (1, 2, 3):
        run.save(first, step)
    run.save(second, 2)
    prune([second, first], keep=2)
    assert [entry.name for entry in second.iterdir()] == ["step-00000002"]
    assert [entry.name for entry in first.iterdir()] == ["step-00000003"]


def test_a_full_disk_takes_refused_checkpoints_first_and_keeps_the_reason(
    run: Run, tmp_path: Path
) -> None:
    good, bad = run.save(tmp_path, 1), run.save(tmp_path, 2)
    (bad / "state.json").unlink()
    newest_valid([tmp_path])
    checkpoints.make_room([tmp_path])
    assert good.exists()
    assert [path.name for path in (tmp_path / "refused").iterdir()] == ["step-00000002.json"]


# --- a checkpoint of another job ------------------------------------------------------------------


def reference_to(directory: Path, job_id: str = "another-job") -> CheckpointReference:
    step = int(directory.name.removeprefix("step-"))
    return CheckpointReference(job_id=job_id, step=step, manifest_sha256=manifest_sha256(directory))


def checkpoints_of_another_job(root: Path, attempt: int = 1) -> Path:
    return AgentRoot(root).job("another-job").attempt(attempt).checkpoints_path


def test_a_checkpoint_of_another_job_is_found_by_its_manifest(run: Run, tmp_path: Path) -> None:
    first = run.save(checkpoints_of_another_job(tmp_path), 3)
    run.step()
    run.save(checkpoints_of_another_job(tmp_path, attempt=2), 3)
    assert checkpoints.find_referenced(AgentRoot(tmp_path), reference_to(first)) == first


def test_a_checkpoint_of_another_job_that_is_damaged_is_refused_and_left_there(
    run: Run, tmp_path: Path
) -> None:
    directory = run.save(checkpoints_of_another_job(tmp_path), 3)
    reference = reference_to(directory)
    flip_a_bit(directory / "optimizer.safetensors")
    with pytest.raises(CheckpointRejected, match=r"step 3 of job another-job is damaged: .*sha256"):
        checkpoints.find_referenced(AgentRoot(tmp_path), reference)
    assert directory.exists()


def test_a_checkpoint_of_another_job_that_is_not_here_is_named(run: Run, tmp_path: Path) -> None:
    directory = run.save(checkpoints_of_another_job(tmp_path), 3)
    reference = reference_to(directory)
    for other in (reference.model_copy(update={"step": 4}), reference_to(directory, "no-such-job")):
        with pytest.raises(CheckpointRejected, match="is not on this host"):
            checkpoints.find_referenced(AgentRoot(tmp_path), other)


# --- what a resumed run takes over, and what not --------------------------------------------------


def test_the_learning_rate_of_the_resumed_run_holds(run: Run, tmp_path: Path) -> None:
    for _ in range(3):
        run.step()
    directory = run.save(tmp_path, 3)
    changed = Run(lambda model: torch.optim.AdamW(model.parameters(), lr=5e-4))
    changed.restore(directory)
    assert changed.scheduler.get_last_lr() == [pytest.approx(5e-4 * 0.9**3)]
    assert changed.optimizer.param_groups[0]["lr"] == pytest.approx(5e-4 * 0.9**3)


def test_another_optimizer_begins_without_a_state(tmp_path: Path) -> None:
    original = Run(OPTIMIZERS["adamw"])
    original.step()
    directory = original.save(tmp_path, 1)
    other = Run(OPTIMIZERS["adamw_8bit"])
    assert not other.restore(directory)
    assert other.scheduler.last_epoch == 1
    other.step()


def test_parameters_of_another_rank_are_refused_with_both_shapes(run: Run, tmp_path: Path) -> None:
    directory = run.save(tmp_path, 1)
    wider = torch.nn.Sequential(torch.nn.Linear(96, 96), torch.nn.Linear(96, 1))
    wider[1].weight.requires_grad_(False)
    with pytest.raises(CheckpointRejected, match=r"1\.bias is \(4,\) there, \(1,\) here"):
        restore.restore_parameters(directory, wider)


class ShortOfMemory(torch.optim.AdamW):
    """Runs out of memory the first times that its state is loaded, as a tight GPU does."""

    failures = 0

    def load_state_dict(self, state_dict: Any) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 400.00 MiB")
        super().load_state_dict(state_dict)


def short_of_memory(failures: int) -> Run:
    run = Run(lambda model: ShortOfMemory(model.parameters(), lr=1e-2))
    run.optimizer.failures = failures  # type: ignore[attr-defined]
    return run


def test_out_of_memory_while_the_optimizer_is_restored_is_tried_again(tmp_path: Path) -> None:
    original = short_of_memory(0)
    original.step()
    directory = original.save(tmp_path, 1)
    original.step()
    restored = short_of_memory(1)
    assert restored.restore(directory)
    restored.step()
    assert torch.equal(restored.weights, original.weights)


def test_a_state_that_does_not_fit_is_named_with_its_size(tmp_path: Path) -> None:
    original = short_of_memory(0)
    original.step()
    directory = original.save(tmp_path, 1)
    with pytest.raises(torch.OutOfMemoryError, match=r"state \(0 MB\) does not fit .*400\.00 MiB"):
        short_of_memory(2).restore(directory)


# --- nothing is unpickled -------------------------------------------------------------------------


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.write_text, (self.canary, "ran"))


PICKLES = (
    "optimizer.pt",
    "scheduler.pt",
    "training_args.bin",
    "adapter_model.bin",
    "pytorch_model.bin",
    "rng_state.pth",
)


def plant_pickles(directory: Path, canary: Path) -> None:
    for name in PICKLES:
        (directory / name).write_bytes(pickle.dumps(Payload(canary)))


def forge_manifest(directory: Path) -> None:
    """A manifest that vouches for everything in the directory."""
    stated = json.loads((directory / "manifest.json").read_text())
    for path in directory.iterdir():
        if path.name != "manifest.json":
            digest, size = manifest.file_sha256(path), path.stat().st_size
            stated["files"][path.name] = {"sha256": digest, "size_bytes": size}
    (directory / "manifest.json").write_text(json.dumps(stated))


def test_pickles_beside_a_checkpoint_make_it_refused(run: Run, tmp_path: Path) -> None:
    good, bad = run.save(tmp_path, 1), run.save(tmp_path, 2)
    canary = tmp_path / "canary"
    plant_pickles(bad, canary)
    found, refused = newest_valid([tmp_path])
    assert found == good
    assert "optimizer.pt" in refused[0][1]
    assert not canary.exists()


def test_pickles_that_a_forged_manifest_vouches_for_are_never_loaded(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = run.save(tmp_path, 2)
    canary = tmp_path / "canary"
    plant_pickles(directory, canary)
    forge_manifest(directory)

    def unpickle(*args: object, **kwargs: object) -> None:
        raise AssertionError("something was unpickled")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads")):
        monkeypatch.setattr(module, name, unpickle)
    assert newest_valid([tmp_path]) == (directory, [])
    assert run.restore(directory)
    restore.read_progress(directory)
    assert not canary.exists()
    pickle_is_armed = (directory / "optimizer.pt").read_bytes()
    monkeypatch.undo()
    pickle.loads(pickle_is_armed)
    assert canary.exists()
