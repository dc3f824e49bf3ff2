"""What is assumed of machines that nobody has measured yet: seconds and rates, each with its why.

All of it is unverified on hardware, and says so where it is shown. What earlier jobs took replaces
it, part by part.
"""

from __future__ import annotations

from typing import NamedTuple

from shared.forecast.forecast import Span


class Rate(NamedTuple):
    """Bytes a second."""

    low: float
    usual: float
    high: float

    def __str__(self) -> str:
        """`100 to 500 MB/s`."""
        return f"{self.low / 1e6:.0f} to {self.high / 1e6:.0f} MB/s"


ASSUMED = "assumed, unverified on hardware"

MACHINE = Span(best=60, expected=180, worst=600)
"""From the request to a shell: an image of some 10 GB is pulled, sshd starts."""
INSTALL = Span(best=120, expected=420, worst=900)
"""The training stack with CUDA, 9 GB, from the package index (sizes of 2026-11)."""
TRAINER_START = Span(best=10, expected=30, worst=90)
"""Python, torch and transformers, the training file, the adapter; measured here on a CPU: 10 s on
an idle machine, 40 s on a busy one (2026-11)."""
GENERATE = Span(best=5, expected=20, worst=60)
"""The first tokens from the adapter that was loaded again."""
END_OF_MACHINE = Span(best=20, expected=60, worst=180)
"""Until the provider has twice said that it is gone."""
AT_HAND = Span(best=0, expected=5, worst=30)
"""A model that lies on the machine's disk is found, or a tiny one is made."""

DOWNLOAD_BYTES_PER_S = Rate(100e6, 250e6, 500e6)
"""From the hub to a data centre."""
VOLUME_BYTES_PER_S = Rate(200e6, 400e6, 1000e6)
"""From a network volume."""
DISK_BYTES_PER_S = Rate(400e6, 1000e6, 2000e6)
"""From the machine's disk to the GPU, quantising included."""
HOME_BYTES_PER_S = Rate(5e6, 20e6, 50e6)
"""From the machine to this console."""

ADAPTER_BYTES = 500_000_000
"""Where the model's shape is unknown; of 70B with r = 16 it is 414 MB in bf16."""


def transfer(size_bytes: float, rate: Rate) -> Span:
    """Seconds that so many bytes take."""
    return Span(
        best=size_bytes / rate.high, expected=size_bytes / rate.usual, worst=size_bytes / rate.low
    )
