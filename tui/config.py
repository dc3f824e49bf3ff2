"""Where the console keeps its things; from the environment, read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_REMOTE_BASE = ".local/share/brightrun"
"""Directory of ours on a host that SSH reaches; relative to the user's home there."""


@dataclass(frozen=True, slots=True)
class Config:
    """Directories of this user."""

    home: Path
    agent_root: Path
    """Root directory of the agent of this machine."""
    remote_base: str = DEFAULT_REMOTE_BASE
    default_host: str = "local"
    """Where a job runs unless its start says otherwise."""

    @property
    def database_path(self) -> Path:
        return self.home / "brightrun.db"

    @property
    def training_sets_path(self) -> Path:
        """Where sets that were merged of several training files are kept."""
        return self.home / "training-sets"

    @property
    def supabase_session_path(self) -> Path:
        """The user's login to the web application's Supabase; only they can read it."""
        return self.home / "supabase-session.json"

    @property
    def known_hosts_path(self) -> Path:
        """Host keys that were accepted here; ~/.ssh/known_hosts is only read."""
        return self.home / "known_hosts"


def load_config(environ: Mapping[str, str] = os.environ) -> Config:
    """`BRIGHTRUN_HOME`, else the platform's place for user data; `BRIGHTRUN_AGENT_ROOT` beside.

    `BRIGHTRUN_REMOTE_BASE` is the directory of ours on hosts that SSH reaches, and
    `RUNPOD_ENDPOINT_URL` (ssh://user@host:port) a machine that is there already.
    """
    home = Path(environ.get("BRIGHTRUN_HOME") or _default_home()).expanduser().absolute()
    root = Path(environ.get("BRIGHTRUN_AGENT_ROOT") or home / "agent").expanduser().absolute()
    return Config(
        home,
        root,
        environ.get("BRIGHTRUN_REMOTE_BASE") or DEFAULT_REMOTE_BASE,
        environ.get("RUNPOD_ENDPOINT_URL") or "local",
    )


def _default_home() -> Path:
    from platformdirs import user_data_path

    return user_data_path("brightrun")
