"""Data centres and network volumes of RunPod: what belongs together, and what a volume costs.

A volume is in one data centre, and only machines of the secure cloud there can use it. Knows no
network.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from pydantic import Field

from shared.clean_text import clean_line
from shared.errors import InvalidMachineRequest
from tui.services.providers.provider import DataCenter, NetworkVolume
from tui.services.providers.runpod.answer_model import AnswerModel

USD_PER_GB_MONTH = 0.07
USD_PER_GB_MONTH_ABOVE = 0.05
CHEAPER_ABOVE_GB = 1000
"""Of standard network volumes: the first terabyte, and what is above it; billed by the hour.

Source: docs.runpod.io/get-started/billing-information and /serverless/storage/network-volumes,
read 2026-11. They say "1TB", which is taken for 1000 GB. The API tells no price.
"""

STANDARD = "STANDARD"
SMALLEST_GB = 10
LARGEST_GB = 4096
"""Of a network volume, by the API's description (2026-08)."""


class Volume(AnswerModel):
    """A network volume as RunPod writes it."""

    id: str = Field(min_length=1)
    name: str
    size: int
    dataCenter: str
    type: str = STANDARD

    def network_volume(self) -> NetworkVolume:
        """In the words of every provider."""
        price = usd_per_month(self.size) if self.type == STANDARD else None
        return NetworkVolume(self.id, self.name, self.size, self.dataCenter, price)


class VolumeList(AnswerModel):
    networkVolumes: list[Volume]


class Place(AnswerModel):
    """A data centre as RunPod writes it."""

    id: str
    name: str
    networkVolumeTypes: list[str] = Field(default_factory=list)

    def data_center(self) -> DataCenter:
        """In the words of every provider."""
        return DataCenter(self.id, self.name, bool(self.networkVolumeTypes))


class PlaceList(AnswerModel):
    dataCenters: list[Place]


def usd_per_month(size_gb: int) -> float:
    """Of a standard network volume, by the published price."""
    above = max(size_gb - CHEAPER_ABOVE_GB, 0)
    return round((size_gb - above) * USD_PER_GB_MONTH + above * USD_PER_GB_MONTH_ABOVE, 2)


def known_data_center(data_center: str, known: Sequence[DataCenter]) -> DataCenter:
    """The one of that id, in any case.

    Raises:
        InvalidMachineRequest: there is none; names near ones.
    """
    ids = {place.data_center_id.upper(): place for place in known}
    wanted = data_center.strip().upper()
    if wanted in ids:
        return ids[wanted]
    near = get_close_matches(wanted, ids, n=5, cutoff=0.6)
    near = near or [each for each in ids if each.split("-")[0] == wanted.split("-")[0]]
    names = ", ".join(ids[each].data_center_id for each in near or sorted(ids))
    raise InvalidMachineRequest(
        f"RunPod has no data centre {clean_line(data_center)!r}; "
        f"{'near it' if near else 'there are'}: {names or 'none at all'}."
    )


def volume_in(
    volume_id: str, data_center: str | None, known: Sequence[NetworkVolume]
) -> NetworkVolume:
    """The volume, if it is where the machine is to be; None asks for no place.

    Raises:
        InvalidMachineRequest: there is none of that id, or it is elsewhere; says where.
    """
    for volume in known:
        if volume.volume_id != volume_id:
            continue
        if data_center in (None, volume.data_center):
            return volume
        here = [each.volume_id for each in known if each.data_center == data_center]
        raise InvalidMachineRequest(
            f"The volume {volume_id} is in {volume.data_center}, not in {data_center}: a volume "
            f"cannot leave its data centre. Ask for {volume.data_center}, or for a volume in "
            f"{data_center} (there: {', '.join(here) or 'none'})."
        )
    there = ", ".join(f"{each.volume_id} in {each.data_center}" for each in known)
    raise InvalidMachineRequest(
        f"The account has no volume {clean_line(volume_id)!r}; it has: {there or 'none'}."
    )


def check_new_volume(name: str, size_gb: int, place: Place) -> None:
    """Raises:
    InvalidMachineRequest: RunPod has no such volumes, or none there.
    """
    if not name.strip():
        raise InvalidMachineRequest("A volume needs a name.")
    if not SMALLEST_GB <= size_gb <= LARGEST_GB:
        raise InvalidMachineRequest(
            f"A volume of {size_gb} GB is not to be had: from {SMALLEST_GB} to {LARGEST_GB} GB."
        )
    if not place.networkVolumeTypes:
        raise InvalidMachineRequest(f"{place.id} has no network volumes: choose another place.")
