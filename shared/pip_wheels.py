"""Where a Python's own pip waits as a wheel, for environments that are made without it."""

from __future__ import annotations

import os
from pathlib import Path

_DEBIAN_WHEELS = Path("/usr/share/python-wheels")
"""Where Debian keeps the wheels that its `ensurepip` would install."""


def own_pip_wheels() -> list[Path]:
    """Those from which `ensurepip` would install pip; on Debian the module may be missing."""
    bundled = Path(os.__file__).parent / "ensurepip" / "_bundled"
    return [path for place in (bundled, _DEBIAN_WHEELS) for path in place.glob("pip-*.whl")]
