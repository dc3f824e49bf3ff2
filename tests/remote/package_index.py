"""A package index that is a directory: wheels with next to nothing in them, and pip told of it."""

from __future__ import annotations

import zipfile
from pathlib import Path


def write_wheel(directory: Path, name: str, version: str, module: str = "") -> str:
    """A wheel with one module of the same name; returns the requirement that pins it."""
    directory.mkdir(parents=True, exist_ok=True)
    metadata = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": module,
        f"{metadata}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{metadata}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{metadata}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{metadata}/RECORD"])
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return f"{name}=={version}\n"


def write_stack(directory: Path, modules: tuple[str, ...]) -> str:
    """One wheel for each module, and the pins of them all."""
    return "".join(write_wheel(directory, module, "1.0") for module in modules)


def use_index(home: Path, directory: Path) -> None:
    """Let the pip of this home find what is in the directory, and nothing else."""
    settings = home / ".config" / "pip"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {directory}\n")


def use_no_index(home: Path) -> None:
    """Let the pip of this home look where nobody answers."""
    settings = home / ".config" / "pip"
    settings.mkdir(parents=True, exist_ok=True)
    text = "[global]\nindex-url = http://127.0.0.1:9/simple\nextra-index-url =\n"
    (settings / "pip.conf").write_text(text)
