"""The trainer process: `python -P -m agent.trainer ATTEMPT_DIRECTORY [--verify]`.

Trains, then replaces itself by a fresh interpreter that loads the adapter from its files and
generates with it: the process id stays, the memory is given back. It reads `attempt.json` and
reports to `trainer.jsonl`; it knows nothing of agents, sockets or consoles.

Exit codes: 0 finished; 3 stopped for a reason that the last event names; 75 terminated by SIGTERM
after a checkpoint; anything else is a crash, with its traceback in the log.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from agent.run_directory import AttemptDirectory
from agent.trainer.event_writer import EventWriter
from agent.trainer.failures import NonFinite, Terminated, is_disk_full
from shared import errors, events
from shared.lifecycle import StopReason

EXIT_REPORTED = 3
EXIT_TERMINATED = 75

REASONS: tuple[tuple[type[Exception], StopReason], ...] = (
    (errors.DatasetChanged, StopReason.DATASET_CHANGED),
    (errors.InvalidDataset, StopReason.INVALID_DATASET),
    (errors.UnsupportedChatTemplate, StopReason.INVALID_BASE_MODEL),
    (errors.InvalidBaseModel, StopReason.INVALID_BASE_MODEL),
    (errors.CheckpointRejected, StopReason.CHECKPOINT_MISMATCH),
    (errors.IntegrityError, StopReason.ADAPTER_REJECTED),
    (NonFinite, StopReason.NON_FINITE),
    (torch.OutOfMemoryError, StopReason.OUT_OF_MEMORY),
    (Terminated, StopReason.TRAINER_KILLED),
)
"""The first type that fits names the reason; any other exception is a crash."""


def main(arguments: list[str]) -> int:
    """Run one phase of the attempt; returns the exit code."""
    directory = AttemptDirectory(Path(arguments[0]).resolve())
    writer = EventWriter(directory.trainer_events_path)
    try:
        if "--verify" in arguments:
            reason, detail = verify(directory, writer), ""
        else:
            reason, detail = train(directory, writer), ""
    except Exception as error:
        # A path may hold bytes that are not text; the reason must get through all the same.
        reason, detail = reason_for(error), str(error).encode(errors="replace").decode()
    writer.write(events.TrainerFinished(stop_reason=reason, detail=detail))
    writer.sync()
    return exit_code(reason)


def train(directory: AttemptDirectory, writer: EventWriter) -> StopReason:
    """Train; after a committed adapter this process becomes the verifier and does not return."""
    # Imported here: the verifier has no need of TRL, which takes seconds.
    from agent.trainer.train import train

    stop = train(directory, writer)
    if stop is not None:
        return stop
    sys.stdout.flush()
    sys.stderr.flush()
    # A handler does not outlive exec, an ignored signal does: nobody can save a checkpoint there.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    command = [sys.executable, "-P", "-m", "agent.trainer", str(directory.path), "--verify"]
    os.execv(sys.executable, command)


def verify(directory: AttemptDirectory, writer: EventWriter) -> StopReason:
    """Prove that the adapter on the disk loads and generates."""
    from agent.trainer.verify import verify_adapter

    verify_adapter(directory, writer)
    return StopReason.COMPLETED


def reason_for(error: Exception) -> StopReason:
    """The stop reason of an expected error; an unexpected one is raised again."""
    for kind, reason in REASONS:
        if isinstance(error, kind):
            return reason
    if isinstance(error, OSError) and is_disk_full(error):
        return StopReason.DISK_FULL
    raise error


def exit_code(reason: StopReason) -> int:
    """What the supervisor reads together with the last event."""
    if reason in (StopReason.COMPLETED, StopReason.DRY_RUN_PASSED):
        return 0
    return EXIT_TERMINATED if reason is StopReason.TRAINER_KILLED else EXIT_REPORTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
