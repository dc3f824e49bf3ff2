"""Our own code as it is sent to another machine: what is installed here, with nothing to build.

It holds `agent/` and `shared/`, and never the console. The console may run from a wheel or from a
checkout: the same files give the same key.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from tui.services.remote.pins import AGENT_PACKAGES, TRAINER_PACKAGES, pinned, read_constraints

_PACKAGES = ("agent", "shared")
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a zip file can hold."""


@dataclass(frozen=True)
class Payload:
    """Files by their path under the directory of the code."""

    files: Mapping[str, bytes]

    @cached_property
    def key(self) -> str:
        """12 hexadecimal digits that name the content."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()[:12]

    def archive(self) -> bytes:
        """A zip file from which Python can import."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(self.files.items()):
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.external_attr = 0o100644 << 16
                archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
        return packed.getvalue()


def build_payload(agent_pins: str | None = None, trainer_pins: str | None = None) -> Payload:
    """The payload of this installation; pins in requirements format replace its own."""
    constraints = read_constraints()
    files = {name: path.read_bytes() for package in _PACKAGES for name, path in _files_of(package)}
    version = importlib.metadata.version("brightrun")
    metadata = f"brightrun-{version}.dist-info"
    # The shortest that names a version; the whole one would be new with every word of the README.
    text = f"Metadata-Version: 2.1\nName: brightrun\nVersion: {version}\n"
    if agent_pins is None:
        agent_pins = pinned(AGENT_PACKAGES, constraints)
    if trainer_pins is None:
        trainer_pins = pinned(TRAINER_PACKAGES, constraints)
    files[f"{metadata}/METADATA"] = text.encode()
    files[f"{metadata}/agent-pins.txt"] = agent_pins.encode()
    files[f"{metadata}/trainer-pins.txt"] = trainer_pins.encode()
    return Payload(files)


def _files_of(package: str) -> Iterator[tuple[str, Path]]:
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None, "it is installed with the console"
    directory = Path(spec.origin).parent
    for path in directory.rglob("*"):
        inside = path.relative_to(directory)
        is_cache = path.suffix == ".pyc" or "__pycache__" in inside.parts
        is_hidden = any(part.startswith(".") for part in inside.parts)
        if path.is_file() and not is_cache and not is_hidden:
            yield f"{package}/{inside.as_posix()}", path
