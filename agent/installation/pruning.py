"""Removes code and environments that nothing uses any more."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from agent.installation.base import Base

_OLD_S = 24 * 3600.0
"""Younger ones may have just been sent by a console that waits for its turn."""


def prune(base: Base, keep: Iterable[Path]) -> None:
    """Remove what is older than a day, unless a process names it in arguments or environment.

    The caller holds the lock on the installation, and has seen that no job runs. What is shared
    with other jobs of a volume stays: their machines' processes cannot be seen from here.
    """
    if base.codes.is_symlink():
        return
    kept = {*keep, *_trainers_own(base)}
    old = [
        entry
        for folder in (base.codes, base.environments, base.trainer_environments)
        if folder.is_dir()
        for entry in folder.iterdir()
        if entry.with_suffix("") not in kept and time.time() - entry.lstat().st_mtime > _OLD_S
    ]
    used = _named_by_processes(base) if old else b""
    for entry in old:
        if os.fsencode(entry.with_suffix("")) in used:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _trainers_own(base: Base) -> list[Path]:
    """Where the command of `trainer.json` lies; everything, if that cannot be read."""
    environments = base.trainer_environments
    try:
        command = json.loads(base.trainer_file.read_bytes())["command"]
        return [
            environments / Path(part).relative_to(environments).parts[0] for part in command[:1]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return list(environments.iterdir()) if environments.is_dir() else []


def _named_by_processes(base: Base) -> bytes:
    """Arguments and environments of every process that we may look into."""
    texts = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            for name in ("cmdline", "environ"):
                try:
                    text = (process / name).read_bytes()
                except OSError:
                    continue
                if os.fsencode(base.path) in text:
                    texts.append(text)
    return b"\0".join(texts)
