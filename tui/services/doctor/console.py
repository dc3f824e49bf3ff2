"""What the console itself needs: Python, terminal, data directory, database, packages, keys."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from shared.errors import InvalidInput
from shared.number_text import many, short_path, size
from shared.store.look import database_revision
from shared.store.schema import HEAD_REVISION
from tui.config import Config
from tui.services.doctor.checks import Check, Outcome, failure, ok, warning
from tui.services.remote.pins import read_constraints
from tui.terminal_encoding import is_unicode

OLDEST_PYTHON = (3, 11)
SMALLEST_TERMINAL = (80, 24)
SCARCE_BYTES = 1_000_000_000
TOO_FEW_BYTES = 100_000_000
"""Room for the database: 300,000 events take 100 MB."""

SETTINGS = {
    "RUNPOD_API_KEY": "to rent machines",
    "HF_TOKEN": "for models that ask for a licence, such as Llama 3",
    "TRAINING_WEBHOOK_SECRET": "to sign webhooks",
    "SUPABASE_SERVICE_ROLE_KEY": "to mirror jobs to Supabase",
}
"""Secret variables of the environment, and what each is needed for."""

_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class ThisConsole:
    """The user's side."""

    config: Config
    environ: Mapping[str, str]
    user_home: Path

    @property
    def ssh_directory(self) -> Path:
        return self.user_home / ".ssh"


async def look_at_python(_: ThisConsole) -> Outcome:
    """The interpreter that runs this console."""
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < OLDEST_PYTHON:
        return failure(found, "Install brightrun with Python 3.11 or newer.")
    return ok(found)


