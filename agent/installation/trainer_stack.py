"""The training stack of a machine: made once, around the torch of its image where it has one."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.installation.base import Base
from agent.installation.environment import (
    Recipe,
    digest,
    ensure_environment,
    ready_environment,
)
from agent.installation.packages import Installers
from agent.installation.report import step
from shared.clean_text import clean_line
from shared.manifest import write_atomic

MODULES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets")
OLDEST_TORCH = (2, 6)
"""What transformers 5.23 still runs with, as its metadata says (2026-11)."""

_PROBE_TIMEOUT_S = 120
_WITH_TORCH_BYTES = {True: 9_000_000_000, False: 3_000_000_000}
"""With the CUDA libraries of torch 2.13, and with the CPU build (measured 2026-11)."""
_AROUND_TORCH_BYTES = 2_000_000_000
_PROBE = """
import importlib.metadata, json, sys
import torch
usable = sys.prefix == sys.base_prefix and torch.cuda.is_available()
# Not torch.__version__: that of the wheels from PyPI has a local part that pip knows nothing of.
version = importlib.metadata.version("torch")
print("torch:" + json.dumps([version, torch.version.cuda or "", usable]))
"""


@dataclass(frozen=True, slots=True)
class ImageTorch:
    """A torch of the machine's own that drives its GPU."""

    python: str
    version: str
    """As pip knows it."""
    cuda: str


def ensure_trainer(
    base: Base,
    pins: str,
    pythons: Sequence[str],
    installers: Installers,
    *,
    has_gpu: bool,
    prebuilt: Base | None = None,
) -> None:
    """Make the stack and let `trainer.json` name it; leave a file of the user's own alone.

    Where the image has brought the very same stack, in `prebuilt`, that one is named.

    Raises:
        InvalidInput: not enough space, or no working `venv`.
        InstallationFailed: the packages cannot be installed or imported.
    """
    if is_users_own(base):
        return
    key = digest(pins)
    python = None if prebuilt is None else ready_environment(prebuilt.trainer_environments / key)
    if python is not None:
        step("using the training stack of the image")
    else:
        recipe = _recipe(base.trainer_environments / key, pins, pythons, has_gpu)
        python = ensure_environment(recipe, installers)
    command = [str(python), "-P", "-m", "agent.trainer"]
    base.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(base.trainer_file, json.dumps({"command": command, "key": key}))


def prebuild_trainer(base: Base, pins: str, python: str, installers: Installers) -> Path:
    """Make the stack for machines with a GPU on one that has none, such as the builder of an image.

    Raises:
        InvalidInput, InstallationFailed: as `ensure_trainer`.
    """
    title = "the training stack"
    directory = base.trainer_environments / digest(pins)
    needed_bytes = _WITH_TORCH_BYTES[True]
    recipe = Recipe(directory, pins, MODULES, title, needed_bytes, python)
    return ensure_environment(recipe, installers)


def is_users_own(base: Base) -> bool:
    """True for a `trainer.json` that no installation of ours has written."""
    try:
        return "key" not in json.loads(base.trainer_file.read_bytes())
    except FileNotFoundError:
        return False
    except (ValueError, TypeError):
        # Whatever it is, we have not written it.
        return True


def around(pins: str, torch: ImageTorch) -> str:
    """The pins without torch's own, and with the machine's, so that nothing replaces it."""
    lines = [line for line in pins.splitlines() if not re.match(r"torch\s*==", line)]
    return "\n".join([*lines, f"torch=={torch.version}", ""])


def read_probe(python: str, output: str) -> ImageTorch | None:
    """What the probe printed, among whatever else torch may print; None if it cannot be used."""
    for line in output.splitlines():
        if line.startswith("torch:"):
            version, cuda, is_usable = json.loads(line.removeprefix("torch:"))
            numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
            if is_usable and cuda and numbers >= OLDEST_TORCH:
                return ImageTorch(python, clean_line(version), clean_line(cuda))
    return None


def _recipe(directory: Path, pins: str, pythons: Sequence[str], has_gpu: bool) -> Recipe:
    torch = _find_torch(pythons) if has_gpu else None
    if torch is None:
        step("preparing the training stack; this is done once on each machine")
        return Recipe(
            directory, pins, MODULES, "the training stack", _WITH_TORCH_BYTES[has_gpu], pythons[0]
        )
    step(f"using torch {torch.version} (CUDA {torch.cuda}) of {torch.python}")
    return Recipe(
        directory,
        around(pins, torch),
        MODULES,
        "the training stack around it",
        _AROUND_TORCH_BYTES,
        torch.python,
        with_system_packages=True,
    )


def _find_torch(pythons: Sequence[str]) -> ImageTorch | None:
    step("looking for a torch that drives the GPU")
    return next(filter(None, map(_probe, pythons)), None)


def _probe(python: str) -> ImageTorch | None:
    try:
        found = subprocess.run(
            [python, "-I", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
        return read_probe(python, found.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError, TypeError):
        return None
