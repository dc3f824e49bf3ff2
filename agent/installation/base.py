"""Where everything of ours lies on a machine that was reached through SSH.

BASE/
  install.lock              held while something is installed
  agent/                    the agent's root: see `agent.run_directory`
  code/<hash>.zip           our code as it was sent
  code/<hash>/              ... unpacked, and complete once `.complete` is in it
  current                   symbolic link to the code that runs, for people
  env/<key>/                a virtual environment with the agent's packages, likewise stamped
  trainer-env/<key>/        one with the training stack
  pip/                      pip itself, where the machine's Python brings none
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.installation.report import step
from shared.manifest import sync_directory

STAMP = ".complete"
PINS = {"agent": "agent-pins.txt", "trainer": "trainer-pins.txt"}
"""Files beside the METADATA of our code, in the format of pip's requirements."""


@dataclass(frozen=True, slots=True)
class Base:
    """The directory that holds all the rest."""

    path: Path

    @property
    def root(self) -> Path:
        return self.path / "agent"

    @property
    def trainer_file(self) -> Path:
        return self.root / "trainer.json"

    @property
    def codes(self) -> Path:
        return self.path / "code"

    @property
    def environments(self) -> Path:
        return self.path / "env"

    @property
    def trainer_environments(self) -> Path:
        return self.path / "trainer-env"

    @property
    def pips(self) -> Path:
        return self.path / "pip"

    def code(self, code_hash: str) -> Path:
        return self.codes / code_hash

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Wait for our turn to install; gives the lock's descriptor.

        A child that inherits the descriptor keeps the lock when we are killed, so that no two ever
        write to one environment.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if set(os.listdir(self.path)) <= {self.codes.name, self.pips.name}:
            # Made just now by whatever sent our code; a directory with more in it may be shared.
            self.path.chmod(0o700)
        lock = os.open(self.path / "install.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                step("waiting for another installation on this machine")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock
        finally:
            os.close(lock)

    def unpack(self, code_hash: str) -> Path:
        """The directory of our code, complete."""
        target = self.code(code_hash)
        if is_complete(target):
            return target
        partial = target.with_name(f"{code_hash}.partial")
        for leftover in (partial, target):
            shutil.rmtree(leftover, ignore_errors=True)
        with zipfile.ZipFile(target.with_name(f"{code_hash}.zip")) as archive:
            archive.extractall(partial)
        stamp(partial)
        os.rename(partial, target)
        sync_directory(target.parent)
        return target

    def point_current(self, code: Path) -> None:
        """Let `current` name this code, in one step."""
        link = self.path / "current"
        if link.is_symlink() and os.readlink(link) == f"code/{code.name}":
            return
        fresh = self.path / "current.partial"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(f"code/{code.name}")
        os.replace(fresh, link)


def read_pins(code: Path, what: str) -> str:
    """The pinned packages of the agent or of the trainer, one a line."""
    (metadata,) = code.glob("brightrun-*.dist-info")
    return (metadata / PINS[what]).read_text(encoding="ascii")


def is_complete(directory: Path) -> bool:
    return (directory / STAMP).is_file()


def stamp(directory: Path) -> None:
    """Declare the directory complete, after all else in it."""
    (directory / STAMP).touch()
    sync_directory(directory)
