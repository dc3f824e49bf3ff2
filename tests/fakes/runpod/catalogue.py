"""What the fake rents: GPU types, CPU flavours, data centres, prices and stock.

All figures are made. Only the ids of GPUs are RunPod's own; prices and stock are for tests to set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

PLENTY = 32

# Regions, as the catalogue calls them; the country is the id's first part.
DATA_CENTRES = {
    "US-KS-2": ("US Kansas 2", "NORTH_AMERICA"),
    "US-TX-3": ("US Texas 3", "NORTH_AMERICA"),
    "EU-RO-1": ("EU Romania 1", "EUROPE"),
    "CA-MTL-1": ("CA Montreal 1", "NORTH_AMERICA"),
}


@dataclass
class Gpu:
    """A GPU type as the catalogue shows it; prices per GPU and hour."""

    id: str
    name: str
    memory_gb: int
    secure_usd_per_hour: float
    community_usd_per_hour: float
    driver_memory_mib: int
    """What the driver reports as total on such a card."""
    max_count: int = 8
    cuda_version: str = "12.8"
    driver_version: str = "570.86.15"

    def usd_per_hour(self, cloud: str) -> float:
        """The list price of one."""
        return self.secure_usd_per_hour if cloud == "SECURE" else self.community_usd_per_hour


@dataclass(frozen=True)
class Cpu:
    """A CPU flavour; its price is per vCPU and hour."""

    id: str
    name: str
    usd_per_vcpu_hour: float
    gb_per_vcpu: int
    min_vcpu: int = 2
    max_vcpu: int = 32


def _gpus() -> dict[str, Gpu]:
    gpus = [
        Gpu("NVIDIA H100 PCIe", "H100 PCIe", 80, 2.39, 1.99, 81_559),
        Gpu("NVIDIA H100 80GB HBM3", "H100 SXM", 80, 2.99, 2.69, 81_559),
        Gpu("NVIDIA H100 NVL", "H100 NVL", 94, 2.79, 2.59, 95_830),
        Gpu("NVIDIA A100 80GB PCIe", "A100 PCIe", 80, 1.64, 1.19, 81_920),
        Gpu("NVIDIA A100-SXM4-80GB", "A100 SXM", 80, 1.89, 1.49, 81_920),
    ]
    return {gpu.id: gpu for gpu in gpus}


def _cpus() -> dict[str, Cpu]:
    cpus = [
        Cpu("cpu3c", "Compute-Optimized", 0.03, 2),
        Cpu("cpu5c", "Compute-Optimized 5", 0.035, 2),
        Cpu("cpu3g", "General Purpose", 0.04, 4),
    ]
    return {cpu.id: cpu for cpu in cpus}


@dataclass
class Catalogue:
    """Prices, stock and where things stand."""

    gpus: dict[str, Gpu] = field(default_factory=_gpus)
    cpus: dict[str, Cpu] = field(default_factory=_cpus)
    _stock: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def restock(self) -> None:
        """There is plenty of everything again."""
        self._stock.clear()

    def set_stock(
        self, count: int, id: str | None = None, data_centre: str | None = None, cloud: str = ""
    ) -> None:
        """GPUs (or pods of a CPU flavour) that are free; what is not named means all."""
        for each in [id] if id else [*self.gpus, *self.cpus]:
            for place in [data_centre] if data_centre else DATA_CENTRES:
                for tier in [cloud] if cloud else ["SECURE", "COMMUNITY"]:
                    self._stock[each, place, tier] = count

    def set_price(self, gpu_id: str, usd_per_hour: float, cloud: str = "") -> None:
        """The list price of one GPU from now on; without `cloud`, of both."""
        if cloud != "COMMUNITY":
            self.gpus[gpu_id].secure_usd_per_hour = usd_per_hour
        if cloud != "SECURE":
            self.gpus[gpu_id].community_usd_per_hour = usd_per_hour

    def stock(self, id: str, data_centre: str, cloud: str) -> int:
        """How many are free there."""
        if data_centre not in DATA_CENTRES or (id in self.cpus and cloud != "SECURE"):
            return 0
        return self._stock.get((id, data_centre, cloud), PLENTY)

    def take(self, id: str, data_centre: str, cloud: str, count: int) -> None:
        """Rent some; a negative count gives back."""
        self._stock[id, data_centre, cloud] = self.stock(id, data_centre, cloud) - count

    def gpu_entry(self, gpu: Gpu, query: dict[str, Any]) -> dict[str, Any]:
        """A GPU type as the catalogue answers; `query` is decoded."""
        entry: dict[str, Any] = {
            "id": gpu.id,
            "name": gpu.name,
            "pool": None,
            "manufacturer": "NVIDIA",
            "memory": gpu.memory_gb,
            "secure": True,
            "community": True,
            "price": {"secure": gpu.secure_usd_per_hour, "community": gpu.community_usd_per_hour},
            "maxCount": {"secure": gpu.max_count, "community": gpu.max_count},
        }
        if "include" in query:
            cloud = query.get("cloud", "SECURE")
            fits = suits_cuda(
                gpu.cuda_version, query.get("cudaVersions", ()), query.get("minCudaVersion")
            )
            places = self._places(query.get("countryCodes")) if fits else []
            entry |= self._availability(gpu.id, cloud, query.get("count", 1), places)
            if fits:
                available = entry["availability"] != "NONE"
                entry["cudaVersions"] = [{"version": gpu.cuda_version, "available": available}]
        return entry

    def cpu_entry(self, cpu: Cpu, query: dict[str, Any]) -> dict[str, Any]:
        """A CPU flavour as the catalogue answers."""
        entry: dict[str, Any] = {
            "id": cpu.id,
            "name": cpu.name,
            "group": cpu.name,
            "vcpu": {"min": cpu.min_vcpu, "max": cpu.max_vcpu},
            "ramGbPerVcpu": cpu.gb_per_vcpu,
            "price": {
                "securePerVcpu": cpu.usd_per_vcpu_hour,
                "serverlessPerVcpu": cpu.usd_per_vcpu_hour,
            },
        }
        if "include" in query:
            entry |= self._availability(cpu.id, "SECURE", 1, list(DATA_CENTRES))
        return entry

    def data_centre_entry(self, id: str, include: Sequence[str]) -> dict[str, Any]:
        """A data centre as the catalogue answers."""
        name, region = DATA_CENTRES[id]
        entry: dict[str, Any] = {
            "id": id,
            "name": name,
            "region": region,
            "globalNetwork": True,
            "networkVolumeTypes": ["STANDARD"],
            "compliance": [],
        }
        kinds: list[tuple[str, dict[str, Any]]] = [("GPU", self.gpus), ("CPU", self.cpus)]
        for kind, offers in kinds:
            if f"{kind}_AVAILABILITY" in include:
                entry[f"{kind.lower()}Availability"] = [
                    {"id": each.id, "name": each.name, "availability": level(stock)}
                    for each in offers.values()
                    if (stock := self.stock(each.id, id, "SECURE")) > 0
                ]
        return entry

    def _places(self, countries: Sequence[str] | None) -> list[str]:
        return [id for id in DATA_CENTRES if countries is None or id[:2] in countries]

    def _availability(self, id: str, cloud: str, count: int, places: list[str]) -> dict[str, Any]:
        stocks = {place: self.stock(id, place, cloud) for place in places}
        centres = [
            {"id": place, "name": DATA_CENTRES[place][0], "availability": level(stock)}
            for place, stock in stocks.items()
            if stock >= count
        ]
        if not centres:
            return {"availability": "NONE"}
        return {"availability": level(max(stocks.values())), "dataCenters": centres}


def level(stock: int) -> str:
    """Stock in the catalogue's words; where one ends and the next begins is made."""
    if stock <= 0:
        return "NONE"
    return "LOW" if stock < 4 else "MEDIUM" if stock < 16 else "HIGH"


def suits_cuda(version: str, exact: Sequence[str], floor: str | None) -> bool:
    """Whether a host with this CUDA version is acceptable; numbers, so 12.11 is above 12.2."""
    if exact:
        return version in exact
    return floor is None or _numbers(version) >= _numbers(floor)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
