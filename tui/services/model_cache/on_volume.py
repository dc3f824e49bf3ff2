"""The base models on a network volume, looked after by the smallest machine without a GPU.

It is rented for the moment, like the one that brings an adapter home, and ended whatever happens.
Nobody is there to see it die, so it also ends itself: soon after this console falls silent, and
after some hours in any case. What is there is written down for the next forecast.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from shared.errors import InvalidInput
from shared.events import utc_now
from shared.machine_request import (
    DEFAULT_IMAGE,
    DEFAULT_MOUNT_PATH,
    DEFAULT_START_SCRIPT,
    MachineRequest,
)
from shared.model_cache import CachedModel
from shared.pod_start import TOKEN_FILE
from shared.rental import MachinePurpose
from shared.store.cached_models import ModelOnVolume
from shared.store.store import Store
from tui.services.controller.machine_names import volume_owner
from tui.services.controller.machine_order import run_directory
from tui.services.controller.volume_machine import POLL_S, VolumeVisit, machine_on_volume
from tui.services.hosts.host import Step
from tui.services.hosts.names import SSH_PREFIX
from tui.services.hosts.ssh import SshHost
from tui.services.hub_files import hub_token
from tui.services.model_cache.places import SshCache
from tui.services.providers.provider import NetworkVolume, Provider
from tui.services.session import Session

LONGEST_FILL_H = 6
"""A filling machine ends itself then; 141 GB at 50 MB/s take 47 minutes. Unverified on hardware."""
LONGEST_LOOK_H = 1
_SILENCE_S = 900
_HEARTBEAT_S = 20.0


@asynccontextmanager
async def cache_on_volume(
    session: Session,
    provider: Provider,
    volume: NetworkVolume,
    on_step: Step,
    *,
    for_filling: bool = False,
    poll_s: float = POLL_S,
) -> AsyncIterator[SshCache]:
    """Its cache, on a machine that is gone when this is left.

    Raises:
        ProviderError: no machine is to be had; or the machine may live on, which is said.
    """
    visit = await _visit(session.store, volume, for_filling=for_filling)
    async with machine_on_volume(session, provider, visit, on_step, poll_s) as host:
        environment = await _environment(host, visit)
        yield SshCache(
            f"volume {volume.name}",
            host,
            models=f"{visit.shared}/models",
            environment=environment,
        )


async def jobs_at_work(store: Store, volume_id: str) -> list[str]:
    """Jobs of ours that have a machine on the volume now, and may be reading a base model."""
    return [
        stored.job_id
        for stored in await store.rentals.open_ones()
        if stored.request.network_volume_id == volume_id and stored.rental.machine is not None
    ]


async def require_nobody_at_work(store: Store, volume_id: str) -> None:
    """Refuse to take away what a machine may be reading.

    Raises:
        InvalidInput: a job has a machine on the volume.
    """
    if jobs := await jobs_at_work(store, volume_id):
        raise InvalidInput(
            f"{', '.join(jobs)} has a machine on that volume and may be reading its base model: "
            "prune it afterwards. Nothing was done."
        )


async def write_down(store: Store, volume_id: str, found: Sequence[CachedModel]) -> None:
    """What a look at the volume has shown is all that there is."""
    now = utc_now()
    complete = [
        ModelOnVolume(volume_id, model.base_model, model.revision, model.size_bytes, now)
        for model in found
        if model.is_complete
    ]
    await store.cached_models.replace_all(volume_id, complete)


async def _visit(store: Store, volume: NetworkVolume, *, for_filling: bool) -> VolumeVisit:
    """As the latest job on the volume was rented for, since its image is known to work."""
    before = await _latest_request(store, volume.volume_id)
    image, registry = DEFAULT_IMAGE, None
    script, mount = DEFAULT_START_SCRIPT, DEFAULT_MOUNT_PATH
    if before is not None:
        image, registry = before.image, before.registry
        script, mount = before.start_script, before.mount_path
    hours = LONGEST_FILL_H if for_filling else LONGEST_LOOK_H
    return VolumeVisit(
        owner=volume_owner(volume.volume_id),
        volume_id=volume.volume_id,
        purpose=MachinePurpose.CACHE,
        why="for its base models",
        # Beside the jobs' own: what is installed, here or there, serves all of them.
        base=f"{mount}/brightrun/model-cache",
        shared=f"{mount}/brightrun",
        image=image,
        registry=registry,
        start_script=script,
        mount_path=mount,
        lifetime_s=hours * 3600,
        silence_limit_s=_SILENCE_S,
        heartbeat_s=_HEARTBEAT_S,
    )


async def _latest_request(store: Store, volume_id: str) -> MachineRequest | None:
    for job in await store.list_jobs():
        stored = await store.rentals.get(job.job_id) if job.state.rented else None
        if stored is not None and stored.request.network_volume_id == volume_id:
            return stored.request
    return None


async def _environment(host: SshHost, visit: VolumeVisit) -> dict[str, str]:
    """Where the hub's client keeps its files there; the token lies in memory only."""
    environment = {"HF_HOME": f"{visit.shared}/hub"}
    if token := await asyncio.to_thread(hub_token):
        path = f"{run_directory(host.name.removeprefix(SSH_PREFIX))}/{TOKEN_FILE}"
        await host.shell.put(token.encode(), path)
        environment["HF_TOKEN_PATH"] = path
    return environment
