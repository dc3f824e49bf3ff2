"""From what a user wants to the machines that may be rented for a job, before anything is rented.

Asks the provider for its offers, volumes and data centres, and changes nothing there. What follows
from the answers is arithmetic (`rent_options`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from shared.clean_text import clean_line
from shared.errors import (
    InvalidMachineRequest,
    NoCapacity,
    OverBudget,
    TooLittleMemory,
)
from shared.machine_request import (
    DEFAULT_IMAGE,
    DEFAULT_MOUNT_PATH,
    DEFAULT_START_SCRIPT,
    AfterInterruptions,
    Candidate,
    Cloud,
    MachineRequest,
    Stock,
)
from shared.memory.cards import cards_that_fit
from shared.number_text import many
from tui.services.estimate import Volume
from tui.services.model_cache.room import LEAST_GB, Disk, DiskNeed, disk_need, require_room
from tui.services.providers.provider import DataCenter, NetworkVolume, Provider
from tui.services.providers.runpod.gpu_names import RUNPOD_IDS, canonical_gpu_type
from tui.services.providers.runpod.places import known_data_center, usd_per_month, volume_in
from tui.services.rent_options import (
    START_UP_HOURS,
    LeftOut,
    RentOption,
    TrainingWork,
    anywhere,
    gpu_types_that_fit,
    in_fallback_order,
    in_places,
    judge_options,
    options_of,
    stock_words,
)
from tui.services.rent_volumes import NewVolume, new_size_gb, volume_called

LOSS_RULE = (
    "Without a network volume a lost machine loses its checkpoints: the job would begin anew, "
    "and an adapter that has not been brought home yet would be gone."
)
COMMUNITY_RULE = "The community cloud has no network volumes."

InstanceType = Literal["on_demand", "spot"]


@dataclass(frozen=True, slots=True)
class RentWanted:
    """What the user said; None and nothing where it was left open."""

    budget_usd: float | None = None
    """None while nobody has said it: offers can be looked at, and nothing can be rented."""
    gpu_types: tuple[str, ...] = ()
    """In the order in which they are tried; none: those that are large enough, the cheapest
    first."""
    gpu_count: int | None = None
    """None: as many as the job has replicas."""
    clouds: tuple[Cloud, ...] = (Cloud.SECURE,)
    data_centers: tuple[str, ...] = ()
    volume: str | None = None
    """Id or name of a network volume; `new` or `new:GB` for one that is made."""
    instance_type: InstanceType = "on_demand"
    max_duration_hours: float = 24.0
    image: str = DEFAULT_IMAGE
    registry: str | None = None
    """The provider's id of credentials for a private image."""
    start_script: str = DEFAULT_START_SCRIPT
    mount_path: str = DEFAULT_MOUNT_PATH
    container_disk_gb: int | None = None
    """None: room for the model, where there is no volume."""
    max_interruptions: int = 3
    after_interruptions: AfterInterruptions = AfterInterruptions.ASK
    wait_for_stock_hours: float = 1.0
    ignore_memory: bool = False


@dataclass(frozen=True, slots=True)
class RentPlan:
    """What would be rented, complete but for the user's consent."""

    wanted: RentWanted
    work: TrainingWork
    options: tuple[RentOption, ...]
    """In the order in which they are tried; at least one."""
    left_out: tuple[LeftOut, ...] = ()
    volume: NetworkVolume | None = None
    new_volume: NewVolume | None = None
    """To be made first; at most one of the two."""

    @property
    def is_sold_out(self) -> bool:
        """The catalogue has none of them at this moment."""
        return all(option.candidate.stock is Stock.NONE for option in self.options)

    @property
    def keeps_results(self) -> bool:
        """True with a network volume."""
        return self.volume is not None or self.new_volume is not None

    @property
    def container_disk_gb(self) -> int:
        """Of the machine's own disk, which goes with it."""
        given = self.wanted.container_disk_gb
        if given is not None:
            return given
        return LEAST_GB if self.keeps_results else self.disk_need.size_gb

    @property
    def disk_need(self) -> DiskNeed:
        """Of the disk that holds the base model, the training stack and what the job writes."""
        taken = self.work.taken_bytes.get(self.volume.volume_id, 0) if self.volume else 0
        return disk_need(self.work.spec, self.work.found, taken_bytes=taken)

    @property
    def disk(self) -> Disk:
        """Which of the disks that is."""
        if self.volume is not None:
            return Disk("volume", self.volume.size_gb, self.volume.name)
        if self.new_volume is not None:
            return Disk("new volume", self.new_volume.size_gb, self.new_volume.name)
        return Disk("container", self.container_disk_gb)

    @property
    def volume_usd_per_month(self) -> float | None:
        """What the volume costs on and on, with or without a machine."""
        volume = self.new_volume or self.volume
        return None if volume is None else volume.usd_per_month

    def request(
        self,
        *,
        volume: NetworkVolume | None = None,
        candidates: Sequence[Candidate] | None = None,
    ) -> MachineRequest:
        """What is rented by, with the volume that was made, and in the user's own order.

        Raises:
            InvalidMachineRequest: there is no budget, the new volume is missing, or a figure is
                out of its range.
        """
        if self.wanted.budget_usd is None:
            raise InvalidMachineRequest(BUDGET_MISSING)
        if self.new_volume is not None and volume is None:
            raise InvalidMachineRequest("The network volume has to be made first.")
        wanted, kept = self.wanted, volume or self.volume
        chosen = [each.candidate for each in self.options] if candidates is None else candidates
        try:
            return MachineRequest(
                candidates=tuple(chosen),
                network_volume_id=None if kept is None else kept.volume_id,
                network_volume_usd_per_month=None if kept is None else kept.usd_per_month,
                image=wanted.image,
                registry=wanted.registry,
                start_script=wanted.start_script,
                mount_path=wanted.mount_path,
                container_disk_gb=self.container_disk_gb,
                budget_usd=self.wanted.budget_usd,
                max_duration_hours=wanted.max_duration_hours,
                max_interruptions=wanted.max_interruptions,
                after_interruptions=wanted.after_interruptions,
                wait_for_stock_hours=wanted.wait_for_stock_hours,
            )
        except ValidationError as error:
            raise InvalidMachineRequest(_first_problem(error)) from error

    def require_stock(self) -> None:
        """Refuse to begin where nothing is to be had and nobody wants to wait.

        Raises:
            NoCapacity: every candidate is sold out; lists them all.
        """
        if self.is_sold_out and self.wanted.wait_for_stock_hours == 0:
            raise NoCapacity(
                f"Nothing is in stock now: {stock_words(self.options)}. Nothing was rented. Let "
                "the job wait for stock (--wait-hours), or name other GPU types, clouds or data "
                "centres."
            )


