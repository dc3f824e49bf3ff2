"""Asks the provider what it has put on the bill for machines that are gone, and keeps the answers.

Also writes down which network volumes our jobs use: their price runs on without a machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from shared.events import utc_now
from shared.money import bills
from shared.money.bills import BillDifference
from shared.money.records import KeptVolume, MachineBill
from shared.rental import Machine
from shared.store.store import Store
from tui.services.providers.provider import Provider
from tui.services.session import Session


async def reconcile(session: Session) -> list[BillDifference]:
    """Ask for every bill that may still change, and for the volumes; all differences there are.

    Raises:
        ProviderError: the provider does not answer; what it said before that is kept.
    """
    store, now = session.store, utc_now()
    machines = await store.rentals.machines()
    known = await store.spending.bills()
    wanted = bills.unsettled(machines, known)
    if wanted or await _used_volumes(store):
        provider = session.provider()
        await ask_for_bills(store, provider, wanted, now)
        await note_volumes(store, provider, now)
    return bills.differences(machines, await store.spending.bills())


async def due_machines(store: Store, now: datetime) -> list[Machine]:
    """Whose bill is to be asked for by itself now."""
    return bills.due(await store.rentals.machines(), await store.spending.bills(), now)


async def ask_for_bills(
    store: Store, provider: Provider, machines: Iterable[Machine], now: datetime
) -> None:
    """One request for each.

    Raises:
        ProviderError: the provider does not answer.
    """
    for machine in machines:
        assert machine.machine_id is not None
        billed = await provider.billed_usd(machine.machine_id)
        await store.spending.save_bill(MachineBill(machine.name, billed, now))


async def note_volumes(store: Store, provider: Provider, now: datetime) -> None:
    """Write down those of the account's volumes that our jobs use, or once used.

    Raises:
        ProviderError: the provider does not answer.
    """
    used = await _used_volumes(store)
    if not used:
        return
    for volume in await provider.volumes():
        if volume.volume_id in used:
            kept = KeptVolume(
                provider=provider.name,
                volume_id=volume.volume_id,
                name=volume.name,
                size_gb=volume.size_gb,
                data_center=volume.data_center,
                usd_per_month=volume.usd_per_month,
                first_seen_at=now,
                last_seen_at=now,
            )
            await store.spending.saw_volume(kept)


async def new_volumes(store: Store) -> set[str]:
    """Volumes that an open job was given and nobody has written down yet."""
    known = {volume.volume_id for volume in await store.spending.volumes()}
    return await _open_volumes(store) - known


async def _used_volumes(store: Store) -> set[str]:
    known = {volume.volume_id for volume in await store.spending.volumes()}
    return known | await _open_volumes(store)


async def _open_volumes(store: Store) -> set[str]:
    found = (stored.request.network_volume_id for stored in await store.rentals.open_ones())
    return {volume_id for volume_id in found if volume_id}
