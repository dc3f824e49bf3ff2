"""The smallest machine on a network volume, for as long as something is read from it.

It runs no agent and no job and touches neither the volume's fence nor its agent, so it may be
rented while the job has no machine of its own. Whatever happens, it is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from shared.errors import (
    AgentError,
    AmbiguousAnswer,
    InvalidInput,
    NoCapacity,
    ProviderError,
    UnknownHostKey,
)
from shared.events import utc_now
from shared.pod_start import HEARTBEAT_FILE, PodStart, render_start_command
from shared.rental import Machine, MachinePurpose, MachineState
from shared.store.rentals import StoredRental
from tui.services.controller import fleet
from tui.services.controller.letting_in import fingerprint_in, note_address
from tui.services.controller.machine_names import cache_name, rescue_name
from tui.services.controller.machine_order import run_directory, start_environment
from tui.services.hosts.host import Step
from tui.services.hosts.rented import base_on
from tui.services.hosts.ssh import SshHost
from tui.services.providers.provider import MachineOrder, MachineStatus, Provider, RentedMachine
from tui.services.session import Session
from tui.services.ssh.machine_files import MachineFiles

POLL_S = 2.0
_PATIENCE_S = 900.0
_DISK_GB = 10


@dataclass(frozen=True, slots=True)
class VolumeVisit:
    """What a machine is rented on a volume for, and as whose."""

    owner: str
    """The job's id, or what stands for it: see `volume_owner`."""
    volume_id: str
    purpose: MachinePurpose
    why: str
    """Ends a sentence: "renting the smallest machine on the volume ..."."""
    base: str
    """Of ours, over there: see `Bootstrap`."""
    image: str
    start_script: str
    mount_path: str
    shared: str | None = None
    """As in `PodStart`: given where something is installed; then the base is on the volume."""
    lifetime_s: int = 2 * 3600
    """After which the machine ends itself, whatever happens here."""
    silence_limit_s: int = 2 * 3600
    """Without a touched heartbeat, likewise."""
    registry: str | None = None
    """As in `MachineRequest`."""
    heartbeat_s: float = 0.0
    """Between two touches of it; 0: it is left alone."""


def visit_for(stored: StoredRental, why: str) -> VolumeVisit:
    """To a job's volume, for what the job has left there.

    Raises:
        InvalidInput: the job has no volume, or a machine works on it now.
    """
    request, job_id = stored.request, stored.job_id
    if request.network_volume_id is None:
        raise InvalidInput(f"{job_id} has no network volume: nothing outlived its machine.")
    if stored.rental.machine is not None:
        raise InvalidInput(
            f"{job_id} has a machine now: `brightrun fetch {job_id}` asks its agent."
        )
    return VolumeVisit(
        owner=job_id,
        volume_id=request.network_volume_id,
        purpose=MachinePurpose.RESCUE,
        why=why,
        base=base_on(request, job_id),
        image=request.image,
        registry=request.registry,
        start_script=request.start_script,
        mount_path=request.mount_path,
    )


@asynccontextmanager
async def machine_on_volume(
    session: Session,
    provider: Provider,
    visit: VolumeVisit,
    on_step: Step,
    poll_s: float = POLL_S,
) -> AsyncIterator[SshHost]:
    """A machine with the volume, reached over SSH; it is gone when this is left.

    Raises:
        InvalidInput: there is no such volume any more.
        ProviderError: no machine is to be had; or the machine may live on, which is said.
    """
    machine = await _intend(session, provider, visit)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            seen = await _rent(session, provider, machine, visit, on_step, poll_s)
            host = await _let_in(session, provider, machine, seen, visit, on_step, poll_s)
        try:
            async with _heartbeat(host, machine.name, visit.heartbeat_s):
                yield host
        finally:
            await host.close()
    except TimeoutError as error:
        raise ProviderError(
            f"{machine.name} could not be reached within {_PATIENCE_S / 60:.0f} min; it is ended."
        ) from error
    finally:
        # Whatever happens, and whoever cancels: it is not left running.
        await _to_the_end(_end(session, provider, machine.name, on_step, poll_s))


async def _intend(session: Session, provider: Provider, visit: VolumeVisit) -> Machine:
    rentals, owner = session.store.rentals, visit.owner
    number = 1 + sum(machine.purpose is visit.purpose for machine in await rentals.machines(owner))
    mark = await rentals.mark()
    is_rescue = visit.purpose is MachinePurpose.RESCUE
    machine = Machine(
        name=(
            rescue_name(mark, owner, number)
            if is_rescue
            else cache_name(mark, visit.volume_id, number)
        ),
        job_id=owner,
        provider=provider.name,
        purpose=visit.purpose,
        number=number,
        label="the smallest CPU machine",
        state=MachineState.INTENDED,
        usd_per_hour=0.0,
        created_at=utc_now(),
    )
    await rentals.intend(machine)
    why = f"renting the smallest machine on the volume {visit.why}"
    await rentals.note(owner, utc_now(), why)
    return machine


