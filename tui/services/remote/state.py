"""What a look at a machine can find; values only."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from shared.clean_text import clean_line
from shared.pod_start import PREBUILT

OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """An agent whose process lives and whose socket is there."""

    socket: str
    token: str = field(repr=False)
    pid: int
    start_time: int
    version: str
    protocol: int
    code: str = ""
    """Directory of its code; empty if it does not say."""
    python: str = ""
    is_current: bool = True
    """False if another version should take its place once it has nothing to do."""

    @property
    def relay_command(self) -> str:
        """A shell command that carries stdin and stdout to and from the agent's socket."""
        command = [self.python or "python3", "-P", "-m", "agent.relay", self.socket]
        return shlex.join(["exec", "env", f"PYTHONPATH={self.code}", *command])


@dataclass(frozen=True, slots=True)
class TrainerFile:
    """What `trainer.json` says; `key` is None where the user wrote it."""

    command: tuple[str, ...]
    key: str | None


@dataclass(frozen=True, slots=True)
class RemoteState:
    """What the quick look found."""

    system: str
    """As `uname -s` says: Linux."""
    base: str
    """Absolute."""
    agent: RunningAgent | None = None
    codes: frozenset[str] = frozenset()
    """Hashes of the code that is there completely; likewise the keys of environments."""
    environments: frozenset[str] = frozenset()
    trainer_environments: frozenset[str] = frozenset()
    trainer: TrainerFile | None = None
    prebuilt: str = PREBUILT
    prebuilt_trainers: frozenset[str] = frozenset()
    """Keys of the training stacks that the machine's image has brought, in `prebuilt`."""

    @property
    def has_named_trainer(self) -> bool:
        """True if the stack that `trainer.json` names is there: a volume may have come from a
        machine with another image."""
        if self.trainer is None:
            return False
        is_prebuilt = "".join(self.trainer.command[:1]).startswith(f"{self.prebuilt}/")
        known = self.prebuilt_trainers if is_prebuilt else self.trainer_environments
        return self.trainer.key in known


@dataclass(frozen=True, slots=True)
class RemotePython:
    """An interpreter that was really run."""

    path: str
    version: tuple[int, ...]
    has_venv: bool
    has_ensurepip: bool


@dataclass(frozen=True, slots=True)
class RemoteTools:
    """What the slow look found, for an installation."""

    pythons: tuple[RemotePython, ...]
    """The one to use first."""
    uv: str | None
    free_bytes: int | None
    architecture: str
    libc: str

    @property
    def usable(self) -> tuple[RemotePython, ...]:
        """New enough, and able to make an environment."""
        return tuple(p for p in self.pythons if p.version >= OLDEST_PYTHON and p.has_venv)

    def describe_pythons(self) -> str:
        """`3.9.2 (/usr/bin/python3)`, for an error that has to say what there is."""
        found = [
            f"{'.'.join(map(str, python.version))} ({clean_line(python.path)})"
            for python in self.pythons
        ]
        return ", ".join(found) or "there is none at all"