BUDGET_MISSING = (
    "A rented job needs a cap on what it may cost, for all of its machines together: "
    "--budget USD. Nothing was rented."
)


async def plan_rent(provider: Provider, wanted: RentWanted, work: TrainingWork) -> RentPlan:
    """Ask what is to be had now, and put it in order. Rents nothing.

    Raises:
        InvalidMachineRequest: something was asked for that there is not, or a disk is too small;
            says what there is, or what would do.
        TooLittleMemory: the job fits into none of the GPUs.
        OverBudget: the budget does not pay for the cheapest of them.
        ProviderError: see `shared.errors`.
    """
    gpu_types = _gpu_types(wanted, work)
    gpu_count = _gpu_count(wanted, work)
    if wanted.instance_type == "spot":
        raise InvalidMachineRequest(await _no_spot(provider, gpu_types, gpu_count))
    _require_cloud(wanted)
    volume, places = await _places(provider, wanted)
    offers = await provider.offers(gpu_types, gpu_count, wanted.clouds)
    if places is None and not wanted.volume:
        offers = anywhere(offers)
    elif places is not None:
        offers = in_places(offers, places)
    if not offers:
        raise InvalidMachineRequest(
            f"RunPod has no {' or '.join(gpu_types)} ({many(gpu_count, 'GPU')} a machine, "
            f"{' or '.join(wanted.clouds)}), sold out or not. Name other GPU types or clouds."
        )
    order = gpu_types if wanted.gpu_types else ()
    options, left_out = judge_options(
        in_fallback_order(options_of(offers, work, _storage(volume)), order),
        wanted.budget_usd,
        ignore_memory=wanted.ignore_memory,
    )
    if not options:
        _refuse(wanted, left_out)
    new_volume = None
    if volume is None and wanted.volume:
        new_volume = await _new_volume(provider, wanted, work, options)
        place = new_volume.data_center
        there = [each.candidate for each in options if each.candidate.data_center == place]
        options = options_of(there, work, Volume(None, new_volume.usd_per_month))
    plan = RentPlan(wanted, work, tuple(options), tuple(left_out), volume, new_volume)
    require_room(plan.disk_need, plan.disk)
    return plan


def _storage(volume: NetworkVolume | None) -> Volume | None:
    return None if volume is None else Volume(volume.volume_id, volume.usd_per_month)


def _gpu_types(wanted: RentWanted, work: TrainingWork) -> list[str]:
    """In the user's order; else all that are large enough."""
    if wanted.gpu_types:
        return list(dict.fromkeys(canonical_gpu_type(name) for name in wanted.gpu_types))
    found = gpu_types_that_fit(work, RUNPOD_IDS)
    if found:
        return found
    if work.found.shape is None:
        raise InvalidMachineRequest(
            f"How much memory the job needs is not known ({clean_line(work.found.reason)}), so "
            "nobody can say which GPU is large enough: name one, such as --gpu H100_PCIE."
        )
    raise TooLittleMemory("The job fits into no GPU that RunPod has, by the prediction.")


def _gpu_count(wanted: RentWanted, work: TrainingWork) -> int:
    count, replicas = wanted.gpu_count or work.spec.num_gpus, work.spec.num_gpus
    if count < replicas:
        raise InvalidMachineRequest(
            f"The job trains on {many(replicas, 'GPU')} (num_gpus), and the machine would have "
            f"{count}: raise --gpu-count, or lower num_gpus."
        )
    return count


