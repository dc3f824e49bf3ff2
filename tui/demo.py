"""What the demo trains; imports nothing heavy, so that the console stands before the rest loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.dataset.sample import SAMPLE_JSON


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Which file is trained, on which base model."""

    file: Path = SAMPLE_JSON
    model: str = "tiny"
