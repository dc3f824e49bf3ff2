"""RunPod's catalogue: what there is, what it costs, and how much of it is left.

Every price comes from here. One call of the catalogue tells of one cloud; each data centre has its
own stock level. Knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from shared.machine_request import Candidate, Cloud, Stock
from tui.services.providers.runpod.answer_model import AnswerModel
from tui.services.providers.runpod.gpu_names import RUNPOD_IDS, gpu_type_of

SMALLEST_VCPU_COUNT = 2


class _Availability(AnswerModel):
    id: str
    availability: str

    @property
    def stock(self) -> Stock:
        return _stock(self.availability)


class _GpuPrice(AnswerModel):
    secure: float = 0.0
    community: float = 0.0


class _MaxCount(AnswerModel):
    secure: int = 8
    community: int = 8


class GpuType(AnswerModel):
    """One GPU type of the catalogue, as of one cloud."""

    id: str
    secure: bool = False
    community: bool = False
    price: _GpuPrice
    maxCount: _MaxCount = _MaxCount()
    availability: str | None = None
    dataCenters: list[_Availability] | None = None

    def is_sold_in(self, cloud: Cloud, gpu_count: int) -> bool:
        """It exists there in that number, sold out or not."""
        if cloud is Cloud.SECURE:
            return self.secure and self.maxCount.secure >= gpu_count and self.price.secure > 0
        return self.community and self.maxCount.community >= gpu_count and self.price.community > 0

    def usd_per_hour(self, cloud: Cloud, gpu_count: int) -> float:
        """Of the whole machine."""
        each = self.price.secure if cloud is Cloud.SECURE else self.price.community
        return round(each * gpu_count, 6)

    def stock_in(self, data_center: str | None) -> Stock:
        """In that data centre; None asks for the best of all."""
        if data_center is None:
            return _stock(self.availability or "NONE")
        stocks = [place.stock for place in self.dataCenters or () if place.id == data_center]
        return max(stocks, key=lambda stock: stock.rank, default=Stock.NONE)

    def candidates(self, gpu_type: str, gpu_count: int, cloud: Cloud) -> list[Candidate]:
        """One for each data centre that is named, else one for anywhere."""
        places: list[tuple[str | None, Stock]] = [
            (place.id, place.stock) for place in self.dataCenters or ()
        ]
        return [
            Candidate(
                gpu_type=gpu_type,
                gpu_count=gpu_count,
                cloud=cloud,
                data_center=data_center,
                usd_per_hour=self.usd_per_hour(cloud, gpu_count),
                stock=stock,
            )
            for data_center, stock in places or [(None, self.stock_in(None))]
        ]


class GpuList(AnswerModel):
    gpus: list[GpuType]


class _Vcpu(AnswerModel):
    min: int
    max: int


class _CpuPrice(AnswerModel):
    securePerVcpu: float


class CpuType(AnswerModel):
    """One CPU flavour of the catalogue."""

    id: str
    vcpu: _Vcpu
    price: _CpuPrice
    dataCenters: list[_Availability] = Field(default_factory=list)

    @property
    def vcpu_count(self) -> int:
        """The fewest that it is sold with: a power of two."""
        fewest = max(self.vcpu.min, SMALLEST_VCPU_COUNT)
        return 1 << (fewest - 1).bit_length()

    @property
    def usd_per_hour(self) -> float:
        return round(self.price.securePerVcpu * self.vcpu_count, 6)

    def is_in_stock(self, data_center: str | None) -> bool:
        return any(
            place.stock is not Stock.NONE and data_center in (None, place.id)
            for place in self.dataCenters
        )


class CpuList(AnswerModel):
    cpus: list[CpuType]


def candidates(
    gpus: Sequence[GpuType], gpu_types: Sequence[str], gpu_count: int, cloud: Cloud
) -> list[Candidate]:
    """Of our types, one for each data centre.

    Where a type of ours stands for several of RunPod's, the one that can be had, else the cheaper.
    """
    best: dict[tuple[str, str | None], Candidate] = {}
    for gpu in gpus:
        gpu_type = gpu_type_of(gpu.id)
        if gpu_type is None or gpu_type not in gpu_types:
            continue
        if not gpu.is_sold_in(cloud, gpu_count):
            continue
        for candidate in gpu.candidates(gpu_type, gpu_count, cloud):
            key = (gpu_type, candidate.data_center)
            if key not in best or _preference(candidate) < _preference(best[key]):
                best[key] = candidate
    return sorted(best.values(), key=lambda each: (each.usd_per_hour, -each.stock.rank))


def ids_for(candidate: Candidate, gpus: Sequence[GpuType]) -> list[str]:
    """RunPod's ids of the candidate's type that cost no more than it says; the likeliest first."""
    fitting = [
        gpu
        for gpu in gpus
        if gpu.id in RUNPOD_IDS[candidate.gpu_type]
        and gpu.is_sold_in(candidate.cloud, candidate.gpu_count)
        and gpu.usd_per_hour(candidate.cloud, candidate.gpu_count) <= candidate.usd_per_hour + 1e-6
    ]
    fitting.sort(
        key=lambda gpu: (
            gpu.stock_in(candidate.data_center) is Stock.NONE,
            gpu.usd_per_hour(candidate.cloud, candidate.gpu_count),
        )
    )
    return [gpu.id for gpu in fitting]


def smallest_cpus(cpus: Sequence[CpuType], data_center: str | None) -> list[CpuType]:
    """What is in stock there, the cheapest first."""
    in_stock = [cpu for cpu in cpus if cpu.is_in_stock(data_center)]
    return sorted(in_stock, key=lambda cpu: cpu.usd_per_hour)


def _preference(candidate: Candidate) -> tuple[bool, float]:
    return candidate.stock is Stock.NONE, candidate.usd_per_hour


def _stock(word: str) -> Stock:
    """A level that we do not know counts as little: trying costs nothing."""
    try:
        return Stock(word.lower())
    except ValueError:
        return Stock.LOW
