"""Candidates and CPU flavours out of RunPod's catalogue."""

from __future__ import annotations

from typing import Any

from shared.machine_request import Candidate, Cloud, Stock
from tui.services.providers.runpod.catalogue import (
    CpuType,
    GpuType,
    candidates,
    ids_for,
    smallest_cpus,
)


def _gpu(gpu_id: str, secure: float, community: float, **fields: Any) -> GpuType:
    return GpuType.model_validate(
        {
            "id": gpu_id,
            "secure": secure > 0,
            "community": community > 0,
            "price": {"secure": secure, "community": community},
            "maxCount": {"secure": 8, "community": 4},
            **fields,
        }
    )


def _places(**stocks: str) -> list[dict[str, str]]:
    return [
        {"id": name.replace("_", "-"), "name": name, "availability": level}
        for name, level in stocks.items()
    ]


H100 = _gpu("NVIDIA H100 PCIe", 2.0, 1.5, dataCenters=_places(US_KS_2="LOW", EU_RO_1="NONE"))
PCIE = _gpu("NVIDIA A100 80GB PCIe", 1.2, 0, dataCenters=_places(US_KS_2="NONE", EU_RO_1="HIGH"))
SXM = _gpu("NVIDIA A100-SXM4-80GB", 1.4, 0, dataCenters=_places(US_KS_2="LOW", EU_RO_1="LOW"))


def _summary(found: list[Candidate]) -> list[tuple[str | None, float, str]]:
    return [(each.data_center, each.usd_per_hour, each.stock.value) for each in found]


def test_each_data_centre_has_its_own_candidate_sold_out_or_not() -> None:
    found = candidates([H100, SXM], ["H100_PCIE"], 2, Cloud.SECURE)

    assert _summary(found) == [("US-KS-2", 4.0, "low"), ("EU-RO-1", 4.0, "none")]
    assert {each.gpu_count for each in found} == {2}


def test_a_cloud_that_names_no_place_has_one_candidate_for_anywhere() -> None:
    sold_out = _gpu("NVIDIA H100 PCIe", 2.0, 1.5)
    some_left = _gpu("NVIDIA H100 PCIe", 2.0, 1.5, availability="MEDIUM")

    assert _summary(candidates([sold_out], ["H100_PCIE"], 1, Cloud.COMMUNITY)) == [
        (None, 1.5, "none")
    ]
    assert _summary(candidates([some_left], ["H100_PCIE"], 1, Cloud.COMMUNITY)) == [
        (None, 1.5, "medium")
    ]


def test_what_a_cloud_does_not_sell_in_that_number_is_no_candidate() -> None:
    assert candidates([H100], ["H100_PCIE"], 8, Cloud.COMMUNITY) == []
    assert candidates([PCIE], ["A100_80GB"], 1, Cloud.COMMUNITY) == []


def test_a_type_with_two_ids_has_one_candidate_a_place_the_one_that_can_be_had() -> None:
    found = candidates([PCIE, SXM], ["A100_80GB"], 1, Cloud.SECURE)

    assert _summary(found) == [("EU-RO-1", 1.2, "high"), ("US-KS-2", 1.4, "low")]


def test_a_rented_id_never_costs_more_than_the_candidate_says() -> None:
    cheap, dear = (
        Candidate(gpu_type="A100_80GB", data_center="US-KS-2", usd_per_hour=price)
        for price in (1.2, 1.4)
    )

    assert ids_for(cheap, [PCIE, SXM]) == ["NVIDIA A100 80GB PCIe"]
    assert ids_for(dear, [PCIE, SXM]) == ["NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB PCIe"]
    assert ids_for(cheap.model_copy(update={"usd_per_hour": 1.0}), [PCIE, SXM]) == []


def test_an_unknown_stock_level_counts_as_little() -> None:
    gpu = _gpu("NVIDIA H200", 3.0, 0, dataCenters=_places(US_KS_2="PLENTY"))

    assert candidates([gpu], ["H200"], 1, Cloud.SECURE)[0].stock is Stock.LOW


def test_the_smallest_cpu_machine_is_the_cheapest_that_is_in_stock_there() -> None:
    def cpu(flavor: str, price: float, fewest: int, **stocks: str) -> CpuType:
        return CpuType.model_validate(
            {
                "id": flavor,
                "vcpu": {"min": fewest, "max": 32},
                "price": {"securePerVcpu": price},
                "dataCenters": _places(**stocks),
            }
        )

    dear = cpu("dear", 0.05, 2, US_KS_2="HIGH")
    many = cpu("many", 0.03, 3, US_KS_2="HIGH")
    gone = cpu("gone", 0.01, 2, US_KS_2="NONE", EU_RO_1="HIGH")

    assert many.vcpu_count == 4
    assert [each.id for each in smallest_cpus([many, dear, gone], "US-KS-2")] == ["dear", "many"]
    assert smallest_cpus([many, dear, gone], None)[0].id == "gone"
    assert smallest_cpus([dear], "EU-RO-1") == []
