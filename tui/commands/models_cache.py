"""`brightrun models cache`: the base models that a machine or a volume keeps quantised."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from shared.clean_text import clean_line
from shared.errors import InvalidInput
from shared.events import ModelProgress, utc_now
from tui import exit_codes
from tui.commands.consent import agreed, require_asker
from tui.commands.output import print_json, print_table, say, say_line
from tui.commands.steps import shown_steps
from tui.commands.terminal_session import open_terminal_session
from tui.services.hosts.names import LOCAL, RUNPOD, checked_host_name
from tui.services.model_cache.cache import PruneWanted, chosen, fill, listed, prune
from tui.services.model_cache.places import CachePlace, LocalCache, SshCache
from tui.services.providers.provider import NetworkVolume, Provider
from tui.services.session import Session
from tui.views.model_cache_rows import (
    CACHE_HEADERS,
    cache_row,
    cache_to_dict,
    filled_words,
    prune_words,
    rate_words,
)


@dataclass(frozen=True, slots=True)
class CacheWhere:
    """Whose cache; this machine's where nothing is said."""

    host: str | None = None
    volume: str | None = None
    """Id or name of a network volume: the smallest machine is rented on it for the moment."""
    accept_host_key: str | None = None
    yes: bool = False


async def list_models(where: CacheWhere, *, as_json: bool) -> int:
    """Every copy, with its size and whether it is complete."""
    async with _opened(where) as visit:
        if visit is None:
            return exit_codes.CANCELLED
        found = await listed(visit.place) if visit.is_there else []
        await visit.write_down()
    if as_json:
        print_json({"where": visit.place.name, "models": [cache_to_dict(each) for each in found]})
    elif found:
        print_table(CACHE_HEADERS, [cache_row(each) for each in found], shrinking="STATE")
    else:
        say(f"{visit.place.name} keeps no base models: the first job, or `fill`, makes a copy.")
    return exit_codes.OK


async def fill_model(
    base_model: str, revision: str | None, where: CacheWhere, *, as_json: bool
) -> int:
    """Make a copy, or complete the one that is there."""
    async with _opened(where, for_filling=True) as visit:
        if visit is None:
            return exit_codes.CANCELLED
        with _filling(base_model) as on_progress:
            filled = await fill(visit.place, base_model, revision, on_progress)
        await visit.write_down()
    if as_json:
        print_json(filled.model_dump(mode="json", exclude={"kind"}))
    else:
        say_line(filled_words(filled, visit.place.name))
    return exit_codes.OK


async def prune_models(wanted: PruneWanted, where: CacheWhere, *, as_json: bool) -> int:
    """Show what would go and what that frees; remove it once that is agreed to.

    Raises:
        InvalidInput: nobody has said what may go.
    """
    if wanted.is_everything:
        raise InvalidInput(
            "Say which may go: a MODEL, --older-than DAYS (0 for all), or --partial. "
            "Nothing was removed."
        )
    require_asker("what is removed", yes=where.yes)
    async with _opened(where, for_pruning=True) as visit:
        if visit is None:
            return exit_codes.CANCELLED
        found = await listed(visit.place) if visit.is_there else []
        going = chosen(found, wanted, utc_now())
        if not going:
            say(f"{visit.place.name}: nothing is to be removed.")
            _print_removed([], as_json=as_json)
            return exit_codes.OK
        rows = [cache_row(each) for each in going]
        print_table(CACHE_HEADERS, rows, shrinking="STATE", to_stderr=True)
        question = f"Remove {prune_words(going)}, from {visit.place.name}?"
        if not agreed(question, yes=where.yes):
            say("nothing was removed.")
            return exit_codes.CANCELLED
        gone = [each.model for each in await prune(visit.place, going)]
        await visit.write_down()
    say(f"removed: {prune_words(gone)}.")
    if left := len(going) - len(gone):
        say(f"{left} stayed: a job is filling it now.")
    _print_removed([cache_to_dict(each) for each in gone], as_json=as_json)
    return exit_codes.OK


def _print_removed(removed: list[dict[str, object]], *, as_json: bool) -> None:
    if as_json:
        print_json({"removed": removed})


