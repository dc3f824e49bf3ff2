"""The parent of several replicas: starts one trainer process a GPU, and ends as they ended.

It stands on torchrun's own launcher: rendezvous, ranks and watching over the processes are
torchrun's. A replica that ends badly ends the others. None is started again here: the next attempt
does that, as for one process; so there is one count of restarts, a step is reported once an
attempt, and what is bound to fail again is not tried again.

Unverified on hardware: more than one GPU. Sharding one model over several GPUs (FSDP) is not built:
every replica needs a GPU that holds all of the model.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import torch
from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, launch_agent

from agent.process import catches_signal, family_of, identify, send_signal
from agent.run_directory import AttemptDirectory, AttemptSpec
from agent.trainer.event_writer import EventWriter
from agent.trainer.exit_codes import EXIT_REPORTED, EXIT_TERMINATED
from agent.trainer.parallel.replica_process import PARENT
from shared.errors import InvalidJobSpec, ProtocolError
from shared.events import TrainerFinished, decode_trainer_record
from shared.lifecycle import StopReason

MEETING_TIMEOUT_S = 900
"""How long one machine waits for the other; both may be at the end of an earlier attempt."""


_EXIT_CODES = (EXIT_REPORTED, EXIT_TERMINATED)

TRAINER = (sys.executable, "-P", "-m", "agent.trainer")
"""The attempt's directory is added as the last argument."""


def launch(directory: AttemptDirectory, spec: AttemptSpec, trainer: Sequence[str] = TRAINER) -> int:
    """Run the replicas of this machine to their end; returns the exit code that says how.

    Where a signal ended one of them, the same signal ends this process, for its parent to see.

    Raises:
        InvalidJobSpec: there is not one GPU for each.
    """
    _require_gpus(spec.job.num_gpus)
    os.environ[PARENT] = str(os.getpid())
    threads = max(1, (os.cpu_count() or 1) // spec.job.num_gpus)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    # A request for a checkpoint; for SIGTERM torchrun has its own handler.
    signal.signal(signal.SIGUSR1, _forward)
    try:
        with tempfile.TemporaryDirectory(prefix="brightrun-replicas-") as logs:
            program, *arguments = *trainer, str(directory.path)
            launch_agent(_launch_config(spec, Path(logs)), program, arguments)
    except ChildFailedError as error:
        return _conclude(directory, list(error.failures.values()))
    except SignalException:
        return EXIT_TERMINATED
    except (RendezvousError, DistError) as error:
        _report(directory, StopReason.TRAINER_LOST, f"the machines did not meet: {error}")
        return EXIT_TERMINATED
    return 0


def _require_gpus(count: int) -> None:
    found = torch.cuda.device_count()
    if torch.cuda.is_available() and found < count:
        raise InvalidJobSpec(
            f"num_gpus = {count}: the trainer sees {found} here, and each replica needs its own"
        )


def _launch_config(spec: AttemptSpec, logs: Path) -> LaunchConfig:
    """Torchrun's arguments: those of `--standalone`, or a static rendezvous of several machines."""
    nodes = spec.nodes
    count = 1 if nodes is None else nodes.count
    return LaunchConfig(
        min_nodes=count,
        max_nodes=count,
        nproc_per_node=spec.job.num_gpus,
        run_id="brightrun",
        rdzv_backend="c10d" if nodes is None else "static",
        rdzv_endpoint="localhost:0" if nodes is None else nodes.rdzv_endpoint,
        rdzv_configs={"timeout": MEETING_TIMEOUT_S, "rank": 0 if nodes is None else nodes.rank},
        local_addr="localhost" if nodes is None else None,
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=str(logs)),
    )


def _conclude(directory: AttemptDirectory, failures: Sequence[ProcessFailure]) -> int:
    """Report what ended the replicas, unless the first one has; returns the exit code for it.

    Torchrun ends the others with SIGTERM, at which the first may say that it was stopped.
    """
    codes = {failure.local_rank: failure.exitcode for failure in failures}
    reported = [rank for rank, code in codes.items() if code == EXIT_REPORTED]
    crashed = [rank for rank, code in codes.items() if code > 0 and code not in _EXIT_CODES]
    signals = {-code for code in codes.values() if code < 0} - {signal.SIGTERM}
    if reported:
        _pass_on_reason(directory, min(reported))
        return EXIT_REPORTED
    if crashed:
        return _report_crash(directory, min(crashed), codes[min(crashed)])
    for number in signals:
        _end_by(number)
    if _last_word(directory.trainer_events_path) is None:
        _report(directory, StopReason.TRAINER_LOST, "another machine's replicas were lost")
    return EXIT_TERMINATED


def _pass_on_reason(directory: AttemptDirectory, local_rank: int) -> None:
    if local_rank == 0:
        return
    finished = _last_word(directory.replica_events_path(local_rank))
    if finished is not None:
        _report(directory, finished.stop_reason, f"replica {local_rank}: {finished.detail}")


def _report_crash(directory: AttemptDirectory, local_rank: int, code: int) -> int:
    if local_rank != 0:
        what = f"replica {local_rank} ended with exit code {code}; its traceback is in the log"
        _report(directory, StopReason.TRAINER_CRASHED, what)
    return code


def _end_by(number: int) -> None:
    """Die of the same signal, as the trainer would have: the shim records it."""
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _last_word(path: Path) -> TrainerFinished | None:
    try:
        lines = path.read_bytes().splitlines()
        event = decode_trainer_record(lines[-1]).event if lines else None
    except (FileNotFoundError, ProtocolError):
        return None
    return event if isinstance(event, TrainerFinished) else None


def _report(directory: AttemptDirectory, reason: StopReason, detail: str) -> None:
    writer = EventWriter(directory.trainer_events_path)
    writer.write(TrainerFinished(stop_reason=reason, detail=detail))
    writer.sync()


def _forward(number: int, frame: FrameType | None) -> None:
    """Hand a request on to every replica that listens to it by now; it would kill the others."""
    own = identify(os.getpid())
    assert own is not None
    for member in family_of(own):
        if member.pid != own.pid and catches_signal(member.pid, number):
            send_signal(member, number)
