"""The trainer process: `python -P -m agent.trainer ATTEMPT_DIRECTORY [--verify]`.

For a job of several replicas it starts one such process a GPU and stays their parent; see
`agent.trainer.parallel.launch_replicas`.

Trains, then replaces itself by a fresh interpreter that loads the adapter from its files and
generates with it: the process id stays, the memory is given back. It reads `attempt.json` and
reports to `trainer.jsonl`; it knows nothing of agents, sockets or consoles.

Exit codes: 0 finished; 3 stopped for a reason that the last event names; 75 terminated by SIGTERM
after a checkpoint, or another replica was lost; anything else is a crash, with its traceback in the
log.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from pathlib import Path

import torch

from agent.run_directory import AttemptDirectory, AttemptSpec
from agent.trainer.event_writer import EventWriter
from agent.trainer.exit_codes import EXIT_REPORTED, EXIT_TERMINATED
from agent.trainer.failures import NonFinite, ReplicaLost, Terminated, is_disk_full
from agent.trainer.parallel import replica_process
from agent.trainer.parallel.replicas import Replicas
from shared import errors, events
from shared.lifecycle import STOP_REASONS, JobStatus, StopReason

REASONS: tuple[tuple[type[Exception], StopReason], ...] = (
    (errors.DatasetChanged, StopReason.DATASET_CHANGED),
    (errors.InvalidDataset, StopReason.INVALID_DATASET),
    (errors.UnsupportedChatTemplate, StopReason.INVALID_BASE_MODEL),
    (errors.InvalidBaseModel, StopReason.INVALID_BASE_MODEL),
    (errors.InvalidJobSpec, StopReason.INVALID_JOB_SPEC),
    (errors.CheckpointRejected, StopReason.CHECKPOINT_MISMATCH),
    (errors.IntegrityError, StopReason.ADAPTER_REJECTED),
    (errors.DownloadFailed, StopReason.DOWNLOAD_FAILED),
    (errors.NotEnoughDisk, StopReason.DISK_FULL),
    (NonFinite, StopReason.NON_FINITE),
    (torch.OutOfMemoryError, StopReason.OUT_OF_MEMORY),
    (Terminated, StopReason.TRAINER_KILLED),
)
"""The first type that fits names the reason; any other exception is a crash."""


def main(arguments: list[str]) -> int:
    """Run one phase of the attempt; returns the exit code."""
    directory = AttemptDirectory(Path(arguments[0]).resolve())
    is_verifier = "--verify" in arguments
    if not is_verifier:
        spec = directory.read_spec()
        if replica_process.needs_parent(spec):
            return start_replicas(directory, spec)
        replica_process.prepare()
    writer = EventWriter(replica_process.events_path(directory))
    try:
        if is_verifier:
            reason, detail = verify(directory, writer), ""
        else:
            reason, detail = train(directory, writer), ""
    except ReplicaLost as error:
        # Why the other one is gone is its own to say, or its parent's.
        print(error, file=sys.stderr, flush=True)
        return EXIT_TERMINATED
    except Exception as error:
        # A path may hold bytes that are not text; the reason must get through all the same.
        reason, detail = reason_for(error), str(error).encode(errors="replace").decode()
    writer.write(events.TrainerFinished(stop_reason=reason, detail=detail))
    writer.sync()
    return exit_code(reason)


def start_replicas(directory: AttemptDirectory, spec: AttemptSpec) -> int:
    """Be the parent of the replicas; returns the exit code."""
    # Imported here: a lone trainer has no need of torchrun.
    from agent.trainer.parallel import launch_replicas

    try:
        return launch_replicas.launch(directory, spec)
    except errors.InvalidJobSpec as error:
        reason = reason_for(error)
        writer = EventWriter(directory.trainer_events_path)
        writer.write(events.TrainerFinished(stop_reason=reason, detail=str(error)))
        writer.sync()
        return exit_code(reason)


def train(directory: AttemptDirectory, writer: EventWriter) -> StopReason:
    """Train; after a committed adapter this process becomes the verifier and does not return."""
    replicas = Replicas.join()
    # Imported here: the verifier has no need of TRL, which takes seconds.
    from agent.trainer.train import train

    stop = train(directory, writer, replicas)
    replicas.leave()
    if stop is None and not replicas.is_first:
        return StopReason.REPLICAS_FINISHED
    if stop is not None:
        return stop
    sys.stdout.flush()
    sys.stderr.flush()
    # A handler does not outlive exec, an ignored signal does: nobody can save a checkpoint there.
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    command = [sys.executable, "-P", "-m", "agent.trainer", str(directory.path), "--verify"]
    os.execv(sys.executable, command)


def verify(directory: AttemptDirectory, writer: EventWriter) -> StopReason:
    """Prove that the adapter on the disk loads and generates."""
    from agent.trainer.adapters.verify import verify_adapter

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
    if STOP_REASONS[reason].status is JobStatus.COMPLETED:
        return 0
    return EXIT_TERMINATED if reason is StopReason.TRAINER_KILLED else EXIT_REPORTED


def show_stacks() -> None:
    """From here on SIGUSR2 and a crash of native code write the stacks of all threads to the log.

    Written in C: it works while another thread holds the interpreter's lock.
    """
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR2, all_threads=True)


if __name__ == "__main__":
    show_stacks()
    ending = main(sys.argv[1:])
    if ending == EXIT_TERMINATED:
        # There is little time, and torch's own end would wait for replicas that are gone.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ending)
    sys.exit(ending)
