"""The directory from which the image of a rented machine is built, and what RunPod is told of it.

It holds this console's own code and pins, so that a machine with the image has exactly what the
console would install on it. Builds nothing, pushes nothing and asks nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.errors import InvalidInput
from shared.machine_request import DEFAULT_MOUNT_PATH
from tui.services.remote.payload import Payload

_PARTS = {
    "agent/Dockerfile": "Dockerfile",
    "agent/image/dockerignore": ".dockerignore",
    "agent/image/system.sh": "image/system.sh",
    "agent/image/environments.sh": "image/environments.sh",
    "agent/image/start.sh": "image/start.sh",
}
CODE = "code.zip"
_KNOWN = {Path(name).parts[0] for name in (*_PARTS.values(), CODE)}
TEMPLATE_DISK_GB = 50


def write_context(directory: Path, payload: Payload) -> int:
    """Write the build context, over an older one; returns its bytes.

    Raises:
        InvalidInput: the directory holds something else, or cannot be written.
    """
    try:
        found = {entry.name for entry in directory.iterdir()} if directory.exists() else set()
        if found - _KNOWN:
            strange = ", ".join(sorted(found - _KNOWN)[:3])
            raise InvalidInput(f"{directory} holds something else ({strange}); name another one.")
        files = {target: payload.files[name] for name, target in _PARTS.items()}
        files[CODE] = payload.archive()
        for target, content in files.items():
            path = directory / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise InvalidInput(
            f"{error.filename or directory}: {error.strerror}; name another directory."
        ) from error
    return sum(map(len, files.values()))


def template(tag: str) -> dict[str, Any]:
    """Body of RunPod's `POST /v2/templates`, for pods that somebody starts by hand."""
    return {
        "name": f"brightrun {tag.rpartition('/')[2]}",
        "image": tag,
        "category": "NVIDIA",
        "disk": TEMPLATE_DISK_GB,
        "ports": ["22/tcp"],
        "mounts": {"persistent": {"size": TEMPLATE_DISK_GB, "path": DEFAULT_MOUNT_PATH}},
        "startSsh": True,
        "startJupyter": False,
    }
