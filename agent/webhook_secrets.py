"""Where the agent keeps what signs webhooks: in memory that looks like a disk, and nowhere else.

An agent that is started again finds it there; after a restart of the whole machine the console
hands it over once more. Where there is no such place, it is in the agent's own memory alone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path

from pydantic import ValidationError

from shared.webhook_protocol import WebhookSetting

logger = logging.getLogger(__name__)

_MOUNTS = Path("/proc/self/mountinfo")
_SHARED_MEMORY = Path("/dev/shm")


class WebhookSecrets:
    """One file for each job, readable by the owner alone. Methods block."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def read(self, job_id: str) -> WebhookSetting | None:
        """None where nothing was kept."""
        if self._directory is None:
            return None
        try:
            return WebhookSetting.model_validate_json(
                self._path(self._directory, job_id).read_bytes()
            )
        except (OSError, ValidationError):
            return None

    def keep(self, job_id: str, setting: WebhookSetting) -> None:
        """A place that refuses is no reason to refuse the setting."""
        if self._directory is None:
            return
        content = setting.model_dump(mode="json")
        content["secret"] = setting.secret.get_secret_value()
        path = self._path(self._directory, job_id)
        partial = path.with_suffix(".partial")
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            partial.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(partial, flags, 0o600), "w", encoding="utf-8") as file:
                json.dump(content, file)
            partial.replace(path)
        except OSError as error:
            logger.warning("%s: the webhook's setting is in memory only: %s", path, error)

    def forget(self, job_id: str) -> None:
        """There is nothing left to sign."""
        if self._directory is not None:
            with contextlib.suppress(OSError):
                self._path(self._directory, job_id).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Leave no empty directory behind."""
        if self._directory is not None:
            with contextlib.suppress(OSError):
                self._directory.rmdir()

    @staticmethod
    def _path(directory: Path, job_id: str) -> Path:
        return directory / f"webhook-{job_id}.json"


def directory_in_memory(wanted: Path) -> Path | None:
    """`wanted` where that is in memory, else one like it in /dev/shm, else None."""
    for directory in (wanted, _SHARED_MEMORY / wanted.name):
        if is_in_memory(directory) and _is_ours(directory):
            return directory
    return None


def is_in_memory(path: Path, mounts: Path = _MOUNTS) -> bool:
    """Whether what is written there never comes to a disk, but for swap."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    found, best = "", -1
    for line in lines:
        # man 5 proc: the mount point is the fifth field, the type the first after " - ".
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4].replace("\\040", " "))
        if (path == point or point in path.parents) and len(point.parts) >= best:
            found, best = after.split()[0], len(point.parts)
    return found in ("tmpfs", "ramfs")


def _is_ours(directory: Path) -> bool:
    """True for one that is still to be made, too; a stranger's in /dev/shm is not used."""
    try:
        found = directory.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return directory.is_dir() and not directory.is_symlink() and found.st_uid == os.getuid()
