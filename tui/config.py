"""Where the console keeps its things; from the environment, read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Config:
    """Directories of this user."""

    home: Path
    agent_root: Path
    """Root directory of the agent of this machine."""

    @property
    def database_path(self) -> Path:
        return self.home / "brightrun.db"


def load_config(environ: Mapping[str, str] = os.environ) -> Config:
    """`BRIGHTRUN_HOME`, else the platform's place for user data; `BRIGHTRUN_AGENT_ROOT` beside."""
    home = Path(environ.get("BRIGHTRUN_HOME") or _default_home()).expanduser().absolute()
    root = Path(environ.get("BRIGHTRUN_AGENT_ROOT") or home / "agent").expanduser().absolute()
    return Config(home, root)


def _default_home() -> Path:
    from platformdirs import user_data_path

    return user_data_path("brightrun")
