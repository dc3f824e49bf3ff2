"""Our names of GPU types and RunPod's ids for them; knows no price and no network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from shared.errors import InvalidMachineRequest

RUNPOD_IDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "RTX_4090": ("NVIDIA GeForce RTX 4090",),
        "RTX_5090": ("NVIDIA GeForce RTX 5090",),
        "A40": ("NVIDIA A40",),
        "RTX_A6000": ("NVIDIA RTX A6000",),
        "L40": ("NVIDIA L40",),
        "L40S": ("NVIDIA L40S",),
        "RTX_6000_ADA": ("NVIDIA RTX 6000 Ada Generation",),
        "A100_80GB": ("NVIDIA A100 80GB PCIe", "NVIDIA A100-SXM4-80GB"),
        "H100_PCIE": ("NVIDIA H100 PCIe",),
        "H100_SXM": ("NVIDIA H100 80GB HBM3",),
        "H100_NVL": ("NVIDIA H100 NVL",),
        "H200": ("NVIDIA H200",),
        "B200": ("NVIDIA B200",),
    }
)
"""Of the types in `shared.memory.cards`; RunPod lists no A100 with 40 GB.

Source: docs.runpod.io/references/gpu-types, read 2026-11; the names also stand in runpod 2.0.0rc2.
"""

_ALIASES = {
    "A100": "A100_80GB",
    "A100_PCIE": "A100_80GB",
    "A100_SXM": "A100_80GB",
    "A100_80GB_PCIE": "A100_80GB",
    "A100_80GB_SXM": "A100_80GB",
    "RTX4090": "RTX_4090",
    "RTX5090": "RTX_5090",
    "A6000": "RTX_A6000",
    "H200_SXM": "H200",
}
_TYPES = {runpod_id: gpu_type for gpu_type, ids in RUNPOD_IDS.items() for runpod_id in ids}


def gpu_type_of(runpod_id: str) -> str | None:
    """Our name for it; None for a GPU that we know nothing of."""
    return _TYPES.get(runpod_id)


def canonical_gpu_type(name: str) -> str:
    """Our name for what a person wrote: `h100 pcie`, `A100_SXM` or RunPod's own id.

    Raises:
        InvalidMachineRequest: RunPod has none of that name.
    """
    if name in _TYPES:
        return _TYPES[name]
    key = re.sub(r"[\s_-]+", "_", name.strip()).upper().removeprefix("NVIDIA_")
    key = _ALIASES.get(key, key)
    if key in RUNPOD_IDS:
        return key
    near = [known for known in RUNPOD_IDS if key and known.startswith(key)]
    near = near or get_close_matches(key, RUNPOD_IDS, cutoff=0.5)
    raise InvalidMachineRequest(
        f"{name!r} is no GPU type at RunPod; "
        + (f"near it: {', '.join(near)}." if near else f"there are {', '.join(RUNPOD_IDS)}.")
    )
