"""The newest snapshot is written beside the training, and a dead writer is an error, not a hang."""

from __future__ import annotations

import threading

import pytest
import torch

from agent.trainer.checkpointing.checkpoint_writer import CheckpointWriter
from agent.trainer.checkpointing.snapshot import Snapshot
from agent.trainer.failures import CheckpointWriterDied


def snapshot(step: int) -> Snapshot:
    return Snapshot(step, {"weight": torch.zeros(4)}, {}, {}, {}, {})


class Disk:
    """Writes at the test's pace."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self.given_back: list[int] = []
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def commit(self, item: Snapshot) -> None:
        self.begun.set()
        assert self.may_end.wait(30)
        self.written.append(item.step)

    def give_back(self, item: Snapshot) -> None:
        self.given_back.append(item.step)


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_a_newer_snapshot_replaces_one_that_waits_and_not_the_one_that_is_being_written(
    disk: Disk,
) -> None:
    with CheckpointWriter(disk.commit, disk.give_back) as writer:
        writer.submit(snapshot(1), is_due=True)
        assert disk.begun.wait(30)
        for step in (2, 3, 4):
            writer.submit(snapshot(step), is_due=True)
        disk.may_end.set()
    assert disk.written == [1, 4]
    assert disk.given_back == [2, 3, 1, 4]


def test_a_snapshot_that_is_promised_is_not_replaced(disk: Disk) -> None:
    disk.may_end.set()
    with CheckpointWriter(disk.commit, disk.give_back) as writer:
        for step in range(1, 20):
            writer.submit(snapshot(step), is_due=True, replaces_due=False)
    assert disk.written == list(range(1, 20))


def test_waiting_for_the_disk_is_counted_as_a_stall(disk: Disk) -> None:
    with CheckpointWriter(disk.commit, disk.give_back) as writer:
        writer.submit(snapshot(1), is_due=True)
        assert disk.begun.wait(30)
        writer.submit(snapshot(2), is_due=True, replaces_due=False)
        threading.Timer(0.2, disk.may_end.set).start()
        third = snapshot(3)
        writer.submit(third, is_due=True, replaces_due=False)
    assert third.stall_s >= 0.15
    assert disk.written == [1, 2, 3]


def test_a_snapshot_that_is_only_kept_is_written_when_the_run_ends(disk: Disk) -> None:
    disk.may_end.set()
    with CheckpointWriter(disk.commit, disk.give_back) as writer:
        writer.submit(snapshot(1), is_due=False)
        writer.submit(snapshot(2), is_due=False)
        assert not disk.begun.is_set()
    assert disk.written == [2]


def test_the_newest_snapshot_is_written_before_an_error_goes_on_its_way(disk: Disk) -> None:
    disk.may_end.set()
    writer = CheckpointWriter(disk.commit, disk.give_back)
    with pytest.raises(ZeroDivisionError), writer:
        writer.submit(snapshot(1), is_due=False)
        raise ZeroDivisionError
    assert disk.written == [1]


def test_a_flush_has_the_kept_snapshot_written_at_once_from_any_thread(disk: Disk) -> None:
    disk.may_end.set()
    with CheckpointWriter(disk.commit, disk.give_back) as writer:
        writer.submit(snapshot(7), is_due=False)
        flushed: list[bool] = []
        thread = threading.Thread(target=lambda: flushed.append(writer.flush(10)))
        thread.start()
        thread.join(10)
        assert flushed == [True]
        assert disk.written == [7]


def test_a_flush_ends_in_time_though_the_disk_hangs(disk: Disk) -> None:
    with CheckpointWriter(disk.commit, disk.give_back) as writer:
        writer.submit(snapshot(1), is_due=True)
        assert disk.begun.wait(30)
        assert not writer.flush(0.1)
        disk.may_end.set()


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), SystemExit(1)])
def test_a_writer_that_died_is_an_error_at_the_next_step(error: BaseException, disk: Disk) -> None:
    def fail(item: Snapshot) -> None:
        raise error

    writer = CheckpointWriter(fail, disk.give_back)
    with pytest.raises(CheckpointWriterDied) as caught, writer:
        writer.submit(snapshot(1), is_due=True)
        writer.flush(10)
        writer.submit(snapshot(2), is_due=True, replaces_due=False)
    assert caught.value.__cause__ is error
    assert repr(error) in str(caught.value)


def test_a_writer_that_died_with_the_last_checkpoint_is_an_error_at_the_end(disk: Disk) -> None:
    def fail(item: Snapshot) -> None:
        raise OSError(5, "Input/output error")

    writer = CheckpointWriter(fail, disk.give_back)
    with pytest.raises(CheckpointWriterDied, match="Input/output error"), writer:
        writer.submit(snapshot(1), is_due=True)


def test_a_disk_that_hangs_is_an_error_after_the_longest_wait(disk: Disk) -> None:
    writer = CheckpointWriter(disk.commit, disk.give_back, wait_limit_s=0.2)
    with pytest.raises(CheckpointWriterDied, match="not written within"), writer:
        writer.submit(snapshot(1), is_due=True)
        assert disk.begun.wait(30)
        writer.submit(snapshot(2), is_due=True, replaces_due=False)
        writer.submit(snapshot(3), is_due=True, replaces_due=False)
    disk.may_end.set()