def _require_cloud(wanted: RentWanted) -> None:
    if not wanted.clouds:
        raise InvalidMachineRequest("Choose a cloud: secure or community.")
    if wanted.volume and Cloud.COMMUNITY in wanted.clouds:
        raise InvalidMachineRequest(
            f"{COMMUNITY_RULE} Take --cloud secure with the volume, or community without one: "
            f"{LOSS_RULE[0].lower()}{LOSS_RULE[1:]}"
        )


async def _no_spot(provider: Provider, gpu_types: Sequence[str], gpu_count: int) -> str:
    """The truth about spot, and what there is instead."""
    offers = anywhere(await provider.offers(gpu_types, gpu_count, list(Cloud)))
    offers.sort(key=lambda offer: (offer.cloud is Cloud.COMMUNITY, offer.usd_per_hour))
    told = "; ".join(
        f"{each.gpu_type} {each.cloud} ${each.usd_per_hour:.2f}/h (stock: {each.stock})"
        for each in offers
    )
    return (
        "RunPod no longer sells spot (interruptible) machines; nothing was rented. On demand "
        f"there are now: {told or 'none of these GPUs'}. Take --instance-type on_demand, with "
        f"--cloud secure or --cloud community. {COMMUNITY_RULE} {LOSS_RULE}"
    )


async def _places(
    provider: Provider, wanted: RentWanted
) -> tuple[NetworkVolume | None, set[str] | None]:
    """The volume, and the data centres that are left; None: anywhere."""
    places: set[str] | None = None
    if wanted.data_centers:
        known = await provider.data_centers()
        places = {known_data_center(name, known).data_center_id for name in wanted.data_centers}
    if not wanted.volume or new_size_gb(wanted.volume) is not None:
        return None, places
    volumes = await provider.volumes()
    volume = volume_called(wanted.volume, volumes)
    if places is not None and volume.data_center not in places:
        volume_in(volume.volume_id, min(places), volumes)  # Says where it is.
    return volume, {volume.data_center}


async def _new_volume(
    provider: Provider, wanted: RentWanted, work: TrainingWork, options: Sequence[RentOption]
) -> NewVolume:
    """Where the first of the options is, since a volume cannot leave its data centre."""
    known: Sequence[DataCenter] = await provider.data_centers()
    suitable = {place.data_center_id for place in known if place.has_network_volumes}
    places = [each.candidate.data_center for each in options]
    place = next((place for place in places if place in suitable), None)
    if not any(places):
        raise NoCapacity(
            f"Nothing is in stock now ({stock_words(options)}), so nobody can say where the volume "
            "should be, and nothing was made. Name a data centre (--data-center), or try later."
        )
    if place is None:
        raise InvalidMachineRequest(
            f"No data centre with one of these GPUs has network volumes; it was "
            f"{', '.join(sorted({each or 'anywhere' for each in places}))}. Name other places, or "
            f"go without a volume. {LOSS_RULE}"
        )
    size_gb = new_size_gb(wanted.volume or "") or disk_need(work.spec, work.found).size_gb
    name = f"brightrun-{work.spec.job_id}"
    return NewVolume(name, size_gb, place, usd_per_month(size_gb))


def _refuse(wanted: RentWanted, left_out: Sequence[LeftOut]) -> None:
    """Say why nothing is left: the budget where that would help, else the memory.

    Raises:
        OverBudget, TooLittleMemory: always one of them.
    """
    dear = [
        each.option for each in left_out if wanted.ignore_memory or not each.option.is_too_small
    ]
    if not dear:
        need = left_out[0].option.memory.need
        assert need is not None
        larger = cards_that_fit(need.plan.peak_bytes)
        advice = f" Large enough: {', '.join(larger)}." if larger else ""
        raise TooLittleMemory(
            f"The job needs {need.in_words} by the prediction; nothing was rented.{advice} "
            "--ignore-memory rents all the same."
        )
    cheapest = min(dear, key=lambda option: option.least_budget_usd)
    candidate = cheapest.candidate
    hours = max(cheapest.hours[0] if cheapest.hours else 0.0, START_UP_HOURS)
    told = "" if cheapest.hours else " for the start alone (how long it trains is not known)"
    raise OverBudget(
        f"The budget of ${wanted.budget_usd:,.2f} is too small; nothing was rented. The cheapest "
        f"for this job is {candidate.label} at ${candidate.usd_per_hour:.2f}/h: {hours:.2f} h at "
        f"least{told}, and something kept back for bringing the adapter home: "
        f"--budget {_rounded_up(cheapest.least_budget_usd)} or more. Else train less (fewer "
        "epochs, a smaller file), or name cheaper GPU types."
    )


def _rounded_up(usd: float) -> str:
    return f"{math.ceil(usd * 100) / 100:.2f}"


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"]))
    return clean_line(f"{place}: {problem['msg']}." if place else f"{problem['msg']}.")
