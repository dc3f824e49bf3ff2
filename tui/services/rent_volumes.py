"""Network volumes that a rented job outlives its machines on: found by name, or made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.clean_text import clean_line
from shared.errors import AmbiguousAnswer, InvalidMachineRequest
from tui.services.providers.provider import NetworkVolume, Provider
from tui.services.providers.runpod.places import volume_in


@dataclass(frozen=True, slots=True)
class NewVolume:
    """A network volume that is made for the job, if the user agrees to its price."""

    name: str
    size_gb: int
    data_center: str
    usd_per_month: float
    """By the published price."""


async def make_volume(provider: Provider, new: NewVolume) -> NetworkVolume:
    """The volume of that name, made if it is not there yet: called again, it makes no second one.

    Raises:
        ProviderError: it is not there, or nobody knows.
    """
    if (there := await _volume_named(provider, new.name)) is not None:
        return there
    try:
        return await provider.create_volume(new.name, new.size_gb, new.data_center)
    except AmbiguousAnswer:
        if (there := await _volume_named(provider, new.name)) is None:
            raise
        return there


def volume_called(name: str, known: Sequence[NetworkVolume]) -> NetworkVolume:
    """The volume of that id, or else of that name.

    Raises:
        InvalidMachineRequest: there is none, or several have the name.
    """
    named = [volume for volume in known if volume.name == name]
    if len(named) > 1 and all(volume.volume_id != name for volume in known):
        ids = ", ".join(f"{volume.volume_id} in {volume.data_center}" for volume in named)
        raise InvalidMachineRequest(f"Several volumes are called {clean_line(name)!r}: {ids}.")
    return volume_in(named[0].volume_id if named else name, None, known)


def new_size_gb(typed: str) -> int | None:
    """Gigabytes of `new:GB`, 0 for `new` alone; None for a volume that is there.

    Raises:
        InvalidMachineRequest: `new:` and no number.
    """
    word, colon, size_gb = typed.partition(":")
    if word != "new":
        return None
    if not colon:
        return 0
    if not size_gb.isdecimal() or int(size_gb) == 0:
        raise InvalidMachineRequest(f"--volume {clean_line(typed)}: write new:GB, as new:200.")
    return int(size_gb)


async def _volume_named(provider: Provider, name: str) -> NetworkVolume | None:
    return next((each for each in await provider.volumes() if each.name == name), None)
