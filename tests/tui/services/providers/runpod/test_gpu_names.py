"""Names of GPU types, ours and RunPod's."""

from __future__ import annotations

import pytest

from shared.errors import InvalidMachineRequest
from shared.memory.cards import CARDS
from tui.services.providers.runpod.gpu_names import RUNPOD_IDS, canonical_gpu_type, gpu_type_of


def test_every_type_that_is_rented_is_one_whose_memory_is_known() -> None:
    assert set(RUNPOD_IDS) <= set(CARDS)


def test_no_id_of_runpod_stands_for_two_types() -> None:
    ids = [each for group in RUNPOD_IDS.values() for each in group]

    assert len(ids) == len(set(ids))
    assert all(gpu_type_of(each) is not None for each in ids)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("H100_PCIE", "H100_PCIE"),
        ("h100 pcie", "H100_PCIE"),
        ("NVIDIA H100 PCIe", "H100_PCIE"),
        ("NVIDIA H100 80GB HBM3", "H100_SXM"),
        ("h100-nvl", "H100_NVL"),
        ("A100_SXM", "A100_80GB"),
        ("NVIDIA A100-SXM4-80GB", "A100_80GB"),
        ("rtx 4090", "RTX_4090"),
    ],
)
def test_what_people_write_is_understood(written: str, meant: str) -> None:
    assert canonical_gpu_type(written) == meant


@pytest.mark.parametrize(
    ("written", "named"),
    [("H100", "H100_PCIE, H100_SXM, H100_NVL"), ("H100_PCI", "H100_PCIE"), ("zx81", "A100_80GB")],
)
def test_an_unknown_type_is_refused_with_near_ones(written: str, named: str) -> None:
    with pytest.raises(InvalidMachineRequest, match=named):
        canonical_gpu_type(written)


def test_a_gpu_that_nobody_knows_has_no_type() -> None:
    assert gpu_type_of("NVIDIA Z9000") is None