async def look_at_terminal(this: ThisConsole) -> Outcome:
    """What the full-screen console draws on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return ok("none: the output goes elsewhere")
    columns, lines = shutil.get_terminal_size()
    encoding = sys.stdout.encoding or "ascii"
    name = this.environ.get("TERM", "")
    found = f"{name or 'no TERM'}, {columns}x{lines}, {encoding}, {_colours(this.environ)}"
    if name in ("", "dumb"):
        return warning(found, "Set TERM to what the terminal is, such as xterm-256color.")
    if not is_unicode(encoding):
        return warning(found, "Lines are drawn in ASCII; set LANG to a UTF-8 locale, as C.UTF-8.")
    if columns < SMALLEST_TERMINAL[0] or lines < SMALLEST_TERMINAL[1]:
        return warning(found, "Make the window 80x24 or larger: parts of the screens are cut off.")
    return ok(found)


def _colours(environ: Mapping[str, str]) -> str:
    from rich.console import Console

    if environ.get("NO_COLOR"):
        return "no colours (NO_COLOR)"
    return f"colours: {Console().color_system or 'none'}"


async def look_at_directory(this: ThisConsole) -> Outcome:
    """Whether the data directory can be written, or made; it is not made here."""
    home = this.config.home
    found = short_path(home)
    nearest = next(path for path in (home, *home.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        return failure(f"{found}: {short_path(nearest)} is no directory", "Move it aside.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        return failure(
            f"{found}: {short_path(nearest)} cannot be written",
            "Make it writable for you, or set BRIGHTRUN_HOME to another directory.",
        )
    free = shutil.disk_usage(nearest).free
    if free < TOO_FEW_BYTES:
        return failure(f"{found}: only {size(free)} free", "Free some disk space.")
    if free < SCARCE_BYTES:
        return warning(f"{found}: only {size(free)} free", "Free some disk space.")
    return ok(f"{found}, {size(free)} free{'' if nearest == home else '; made at the first use'}")


async def look_at_database(this: ThisConsole) -> Outcome:
    """Whether the database opens, and which schema it has; it is not changed."""
    path = this.config.database_path
    if not path.exists():
        return ok("none yet; made at the first use")
    revision = await asyncio.to_thread(database_revision, path)
    found = f"{path.name}, {size(path.stat().st_size)}, schema {revision or 'none'}"
    if revision is not None and revision > HEAD_REVISION:
        return failure(
            f"{found}: made by a newer brightrun (this one knows {HEAD_REVISION})",
            "Upgrade brightrun.",
        )
    return ok(found if revision == HEAD_REVISION else f"{found}; brought up to date when used")


async def look_at_packages(_: ThisConsole) -> Outcome:
    """Installed versions against those that the tests have passed with."""
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", read_constraints(), re.MULTILINE))
    missing, other = [], []
    names = [name for name in _required() if name]
    for name in names:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if name in pins and version != pins[name]:
            other.append(f"{name} {version} (tested: {pins[name]})")
    if missing:
        return failure(f"missing: {', '.join(missing)}", "Install brightrun anew, with pip.")
    found = f"brightrun {metadata.version('brightrun')}, {len(names)} packages"
    if other:
        named = ", ".join(other[:_MOST_NAMED]) + (" ..." if len(other) > _MOST_NAMED else "")
        return warning(
            f"{found}; other versions than tested: {named}",
            "pip install -c constraints.txt brightrun gives the tested ones.",
        )
    return ok(f"{found} in the tested versions")


def _required() -> list[str]:
    """What the console alone needs, in the names of constraints.txt."""
    wanted = [line for line in metadata.requires("brightrun") or [] if "extra ==" not in line]
    names = [re.match(r"[A-Za-z0-9._-]+", line) for line in wanted]
    return [re.sub(r"[-_.]+", "-", name[0]).lower() for name in names if name]


async def look_at_secrets(this: ThisConsole) -> Outcome:
    """Which are set: names only, whatever they hold."""
    present = [name for name in SETTINGS if this.environ.get(name, "").strip()]
    absent = [f"{name} ({why})" for name, why in SETTINGS.items() if name not in present]
    parts = [f"set: {', '.join(present)}"] if present else []
    return ok("; ".join([*parts, f"not set: {', '.join(absent)}"] if absent else parts))


async def look_at_ssh_files(this: ThisConsole) -> Outcome:
    """The SSH configuration, and whether the keys are private as ssh wants them."""
    config = this.ssh_directory / "config"
    text = ""
    if config.exists():
        try:
            text = config.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            return failure(
                f"{short_path(config)}: {error.strerror}", "Make it readable: chmod 600 it."
            )
    exposed = [path for path in _keys(this, text) if _mode(path) & 0o077]
    if exposed:
        named = ", ".join(map(short_path, exposed[:_MOST_NAMED]))
        return warning(
            f"private keys that others can read: {named}",
            f"ssh refuses such keys: chmod 600 {short_path(exposed[0])}",
        )
    if text and _mode(config) & 0o022:
        return warning(
            f"{short_path(config)} can be written by others", f"chmod 600 {short_path(config)}"
        )
    keys = many(len([path for path in _keys(this, text) if path.is_file()]), "key file")
    agent = "an ssh-agent" if _has_agent(this.environ) else "no ssh-agent"
    return ok(f"{'~/.ssh/config' if text else 'no ~/.ssh/config'}, {keys}, {agent}")


def _keys(this: ThisConsole, config: str) -> list[Path]:
    named = re.findall(r"(?im)^\s*IdentityFile[\s=]+\"?([^\"\n%]+?)\"?\s*$", config)
    configured = [Path(re.sub(r"^~(?=/)", str(this.user_home), name)) for name in named]
    usual = [path for path in this.ssh_directory.glob("id_*") if path.suffix != ".pub"]
    return sorted({path for path in (*configured, *usual) if path.suffix != ".pub"})


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0


def _has_agent(environ: Mapping[str, str]) -> bool:
    socket = environ.get("SSH_AUTH_SOCK")
    return bool(socket) and Path(str(socket)).is_socket()


async def look_at_supabase(this: ThisConsole) -> Outcome:
    """Set up or not; nobody is asked."""
    from tui.services.supabase.settings import load_settings
    from tui.services.supabase.wording import settings_words

    try:
        settings = load_settings(this.environ)
    except InvalidInput as error:
        return warning(str(error), "Jobs run all the same, and are seen here only.")
    if settings is None:
        return ok("not set up: jobs are seen here only")
    return ok(f"{settings_words(settings)}; `brightrun supabase doctor` looks closer")


CONSOLE_CHECKS = (
    Check("Python", look_at_python),
    Check("terminal", look_at_terminal),
    Check("data directory", look_at_directory),
    Check("database", look_at_database, needs=("data directory",)),
    Check("packages", look_at_packages),
    Check("secrets", look_at_secrets),
    Check("SSH files", look_at_ssh_files),
    Check("Supabase", look_at_supabase),
)
