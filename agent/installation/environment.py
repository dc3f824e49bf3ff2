"""Makes virtual environments that count only once they are complete."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.installation.base import is_complete, stamp
from agent.installation.packages import Installers, install
from agent.installation.report import step
from shared.clean_text import clean_output
from shared.errors import InstallationFailed, InvalidInput

_VENV_TIMEOUT_S = 120
_CHECK_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an environment shall hold."""

    directory: Path
    pins: str
    """Requirements, one a line."""
    modules: tuple[str, ...]
    """What must import there before the environment counts."""
    title: str
    needed_bytes: int
    python: str = sys.executable
    """Whose environment it is."""
    with_system_packages: bool = False


def ensure_environment(recipe: Recipe, installers: Installers) -> Path:
    """The interpreter of the environment, which is made unless it is complete and works.

    Raises:
        InvalidInput: not enough space, or no working `venv`.
        InstallationFailed: the packages cannot be installed or imported.
    """
    if (ready := ready_environment(recipe.directory)) is not None:
        return ready
    python = python_of(recipe.directory)
    _require_space(recipe)
    count = len(recipe.pins.split())
    step(f"installing {recipe.title} ({count} package{'s' if count != 1 else ''})")
    # Not renamed from a partial name: what pip writes knows the path that it was written to.
    shutil.rmtree(recipe.directory, ignore_errors=True)
    recipe.directory.mkdir(parents=True, mode=0o700)
    _make(recipe)
    requirements = recipe.directory / "pins.txt"
    requirements.write_text(recipe.pins, encoding="ascii")
    if recipe.with_system_packages:
        # uv does not see them, and would install a second torch.
        installers = replace(installers, uv=None)
    install(python, requirements, installers)
    step(f"checking {recipe.title}")
    _check(python, recipe.modules)
    stamp(recipe.directory)
    return python


def ready_environment(directory: Path) -> Path | None:
    """The interpreter of an environment that is complete and works; None if it is not."""
    python = python_of(directory)
    return python if is_complete(directory) and _runs(python) else None


def python_of(directory: Path) -> Path:
    """Where an environment has its interpreter."""
    return directory / "bin" / "python"


def digest(*parts: str) -> str:
    """12 hexadecimal digits that name the parts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def unpack_pip(directory: Path, wheels: Sequence[Path]) -> Path:
    """A directory from which `pip` can be imported, from the first of these wheels.

    Raises:
        InvalidInput: there is none.
    """
    if not wheels:
        raise InvalidInput(
            "the Python there has no pip, and none could be sent; "
            "on Debian or Ubuntu: apt-get install python3-venv."
        )
    target = directory / wheels[0].stem
    if not is_complete(target):
        # pip does not find its certificates inside of a zip file.
        shutil.rmtree(target, ignore_errors=True)
        with zipfile.ZipFile(wheels[0]) as archive:
            archive.extractall(target)
        stamp(target)
    return target


def _require_space(recipe: Recipe) -> None:
    existing = recipe.directory
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < recipe.needed_bytes:
        raise InvalidInput(
            f"{recipe.title} take about {recipe.needed_bytes / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free in {existing} there; free some space, or choose a "
            "directory on another disk."
        )


def _make(recipe: Recipe) -> None:
    command = [recipe.python, "-I", "-m", "venv", "--without-pip", str(recipe.directory)]
    if recipe.with_system_packages:
        command.insert(-1, "--system-site-packages")
    made = _output_of(command, _VENV_TIMEOUT_S)
    if made.returncode != 0:
        raise InvalidInput(
            f"{recipe.python} cannot make a virtual environment there; on Debian or Ubuntu: "
            f"apt-get install python3-venv. It said:\n{_last_lines(made.stdout)}"
        )


def _check(python: Path, modules: tuple[str, ...]) -> None:
    if not modules:
        return
    found = _output_of([str(python), "-I", "-c", f"import {', '.join(modules)}"], _CHECK_TIMEOUT_S)
    if found.returncode != 0:
        raise InstallationFailed(
            "what was installed there does not import; the machine's processor or C library may "
            f"be too old for it. Python said:\n{_last_lines(found.stdout)}"
        )


def _runs(python: Path) -> bool:
    """False if the interpreter that the environment was made with is gone."""
    try:
        return _output_of([str(python), "-I", "-c", ""], _VENV_TIMEOUT_S).returncode == 0
    except OSError:
        return False


def _output_of(command: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InstallationFailed(
            f"{command[0]} has not ended within {timeout_s:.0f} s there; try again."
        ) from error


def _last_lines(text: str) -> str:
    return "\n".join(clean_output(text).strip().splitlines()[-6:])
