"""Where a pod can be placed, and the refusals: rules that the schema cannot state, and capacity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.runpod.catalogue import DATA_CENTRES, Catalogue, suits_cuda
from tests.fakes.runpod.problem import NO_CAPACITY, Refusal


@dataclass(frozen=True)
class Place:
    """What a pod gets, and what it takes from the stock."""

    offer_id: str
    count: int
    data_centre: str
    cloud: str
    usd_per_hour: float
    cuda_version: str | None
    memory_gb: int = 0


def check_rules(order: dict[str, Any]) -> None:
    """Raises Refusal 400 for what breaks a rule between fields."""
    if ("gpu" in order) == ("cpu" in order):
        raise Refusal(400, "exactly one of gpu or cpu must be set")
    mounts = order.get("mounts", {})
    if "persistent" in mounts and "network" in mounts:
        raise Refusal(400, "mounts.persistent and mounts.network are mutually exclusive")
    if "persistent" in mounts and "cpu" in order:
        raise Refusal(400, "mounts.persistent is invalid for CPU pods")
    if mounts.get("network") and order.get("cloud") == "COMMUNITY":
        raise Refusal(400, "network volumes are only available in secure cloud")
    gpu = order.get("gpu", {})
    if gpu.get("allowedCudaVersions") and "minCudaVersion" in gpu:
        raise Refusal(400, "allowedCudaVersions and minCudaVersion are mutually exclusive")


def find_place(
    order: dict[str, Any], catalogue: Catalogue, volumes: Mapping[str, dict[str, Any]]
) -> Place:
    """The first data centre that has what is asked; Refusal 400 if none has."""
    cloud = str(order.get("cloud", "SECURE"))
    wanted = list(order.get("dataCenterIds") or DATA_CENTRES)
    for mount in order.get("mounts", {}).get("network", []):
        if mount["volumeId"] not in volumes:
            raise Refusal(400, f"network volume {mount['volumeId']} not found")
        home = volumes[mount["volumeId"]]["dataCenter"]
        wanted = [place for place in wanted if place == home]
    for data_centre in wanted:
        place = _in(data_centre, cloud, order, catalogue)
        if catalogue.stock(place.offer_id, data_centre, cloud) >= place.count:
            return place
    raise Refusal(400, NO_CAPACITY)


def _in(data_centre: str, cloud: str, order: dict[str, Any], catalogue: Catalogue) -> Place:
    if "cpu" in order:
        return _cpu(data_centre, cloud, order["cpu"], catalogue)
    wanted = order["gpu"]
    gpu = catalogue.gpus.get(wanted["id"])
    if gpu is None:
        raise Refusal(400, f"unknown gpu type {wanted['id']}")
    count = int(wanted.get("count", 1))
    cuda = wanted.get("allowedCudaVersions", ()), wanted.get("minCudaVersion")
    if count > gpu.max_count or not suits_cuda(gpu.cuda_version, *cuda):
        raise Refusal(400, NO_CAPACITY)
    usd_per_hour = round(gpu.usd_per_hour(cloud) * count, 4)
    return Place(gpu.id, count, data_centre, cloud, usd_per_hour, gpu.cuda_version)


def _cpu(data_centre: str, cloud: str, wanted: dict[str, Any], catalogue: Catalogue) -> Place:
    cpu = catalogue.cpus.get(wanted["id"])
    if cpu is None:
        raise Refusal(400, f"unknown cpu flavor {wanted['id']}")
    count = int(wanted["vcpuCount"])
    if count.bit_count() != 1 or not cpu.min_vcpu <= count <= cpu.max_vcpu:
        raise Refusal(400, f"vcpuCount {count} is not valid for {cpu.id}")
    usd_per_hour = round(cpu.usd_per_vcpu_hour * count, 4)
    return Place(cpu.id, 1, data_centre, cloud, usd_per_hour, None, count * cpu.gb_per_vcpu)