async def _rent(
    session: Session,
    provider: Provider,
    machine: Machine,
    visit: VolumeVisit,
    on_step: Step,
    poll_s: float,
) -> RentedMachine:
    """Running, with an address."""
    volume_id = visit.volume_id
    volumes = {volume.volume_id: volume for volume in await provider.volumes()}
    if volume_id not in volumes:
        raise InvalidInput(f"the account has no network volume {volume_id} any more.")
    data_center = volumes[volume_id].data_center
    files = MachineFiles(session.config.home, machine.name)
    order = _order(machine, visit, data_center, await asyncio.to_thread(files.public_key))
    on_step(f"renting the smallest machine in {data_center}")
    asking = asyncio.create_task(provider.rent(order))
    try:
        seen = await asyncio.shield(asking)
    except AmbiguousAnswer:
        on_step("looking whether it was made")
        seen = await _found(provider, machine.name, poll_s)
    except asyncio.CancelledError:
        await asyncio.wait({asking})
        raise
    machine = replace(
        machine,
        state=MachineState.RENTED,
        machine_id=seen.machine_id,
        rented_at=utc_now(),
        usd_per_hour=seen.usd_per_hour,
        data_center=data_center,
    )
    await session.store.rentals.save_machine(machine)
    while seen.status is not MachineStatus.RUNNING or seen.ssh_host is None:
        on_step(f"{seen.status.value} at ${seen.usd_per_hour:.2f} an hour")
        await asyncio.sleep(poll_s)
        looked = await provider.machine(seen.machine_id)
        if looked is not None:  # Just made, it may be unknown for a moment.
            seen = looked
        if not seen.status.is_up:
            raise ProviderError(f"{machine.name} is {seen.status.value}; try again.")
    return seen


async def _found(provider: Provider, name: str, poll_s: float) -> RentedMachine:
    for _ in range(10):
        for seen in await provider.machines():
            if seen.name == name:
                return seen
        await asyncio.sleep(poll_s)
    raise NoCapacity(f"{name} was not made; try again.")


def _order(machine: Machine, visit: VolumeVisit, data_center: str, public_key: str) -> MachineOrder:
    directory = run_directory(machine.name)
    start = PodStart(
        rental=machine.number,
        # Of a job's volume neither the fence nor the agent is touched.
        base=f"{directory}/base" if visit.shared is None else visit.base,
        shared=visit.shared,
        start_script=visit.start_script,
        run_directory=directory,
        silence_limit_s=visit.silence_limit_s,
        lifetime_s=visit.lifetime_s,
    )
    return MachineOrder(
        name=machine.name,
        candidate=None,
        image=visit.image,
        registry=visit.registry,
        command=render_start_command(start),
        env=start_environment(public_key),
        container_disk_gb=_DISK_GB,
        min_cuda=None,
        network_volume_id=visit.volume_id,
        mount_path=visit.mount_path,
        data_center=data_center,
    )


async def _let_in(
    session: Session,
    provider: Provider,
    machine: Machine,
    seen: RentedMachine,
    visit: VolumeVisit,
    on_step: Step,
    poll_s: float,
) -> SshHost:
    files = MachineFiles(session.config.home, machine.name)
    await note_address(files, seen)
    while True:
        on_step("waiting for its SSH")
        fingerprint = await fingerprint_in(provider, seen.machine_id)
        if fingerprint is not None:
            host = SshHost(files.options(fingerprint), base=visit.base)
            try:
                await host.shell.run("true")
                return host
            except UnknownHostKey:
                await host.close()
                raise
            except AgentError:
                await host.close()
        await asyncio.sleep(poll_s)


@asynccontextmanager
async def _heartbeat(host: SshHost, name: str, every_s: float) -> AsyncIterator[None]:
    """While inside, the machine's dead-man timer hears of us; not where nobody asked for that."""
    if not every_s:
        yield
        return
    beating = asyncio.create_task(_beat(host, name, every_s))
    try:
        yield
    finally:
        beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beating


async def _beat(host: SshHost, name: str, every_s: float) -> None:
    path = shlex.quote(f"{run_directory(name)}/{HEARTBEAT_FILE}")
    while True:
        with contextlib.suppress(AgentError):
            await host.shell.run(f"touch {path}")
        await asyncio.sleep(every_s)


async def _end(
    session: Session, provider: Provider, name: str, on_step: Step, poll_s: float
) -> None:
    """Until its absence is proved; also if nobody knows whether it was ever made."""
    rented = [m for m in await fleet.our_machines(session, provider) if m.name == name]
    for machine in rented:
        machine = replace(machine, serves=False)
        await fleet.end_machine(session, provider, machine, on_step, poll_s=poll_s)


async def _to_the_end(ending: Coroutine[Any, Any, None]) -> None:
    """Await it also where the one who waits is cancelled meanwhile."""
    task = asyncio.create_task(ending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
        raise
