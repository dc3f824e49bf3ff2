"""Why training stops; `agent.trainer.__main__` maps each to a stop reason."""

from __future__ import annotations

import errno


class NonFinite(Exception):
    """Loss or gradient norm is NaN or infinite, too often in a row; no such step was applied."""

    def __init__(self, name: str, value: float, step: int, in_a_row: int) -> None:
        self.name = name
        times = f", the {in_a_row}. in a row" if in_a_row > 1 else ""
        super().__init__(f"{name} is {value} at step {step}{times}; the step was not applied")


class Terminated(Exception):
    """SIGTERM: the newest snapshot is committed; the message says which."""


class CheckpointWriterDied(Exception):
    """The thread that writes checkpoints has failed or hangs; training on would be at risk."""


class ReplicaLost(Exception):
    """Another replica is gone, so this one cannot go on; nothing is wrong with it."""


class ReplicasDiffer(Exception):
    """The replicas' parameters are no longer equal."""


def is_disk_full(error: OSError) -> bool:
    """True for the errors of a disk, a quota or a file size limit that is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
