"""One process at a time fills a copy, however many machines have the volume mounted.

File locks do not hold on every network file system, and clocks of rented machines are wrong. So the
owner writes a file with a beat that counts up; whoever waits looks by its own clock whether the
beat goes on. An owner on this machine that has died is known at once. Should two ever own a copy,
nothing is lost: both write the same bytes, each under names of its own before the rename, and the
one that is no longer named in the file stops at its next file.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.process import ProcessIdentity, identify, is_alive
from shared.events import ModelProgress
from shared.manifest import write_atomic

BEAT_S = 5.0
SILENCE_LIMIT_S = 90.0
"""An owner whose beat stands still for so long is dead; a network volume may hang for a while."""

LOOK_S = 1.0


class OwnershipLost(Exception):
    """Another process has taken over; this one waits for it."""


@dataclass(frozen=True, slots=True)
class Owner:
    """What the file says."""

    token: str
    beat: int
    process: ProcessIdentity | None
    namespace: str
    progress: ModelProgress | None

    @property
    def is_dead(self) -> bool:
        """True if it ran here and has ended; of another machine's process nothing is known."""
        if self.process is None or self.namespace != _namespace():
            return False
        own = identify(os.getpid())
        is_here = own is not None and own.boot_id == self.process.boot_id
        return is_here and not is_alive(self.process)


class Ownership:
    """Held by this process while `owned` is open."""

    def __init__(self, path: Path, token: str) -> None:
        self._path = path
        self._token = token
        self._beat = 0
        self._progress: ModelProgress | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="copy owner", daemon=True)

    def check(self) -> None:
        """Raises OwnershipLost if the file names another owner, or none."""
        owner = read_owner(self._path)
        if owner is None or owner.token != self._token:
            raise OwnershipLost(f"{self._path}: another process fills this copy now")

    def tell(self, progress: ModelProgress) -> None:
        """For whoever waits."""
        self._progress = progress

    def start(self) -> None:
        self._thread.start()

    def release(self) -> None:
        self._over.set()
        self._thread.join()
        with contextlib.suppress(OwnershipLost, OSError):
            self.check()
            self._path.unlink()

    def _keep(self) -> None:
        while not self._over.wait(BEAT_S):
            self._beat += 1
            # A full disk or a volume that hangs: whoever waits is patient, and the next file asks.
            with contextlib.suppress(OwnershipLost, OSError):
                self.check()
                _write(self._path, self._token, self._beat, self._progress)


@contextmanager
def owned(
    path: Path,
    is_done: Callable[[], bool],
    say: Callable[[ModelProgress], None],
    *,
    silence_limit_s: float = SILENCE_LIMIT_S,
    look_s: float = LOOK_S,
) -> Iterator[Ownership | None]:
    """Hold the file at `path`, once nobody else does; None if `is_done` came first.

    While another process holds it, what that one tells of itself is passed to `say`.
    """
    token = secrets.token_hex(8)
    if not _wait_and_take(path, token, is_done, say, silence_limit_s, look_s):
        yield None
        return
    ownership = Ownership(path, token)
    ownership.start()
    try:
        yield ownership
    finally:
        ownership.release()


def read_owner(path: Path) -> Owner | None:
    """None where there is none, or a file that says nothing."""
    try:
        told: dict[str, Any] = json.loads(path.read_bytes())
        process = told["process"]
        progress = told["progress"]
        return Owner(
            token=str(told["token"]),
            beat=int(told["beat"]),
            process=None if process is None else ProcessIdentity(*process),
            namespace=str(told["namespace"]),
            progress=None if progress is None else ModelProgress.model_validate(progress),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _wait_and_take(
    path: Path,
    token: str,
    is_done: Callable[[], bool],
    say: Callable[[ModelProgress], None],
    silence_limit_s: float,
    look_s: float,
) -> bool:
    """False if `is_done` came before the file was free."""
    seen: bytes | None = None
    since = time.monotonic()
    while not is_done():
        if _take(path, token):
            return True
        content = _content(path)
        if content != seen:
            seen, since = content, time.monotonic()
            owner = read_owner(path)
            if owner is not None and owner.progress is not None:
                say(owner.progress)
        owner = read_owner(path)
        is_silent = time.monotonic() - since > silence_limit_s
        if content is not None and (is_silent or (owner is not None and owner.is_dead)):
            _set_aside(path, content)
            continue
        time.sleep(look_s)
    return False


def _take(path: Path, token: str) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    os.close(descriptor)
    _write(path, token, 0, None)
    return True


def _set_aside(path: Path, content: bytes) -> None:
    """Remove a dead owner's file, and no other that has come in its place meanwhile."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return
    if aside.read_bytes() != content:
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    aside.unlink()


def _write(path: Path, token: str, beat: int, progress: ModelProgress | None) -> None:
    told = {
        "token": token,
        "beat": beat,
        "process": identify(os.getpid()),
        "namespace": _namespace(),
        "progress": None if progress is None else progress.model_dump(mode="json"),
    }
    write_atomic(path, json.dumps(told))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _namespace() -> str:
    """Pods on one host have its boot id, but process numbers of their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
