"""Why training stops; `agent.trainer.__main__` maps each to a stop reason."""

from __future__ import annotations

import errno


class NonFinite(Exception):
    """Loss or gradient norm is NaN or infinite; the step was not applied."""

    def __init__(self, name: str, value: float, step: int) -> None:
        self.name = name
        super().__init__(f"{name} is {value} at step {step}; the step was not applied")


class Terminated(Exception):
    """SIGTERM: the step was finished and a checkpoint committed."""


def is_disk_full(error: OSError) -> bool:
    """True for the errors of a disk, a quota or a file size limit that is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