@dataclass(frozen=True, slots=True)
class _Visit:
    """A place that is ready to be worked on."""

    session: Session
    place: CachePlace
    is_there: bool
    """False where nothing of ours is on the machine, and so no base model."""
    volume: NetworkVolume | None = None

    async def write_down(self) -> None:
        """Look once more and remember it, for the forecast of the next job on the volume."""
        from tui.services.model_cache import on_volume

        if self.volume is not None:
            found = await listed(self.place) if self.is_there else []
            await on_volume.write_down(self.session.store, self.volume.volume_id, found)


@asynccontextmanager
async def _opened(
    where: CacheWhere, *, for_filling: bool = False, for_pruning: bool = False
) -> AsyncIterator[_Visit | None]:
    """The place; None where the user did not agree to rent a machine for it."""
    if where.volume is not None and where.host is not None:
        raise InvalidInput("Say --host or --volume: a volume is reached by a rented machine.")
    async with open_terminal_session(where.accept_host_key) as session:
        if where.volume is None:
            place = _place_of(session, where.host or LOCAL)
            with shown_steps(place.name) as on_step:
                is_there = await place.prepare(on_step, for_filling=for_filling)
            yield _Visit(session, place, is_there)
            return
        async with _on_volume(session, where, for_filling, for_pruning) as visit:
            yield visit


def _place_of(session: Session, typed: str) -> CachePlace:
    name = checked_host_name(typed)
    if name == LOCAL:
        return LocalCache(session.config.agent_root)
    from tui.services.hosts.ssh import SshHost

    host = session.hosts.get(name) if not name.startswith(RUNPOD) else None
    if not isinstance(host, SshHost):
        raise InvalidInput(
            f"{clean_line(typed)}: rented machines keep base models on network volumes: "
            "say --volume ID or NAME."
        )
    return SshCache(name, host)


@asynccontextmanager
async def _on_volume(
    session: Session, where: CacheWhere, for_filling: bool, for_pruning: bool
) -> AsyncIterator[_Visit | None]:
    from tui.services.model_cache import on_volume
    from tui.services.rent_volumes import volume_called

    require_asker("renting a machine", yes=where.yes)
    provider = session.provider()
    assert where.volume is not None
    volume = volume_called(where.volume, await provider.volumes())
    if for_pruning:
        await on_volume.require_nobody_at_work(session.store, volume.volume_id)
    longest_h = on_volume.LONGEST_FILL_H if for_filling else on_volume.LONGEST_LOOK_H
    if not await _agrees(provider, volume, longest_h, yes=where.yes):
        say("nothing was rented.")
        yield None
        return
    with shown_steps(RUNPOD) as on_step:
        async with on_volume.cache_on_volume(
            session, provider, volume, on_step, for_filling=for_filling
        ) as place:
            is_there = await place.prepare(on_step, for_filling=for_filling)
            yield _Visit(session, place, is_there, volume)


async def _agrees(provider: Provider, volume: NetworkVolume, longest_h: int, *, yes: bool) -> bool:
    price = await provider.smallest_usd_per_hour(volume.data_center)
    return agreed(
        f"Rent the smallest machine without a GPU on the volume {volume.name} in "
        f"{volume.data_center}, at ${price:.2f} an hour? It is ended as soon as this is done, and "
        f"ends itself after {longest_h} h (${price * longest_h:.2f}) at the latest.",
        yes=yes,
    )


@contextmanager
def _filling(what: str) -> Iterator[Callable[[ModelProgress], None]]:
    """A bar with rate and time left where a person looks on; else a line for each stage."""
    console = Console(stderr=True)
    if not sys.stderr.isatty():
        yield _say_stages(what)
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        console=console,
        transient=True,
    )
    task = bar.add_task(clean_line(what), total=None, rate="")

    def show(progress: ModelProgress) -> None:
        words = clean_line(f"{progress.what} {progress.file or what}")
        total = progress.total_bytes or None
        bar.update(
            task,
            description=words,
            completed=progress.done_bytes,
            total=total,
            rate=rate_words(progress),
        )

    with bar:
        yield show


def _say_stages(what: str) -> Callable[[ModelProgress], None]:
    said = ""

    def show(progress: ModelProgress) -> None:
        nonlocal said
        if progress.what != said:
            said = progress.what
            say(f"{progress.what} {what}")

    return show
