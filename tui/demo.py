"""What the demo trains; imports nothing heavy, so that the console stands before the rest loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SAMPLE = Path(__file__).parent.parent / "shared" / "dataset" / "sample" / "brightrun-sample.json"
"""28 conversations that were written for this project; they come with the package."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Which file is trained, on which base model."""

    file: Path = SAMPLE
    model: str = "tiny"
