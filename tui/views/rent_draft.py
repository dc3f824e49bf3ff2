"""What is typed about the machine to rent: texts, some of them wrong, none of them lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from shared.errors import InvalidMachineRequest
from shared.machine_request import AfterInterruptions, Cloud
from tui.services.providers.runpod.gpu_names import canonical_gpu_type
from tui.services.rent_plan import RentWanted

CLOUDS: Mapping[str, tuple[Cloud, ...]] = {
    "secure": (Cloud.SECURE,),
    "community": (Cloud.COMMUNITY,),
    "both": (Cloud.SECURE, Cloud.COMMUNITY),
}
AFTER = tuple(choice.value for choice in AfterInterruptions)
NO_VOLUME, NEW_VOLUME = "none", "new"

FIELDS: Mapping[str, tuple[str, str]] = {
    "budget_usd": ("what all machines of the job may cost together", "dollars, above 0"),
    "gpus": ("GPU types in the order in which they are tried; empty: all that fit", "H100_PCIE, …"),
    "gpu_count": ("GPUs of one machine; empty: as many as the job trains on", "1 … 8"),
    "cloud": ("the provider's data centres, or other people's machines", "only secure has volumes"),
    "data_centers": ("where; empty: wherever there is one", "US-KS-2, …"),
    "volume": ("a disk that outlives machines, so that a job survives the loss of one", "by month"),
    "volume_gb": ("size of a new volume; empty: what the model needs", "10 … 4096"),
    "max_hours": ("from the first machine's start, interruptions included", "hours, up to 720"),
    "max_interruptions": ("lost machines that are replaced unasked", "0 … 20"),
    "after": ("what happens once more are lost", "ask, the next GPU type, or stop"),
    "wait_hours": ("how long it waits where nothing is in stock", "hours, up to 168"),
}
"""For each field what it is for, and what is allowed."""

_CARRIED = ("image", "registry", "start_script", "mount_path", "container_disk_gb")


@dataclass(frozen=True)
class RentDraft:
    """As typed."""

    budget_usd: str = ""
    gpus: str = ""
    gpu_count: str = ""
    cloud: str = "secure"
    data_centers: str = ""
    volume: str = NO_VOLUME
    """`none`, `new`, or the id of one that is there."""
    volume_gb: str = ""
    max_hours: str = "24"
    max_interruptions: str = "3"
    after: str = AfterInterruptions.ASK.value
    wait_hours: str = "1"
    carried: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `RentWanted` that have no place on the form: image, disk ..."""

    @classmethod
    def of_wanted(cls, wanted: RentWanted) -> Self:
        """The form that asks for the same machine."""
        volume, _, size_gb = (wanted.volume or NO_VOLUME).partition(":")
        is_new = volume == NEW_VOLUME
        clouds = {frozenset(clouds): name for name, clouds in CLOUDS.items()}
        usual = RentWanted()
        return cls(
            budget_usd="" if wanted.budget_usd is None else f"{wanted.budget_usd:g}",
            gpus=", ".join(wanted.gpu_types),
            gpu_count="" if wanted.gpu_count is None else str(wanted.gpu_count),
            cloud=clouds[frozenset(wanted.clouds)],
            data_centers=", ".join(wanted.data_centers),
            volume=volume if is_new else wanted.volume or NO_VOLUME,
            volume_gb=size_gb if is_new else "",
            max_hours=f"{wanted.max_duration_hours:g}",
            max_interruptions=str(wanted.max_interruptions),
            after=wanted.after_interruptions.value,
            wait_hours=f"{wanted.wait_for_stock_hours:g}",
            carried={
                name: getattr(wanted, name)
                for name in _CARRIED
                if getattr(wanted, name) != getattr(usual, name)
            },
        )

    def problems(self) -> dict[str, str]:
        """For each field that is wrong, a sentence that says what it must be."""
        found = {
            "budget_usd": _number_problem(self.budget_usd or "none", 0.01, 1e6, "dollars"),
            "gpus": _gpu_problem(self.gpus),
            "gpu_count": _whole_problem(self.gpu_count, 1, 8) if self.gpu_count.strip() else "",
            "volume_gb": _whole_problem(self.volume_gb, 10, 4096) if self.volume_gb.strip() else "",
            "max_hours": _number_problem(self.max_hours, 0.1, 720, "hours"),
            "max_interruptions": _whole_problem(self.max_interruptions, 0, 20),
            "wait_hours": _number_problem(self.wait_hours, 0, 168, "hours"),
        }
        return {name: problem for name, problem in found.items() if problem}

    def wanted(self) -> RentWanted:
        """What a plan is made of; for a draft with no problem but a missing budget."""
        budget = self.budget_usd.strip()
        return RentWanted(
            budget_usd=None if "budget_usd" in self.problems() else float(budget),
            gpu_types=tuple(_words(self.gpus)),
            gpu_count=int(self.gpu_count) if self.gpu_count.strip() else None,
            clouds=CLOUDS[self.cloud],
            data_centers=tuple(_words(self.data_centers)),
            volume=self._volume(),
            max_duration_hours=float(self.max_hours),
            max_interruptions=int(self.max_interruptions),
            after_interruptions=AfterInterruptions(self.after),
            wait_for_stock_hours=float(self.wait_hours),
            **self.carried,
        )

    @property
    def can_look(self) -> bool:
        """True if offers can be looked at; a budget is only needed to rent."""
        return not self.problems().keys() - {"budget_usd"}

    def _volume(self) -> str | None:
        if self.volume == NO_VOLUME:
            return None
        size_gb = self.volume_gb.strip()
        return f"new:{size_gb}" if self.volume == NEW_VOLUME and size_gb else self.volume


assert {*FIELDS, "carried"} == {each.name for each in fields(RentDraft)}


def _words(typed: str) -> list[str]:
    return [word for word in typed.replace(",", " ").split() if word]


def _gpu_problem(typed: str) -> str:
    try:
        for name in _words(typed):
            canonical_gpu_type(name)
    except InvalidMachineRequest as error:
        return str(error)
    return ""


def _whole_problem(typed: str, least: int, most: int) -> str:
    text = typed.strip()
    if text.isdecimal() and len(text) < 6 and least <= int(text) <= most:
        return ""
    return f"must be a whole number from {least} to {most}."


def _number_problem(typed: str, least: float, most: float, unit: str) -> str:
    try:
        value = float(typed)
    except ValueError:
        value = float("nan")
    if least <= value <= most:
        return ""
    return f"must be {unit}, from {least:g} to {most:,.0f}."
