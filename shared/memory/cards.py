"""GPU types, what memory they have, and when a predicted peak is too much for one.

A card's memory counts as what it is sold as, in units of 10^9 bytes. The driver tells more of most
cards (an H100 of "80 GB" has 81,559 MiB), and that difference is kept as a margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

GB = 10**9
WARN_SHARE = 75 / 80
REFUSE_SHARE = 78 / 80
"""Of a card's memory: a prediction above is refused; above the lower one it is said that it is
tight."""


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU type; `dense_tflops` is the peak of dense bf16 arithmetic in 10^12 FLOP/s."""

    memory_gb: int
    dense_tflops: float | None = None

    @property
    def memory_bytes(self) -> int:
        return self.memory_gb * GB


CARDS = {
    "RTX_4090": Card(24, 165.2),
    "RTX_5090": Card(32, 209.5),
    "A40": Card(48, 149.7),
    "RTX_A6000": Card(48, 154.8),
    "L40": Card(48, 181.0),
    "L40S": Card(48, 362.0),
    "RTX_6000_ADA": Card(48, 364.2),
    "A100_40GB": Card(40, 312.0),
    "A100_80GB": Card(80, 312.0),
    "H100_PCIE": Card(80, 756.0),
    "H100_SXM": Card(80, 989.0),
    "H100_NVL": Card(94, 835.0),
    "H200": Card(141, 989.0),
    "B200": Card(180, 2250.0),
}
"""Smallest first. Source: NVIDIA's data sheets, figures without sparsity, as of 2026-11."""


class Fit(StrEnum):
    """Whether a need and a memory go together."""

    FITS = "fits"
    TIGHT = "tight"
    """It fits by the prediction, whose error may be larger than what is left."""
    TOO_LARGE = "too large"


def judge(need_bytes: int, memory_bytes: int) -> Fit:
    """The verdict on a predicted peak."""
    if need_bytes > REFUSE_SHARE * memory_bytes:
        return Fit.TOO_LARGE
    return Fit.TIGHT if need_bytes > WARN_SHARE * memory_bytes else Fit.FITS


def memory_of_driver(memory_total_mib: int) -> int:
    """What counts of a card of which the driver tells so many MiB: 81,559 MiB are 79.6 x 10^9."""
    return memory_total_mib * GB // 1024


def cards_that_fit(need_bytes: int) -> list[str]:
    """Types that have room for it, smallest first."""
    return [
        name
        for name, card in sorted(CARDS.items(), key=lambda item: item[1].memory_gb)
        if judge(need_bytes, card.memory_bytes) is Fit.FITS
    ]
