"""Which machine may write under a root that several machines may have mounted.

The start command of a rented machine writes `machine.json` (see `shared.pod_start`), never over a
higher number. An agent whose number is no longer the highest must not write any more. A root
without the file is nobody else's. Standard library only: the installation imports it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from shared.errors import MachineReplaced
from shared.pod_start import MACHINE_FILE, POD_FILE


class MachineMark(NamedTuple):
    """`machine.json`: the machine that may write."""

    rental: int
    """Its number among the machines of the job."""
    run_directory: Path
    """On its tmpfs: the pod's identity, the heartbeat, secrets."""


def read_mark(root: Path) -> MachineMark | None:
    """None on a machine that is not rented, and where the file cannot be read now."""
    try:
        told = json.loads((root / MACHINE_FILE).read_bytes())
        return MachineMark(int(told["rental"]), Path(told["run_directory"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def own_mark(root: Path) -> MachineMark | None:
    """As `read_mark`, for an agent that begins.

    Raises:
        MachineReplaced: the mark is another machine's.
    """
    mark = read_mark(root)
    if mark is not None and _rental_here(mark.run_directory) != mark.rental:
        raise MachineReplaced(
            f"{root} belongs to machine {mark.rental} of the job, and this is another one: "
            f"{mark.run_directory / POD_FILE} is not here, or is of another number."
        )
    return mark


class Fence:
    """Asked before every write; once another machine has taken over, it says so for ever."""

    def __init__(self, root: Path, mark: MachineMark | None) -> None:
        self._root = root
        self._successor: int | None = None
        self.mark = mark

    @property
    def rental(self) -> int:
        """This machine's number; 0 where it is not rented."""
        return 0 if self.mark is None else self.mark.rental

    def check(self) -> None:
        """Blocks for as long as reading a small file takes.

        Raises:
            MachineReplaced: a later machine has taken over.
        """
        if self.mark is None:
            return
        if self._successor is None:
            now = read_mark(self._root)
            if now is None or now.rental <= self.mark.rental:
                return
            self._successor = now.rental
        raise MachineReplaced(
            f"{self._root}: machine {self._successor} of the job has taken over from machine "
            f"{self.mark.rental}, which writes nothing any more."
        )


def _rental_here(run_directory: Path) -> int | None:
    try:
        return int(json.loads((run_directory / POD_FILE).read_bytes())["rental"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
