"""What a provider offers, remembered for as long as somebody chooses: typing asks nobody anew."""

from __future__ import annotations

from collections.abc import Sequence

from shared.machine_request import Candidate, Cloud
from tui.services.providers.provider import DataCenter, NetworkVolume, Provider

_Asked = tuple[tuple[str, ...], int, tuple[Cloud, ...]]


class RentCatalogue:
    """The questions of `plan_rent`; each is put to the provider once. Errors are the provider's."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._offers: dict[_Asked, list[Candidate]] = {}
        self._volumes: list[NetworkVolume] | None = None
        self._data_centers: list[DataCenter] | None = None

    def forget(self) -> None:
        """Ask the provider anew from now on."""
        self._offers.clear()
        self._volumes = self._data_centers = None

    async def offers(
        self, gpu_types: Sequence[str], gpu_count: int, clouds: Sequence[Cloud]
    ) -> list[Candidate]:
        """As the provider's."""
        asked = (tuple(gpu_types), gpu_count, tuple(clouds))
        if asked not in self._offers:
            self._offers[asked] = await self._provider.offers(gpu_types, gpu_count, clouds)
        return list(self._offers[asked])

    async def volumes(self) -> list[NetworkVolume]:
        """As the provider's."""
        if self._volumes is None:
            self._volumes = await self._provider.volumes()
        return list(self._volumes)

    async def data_centers(self) -> list[DataCenter]:
        """As the provider's."""
        if self._data_centers is None:
            self._data_centers = await self._provider.data_centers()
        return list(self._data_centers)
