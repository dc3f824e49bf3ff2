"""Tells from the end of a trainer's log that the GPU failed, and not the program.

The texts are those of the CUDA runtime, which torch repeats, and of NVIDIA's tools. What a wrong
program can bring about as well is none of them: an illegal memory access, an unspecified launch
failure, an unknown error; nor is NCCL's remote error, which only says that another process ended.
Unverified on hardware.
"""

from __future__ import annotations

import re

_LONGEST_TEXT = 200

_TEXTS = re.compile(
    "|".join(
        (
            "uncorrectable ECC error encountered",
            "uncorrectable NVLink error detected",
            "GPU has fallen off the bus",
            "GPU is lost",
            "Unable to determine the device handle for GPU",
            "hardware error.{0,40}nvlink|nvlink.{0,40}hardware error",
        )
    ),
    re.IGNORECASE,
)


def hardware_fault(log_tail: str) -> str:
    """The last line that tells of failed hardware; "" if there is none."""
    lines = [line.strip() for line in log_tail.splitlines() if _TEXTS.search(line)]
    return lines[-1][:_LONGEST_TEXT] if lines else ""
