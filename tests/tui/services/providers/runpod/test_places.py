"""Data centres and volumes: what belongs together."""

from __future__ import annotations

import pytest

from shared.errors import InvalidMachineRequest
from tui.services.providers.provider import DataCenter, NetworkVolume
from tui.services.providers.runpod.places import (
    Place,
    Volume,
    check_new_volume,
    known_data_center,
    usd_per_month,
    volume_in,
)

PLACES = [DataCenter(each, each, True) for each in ("US-KS-2", "US-TX-3", "EU-RO-1", "CA-MTL-1")]
VOLUMES = [
    NetworkVolume("v1", "one", 100, "EU-RO-1", 7.0),
    NetworkVolume("v2", "two", 100, "US-KS-2", 7.0),
]
PLACE = Place(id="US-KS-2", name="Kansas", networkVolumeTypes=["STANDARD"])


@pytest.mark.parametrize(("size_gb", "price"), [(10, 0.70), (1000, 70.0), (4096, 224.80)])
def test_a_volume_costs_less_for_each_gigabyte_above_the_first_terabyte(
    size_gb: int, price: float
) -> None:
    assert usd_per_month(size_gb) == pytest.approx(price)


def test_nobody_says_what_the_faster_volumes_cost() -> None:
    fields = {"id": "v", "name": "v", "size": 50, "dataCenter": "X"}

    assert Volume(**fields, type="HIGH_PERFORMANCE").network_volume().usd_per_month is None
    assert Volume(**fields, type="STANDARD").network_volume().usd_per_month == 3.5


def test_a_data_centre_is_known_in_any_case() -> None:
    assert known_data_center(" us-ks-2", PLACES).data_center_id == "US-KS-2"


@pytest.mark.parametrize(
    ("asked", "named"),
    [("US-KS-3", "US-KS-2"), ("CA-9", "CA-MTL-1"), ("??", "there are: CA-MTL-1")],
)
def test_an_unknown_data_centre_is_answered_with_near_ones(asked: str, named: str) -> None:
    with pytest.raises(InvalidMachineRequest, match=named):
        known_data_center(asked, PLACES)


def test_a_volume_goes_with_its_data_centre_or_with_none() -> None:
    assert volume_in("v1", "EU-RO-1", VOLUMES) is VOLUMES[0]
    assert volume_in("v1", None, VOLUMES) is VOLUMES[0]


def test_a_volume_elsewhere_says_where_it_is_and_what_is_here() -> None:
    with pytest.raises(InvalidMachineRequest, match=r"is in EU-RO-1, not in US-KS-2.*there: v2"):
        volume_in("v1", "US-KS-2", VOLUMES)


def test_an_unknown_volume_says_which_there_are() -> None:
    with pytest.raises(InvalidMachineRequest, match=r"v1 in EU-RO-1, v2 in US-KS-2"):
        volume_in("v9", None, VOLUMES)


@pytest.mark.parametrize("size_gb", [9, 0, 4097])
def test_a_size_that_is_not_sold_is_refused(size_gb: int) -> None:
    with pytest.raises(InvalidMachineRequest, match="from 10 to 4096 GB"):
        check_new_volume("v", size_gb, PLACE)


def test_a_place_without_volumes_is_refused() -> None:
    with pytest.raises(InvalidMachineRequest, match="US-KS-2 has no network volumes"):
        check_new_volume("v", 50, PLACE.model_copy(update={"networkVolumeTypes": []}))


def test_a_volume_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidMachineRequest, match="needs a name"):
        check_new_volume(" ", 50, PLACE)
