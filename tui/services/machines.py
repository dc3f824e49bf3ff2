"""Looks at machines: who answers, what is free there, what runs; starts and installs nothing.

What a machine said last is in the store, and stands in for it while it does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.agent_protocol import Health, MachineFacts
from shared.clean_text import clean_line
from shared.errors import AgentError, AgentUnreachable, ProtocolError
from shared.lifecycle import FINAL_STATUSES, JobStatus
from shared.store.store import Store
from shared.store.stored import StoredHost
from tui.services.agent_client import AgentClient
from tui.services.hosts.host import Host
from tui.services.hosts.names import LOCAL, RUNPOD_PREFIX
from tui.services.session import Session

LOOK_TIMEOUT_S = 20.0
"""Time for a connection through a jump host and two answers."""

_FACTS_TIMEOUT_S = 8.0


class MachineState(StrEnum):
    """What a look at a machine has shown."""

    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    NO_AGENT = "no agent yet"
    """Nothing has ever run there; the first job puts an agent there."""


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that is not final; the name is "" where another console started it."""

    job_id: str
    name: str


@dataclass(frozen=True, slots=True)
class MachineSight:
    """One machine as of now, or as it was last seen."""

    name: str
    state: MachineState
    known: StoredHost
    """What the store has of it; all None if it was never reached."""
    running: tuple[RunningJob, ...] = ()
    """As its agent says; where it is not reached, as the store has it."""
    reason: str = ""
    """Why it is not reached."""


async def known_machines(store: Store) -> list[str]:
    """This machine, then every host that has a job or was ever reached, by name; none rented."""
    names = await store.job_hosts() | {host.name for host in await store.hosts()}
    own = {name for name in names if not name.startswith(RUNPOD_PREFIX)}
    return [LOCAL, *sorted(own - {LOCAL})]


async def look_at_all(session: Session, names: Iterable[str] = ()) -> list[MachineSight]:
    """These machines, all at the same time; without names, those that are known.

    Raises:
        InvalidInput: a name that names no host.
    """
    wanted: Sequence[str] = list(names) or await known_machines(session.store)
    hosts = [session.hosts.get(name) for name in wanted]
    return await asyncio.gather(*(look_at(host, session.store) for host in hosts))


async def look_at(host: Host, store: Store, *, timeout_s: float = LOOK_TIMEOUT_S) -> MachineSight:
    """Ask the host's agent, and remember the answer or that there was none."""
    try:
        async with asyncio.timeout(timeout_s), host.client() as client:
            health = await client.health()
            facts = await _facts(client)
    except TimeoutError:
        return await _not_reached(host, store, f"no answer within {timeout_s:g} s", None)
    except (AgentError, ProtocolError) as error:
        return await _not_reached(host, store, clean_line(str(error)), error)
    return await _reached(host, store, health, facts)


async def _facts(client: AgentClient) -> MachineFacts | None:
    """None from an agent that does not know, or takes its time: it has answered all the same."""
    try:
        async with asyncio.timeout(_FACTS_TIMEOUT_S):
            return await client.machine()
    except (AgentError, ProtocolError, TimeoutError):
        return None


async def _reached(
    host: Host, store: Store, health: Health, facts: MachineFacts | None
) -> MachineSight:
    await store.record_contact(host.name, health, facts)
    names = {job.job_id: job.spec.name for job in await store.list_jobs(_NOT_FINAL)}
    running = tuple(RunningJob(job_id, names.get(job_id, "")) for job_id in health.running)
    return MachineSight(host.name, MachineState.REACHABLE, await _known(store, host.name), running)


async def _not_reached(
    host: Host, store: Store, reason: str, error: Exception | None
) -> MachineSight:
    known = await _known(store, host.name)
    # Exactly this class: a machine that does not answer, or lets nobody in, is one below it.
    if known.last_contact_at is None and type(error) is AgentUnreachable:
        return MachineSight(host.name, MachineState.NO_AGENT, known, reason=reason)
    # A name that was mistyped once is not looked at for ever.
    if host.name in await known_machines(store):
        await store.record_no_contact(host.name, reason)
        known = await _known(store, host.name)
    running = tuple(
        RunningJob(job.job_id, job.spec.name)
        for job in await store.list_jobs(_NOT_FINAL)
        if job.host == host.name
    )
    return MachineSight(host.name, MachineState.UNREACHABLE, known, running, reason)


async def _known(store: Store, name: str) -> StoredHost:
    found = {host.name: host for host in await store.hosts()}
    return found.get(name, StoredHost(name))


_NOT_FINAL = tuple(status for status in JobStatus if status not in FINAL_STATUSES)
