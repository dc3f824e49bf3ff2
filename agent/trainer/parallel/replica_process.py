"""What one trainer process of several does differently, before anything is loaded.

Torchrun tells it by its environment (`RANK`, `LOCAL_RANK`); a lone trainer finds nothing there.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
from pathlib import Path

from agent.run_directory import AttemptDirectory, AttemptSpec
from agent.trainer.parallel.replicas import Replicas, keep_one_gpu
from shared.errors import InvalidJobSpec

PARENT = "BRIGHTRUN_REPLICAS_PARENT"
"""The pid of the process that started the replicas of this machine."""

_NAMES_OF_A_JOB = {"job_id", "name", "notes", "tags", "max_restarts"}
"""What may differ between machines that train the same."""

_PR_SET_PDEATHSIG = 1
"""prctl(2)."""


def needs_parent(spec: AttemptSpec) -> bool:
    """True for the process that is to start replicas; false for a replica and a lone trainer."""
    return "RANK" not in os.environ and (spec.job.num_gpus > 1 or spec.nodes is not None)


def prepare() -> None:
    """Live no longer than the parent, and see one GPU only."""
    _die_with_parent()
    keep_one_gpu()


def events_path(directory: AttemptDirectory) -> Path:
    """Where to report: the first of a machine to the agent, the others to a file of their own."""
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if local_rank == 0:
        return directory.trainer_events_path
    return directory.replica_events_path(local_rank)


def require_same_job(replicas: Replicas, spec: AttemptSpec) -> None:
    """Refuse to train where machines were given different jobs.

    Raises:
        InvalidJobSpec: on all of them.
        ReplicaLost: another replica is gone.
    """
    own = spec.job.model_dump(mode="json", exclude=_NAMES_OF_A_JOB)
    first = json.loads(replicas.from_first(json.dumps(own).encode()))
    differing = [key for key in own if own[key] != first.get(key)]
    if replicas.any(bool(differing)):
        which = ", ".join(differing) or "seen on another machine"
        raise InvalidJobSpec(f"the machines were given different jobs: {which}")


def _die_with_parent() -> None:
    """Torchrun starts each replica in a session of its own, where no signal to the attempt's
    process group arrives; so the kernel is asked to kill it when its parent ends."""
    parent = os.environ.pop(PARENT, None)
    if parent is None:
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != int(parent):
        # It ended before the kernel was asked.
        os.kill(os.getpid(), signal.SIGKILL)
