"""Puts pinned packages into an environment, by uv where the machine has it, else by pip.

The only module that runs them and knows what they print.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.installation.report import step
from shared.clean_text import clean_line
from shared.errors import InstallationFailed, InvalidInput

_TAIL_LINES = 6
_SPEED_EVERY_S = 1.0
_RAW_PROGRESS_SINCE = (24, 1)
"""pip's release notes, 24.1: `--progress-bar raw`."""

_NO_SPACE = re.compile(r"No space left on device|Errno 28|Disk quota exceeded|os error (?:28|122)")
_NO_INDEX = re.compile(
    r"NewConnectionError|ConnectTimeoutError|Failed to establish a new connection|ProxyError"
    r"|NameResolutionError|name resolution|SSLError|SSLCertVerificationError|ReadTimeoutError"
    r"|Connection refused|Network is unreachable|error sending request|dns error"
    r"|client error \(Connect\)|connection broken"
)
_PIP_STEP = re.compile(r"\s*Downloading (?:\S*/)?([^-\s]+-[^-\s]+)\S* \(([\d.]+ ?[kKMGT]?i?B)\)")
_UV_STEP = re.compile(r"Downloading (\S+) \(([\d.]+ ?[KMGT]i?B)\)")
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_INSTALLING = re.compile(r"Installing collected packages: (.+)")


@dataclass(frozen=True, slots=True)
class Installers:
    """What can install packages here."""

    pip: Path
    """A directory on `PYTHONPATH` with the package `pip`."""
    uv: str | None = None
    lock: int | None = None
    """A descriptor that a child inherits, and with it the lock on the installation."""


@dataclass(slots=True)
class Progress:
    """Turns what pip and uv print into steps; pure but for the clock that it is given."""

    tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL_LINES))
    everything: list[str] = field(default_factory=list)
    _name: str = ""
    _began: float = 0.0
    _told: float = 0.0

    def read(self, line: str, now: float) -> str | None:
        """The step that this line means; None if it means none."""
        if found := _PROGRESS.match(line):
            return self._speed(int(found[1]), int(found[2]), now)
        if text := clean_line(line):
            self.tail.append(text)
            self.everything.append(text)
        if found := _PIP_STEP.match(line) or _UV_STEP.match(line):
            self._name, self._began, self._told = clean_line(found[1]), now, now
            return f"downloading {self._name} ({clean_line(found[2])})"
        if found := _INSTALLING.match(line):
            return f"unpacking {found[1].count(',') + 1} packages"
        return None

    def _speed(self, done: int, total: int, now: float) -> str | None:
        if now - self._told < _SPEED_EVERY_S or now <= self._began:
            return None
        self._told = now
        rate = done / 1e6 / (now - self._began)
        return (
            f"downloading {self._name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB, {rate:.0f} MB/s"
        )


def install(python: Path, requirements: Path, installers: Installers) -> None:
    """Install what the requirements file pins into the environment of `python`.

    Raises:
        InvalidInput: there is not enough space.
        InstallationFailed: the index cannot be reached, or pip fails for another reason.
    """
    if installers.uv is not None:
        command, environment = _uv(python, requirements, installers)
        status, _ = _run(command, environment, installers.lock)
        if status == 0:
            return
        # It does not read pip's settings, which may be the only way to an index from here.
        step("uv failed; going on with pip")
    command, environment = _pip(python, requirements, installers)
    status, progress = _run(command, environment, installers.lock)
    if status != 0:
        raise explain(status, progress.everything, progress.tail)


def explain(
    status: int, output: Iterable[str], tail: Iterable[str]
) -> InvalidInput | InstallationFailed:
    """What a failed installation means, and what helps."""
    text, last = "\n".join(output), "\n".join(tail)
    if _NO_SPACE.search(text):
        return InvalidInput(
            "the disk is full there; free some space, or choose a directory on another disk. "
            f"pip said:\n{last}"
        )
    if _NO_INDEX.search(text):
        return InstallationFailed(
            "the package index cannot be reached from there; let the machine reach pypi.org, or "
            f"name a mirror in its ~/.config/pip/pip.conf, and try again. pip said:\n{last}"
        )
    return InstallationFailed(f"pip failed there (exit code {status}). It said:\n{last}")


def _uv(
    python: Path, requirements: Path, installers: Installers
) -> tuple[list[str], dict[str, str]]:
    assert installers.uv is not None
    command = [installers.uv, "pip", "install", "--python", str(python), "--link-mode", "copy"]
    command += ["--requirement", str(requirements)]
    return command, {**os.environ, "NO_COLOR": "1"}


def _pip(
    python: Path, requirements: Path, installers: Installers
) -> tuple[list[str], dict[str, str]]:
    can_tell = pip_version(installers.pip) >= _RAW_PROGRESS_SINCE
    command = [str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    command += ["--progress-bar", "raw" if can_tell else "off", "--retries", "2"]
    # What is imported is compiled by the check that follows, and all else never.
    command += ["--no-warn-script-location", "--no-compile", "--requirement", str(requirements)]
    # Where the user's settings ask for `--user`, pip would refuse an environment.
    return command, {**os.environ, "PYTHONPATH": str(installers.pip), "PIP_USER": "0"}


def pip_version(directory: Path) -> tuple[int, ...]:
    """(23, 0) for pip 23.0.1; (0,) if it does not say."""
    for entry in directory.glob("pip-*.dist-info"):
        numbers = re.findall(r"\d+", entry.name.partition("-")[2])
        return tuple(map(int, numbers[:2]))
    return (0,)


def _run(
    command: list[str], environment: Mapping[str, str], lock: int | None
) -> tuple[int, Progress]:
    progress = Progress()
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=() if lock is None else (lock,),
    )
    assert process.stdout is not None, "a pipe was asked for"
    with process:
        for line in process.stdout:
            if (text := progress.read(line, time.monotonic())) is not None:
                step(text)
    return process.returncode, progress


def fingerprint() -> str:
    """Names the interpreter that runs this: an environment made by another one may not work."""
    version = ".".join(map(str, sys.version_info[:3]))
    return f"{sys.implementation.name} {version} {os.path.realpath(sys.executable)}"
