from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from shared.errors import ProviderUnauthorized
from shared.machine_request import Cloud
from tests.fakes.runpod.server import FakeRunpod
from tests.tui.services.controller.ledger_rows import machine
from tui.services.controller.settings import ControllerSettings
from tui.services.controller.sightings import Lookout, Sightings
from tui.services.providers.provider import MachineStatus, RentedMachine
from tui.services.providers.runpod.provider import RunpodProvider

SETTINGS = ControllerSettings(tick_s=0.1, provider_pause_s=0.4)
SEEN = RentedMachine(
    machine_id="pod-1",
    name=machine().name,
    status=MachineStatus.RUNNING,
    usd_per_hour=2.4,
    gpu_id="NVIDIA H100 PCIe",
    gpu_count=1,
    cloud=Cloud.SECURE,
    data_center=None,
    ssh_host=None,
    ssh_port=None,
    ssh_user=None,
    created_at=None,
)


@asynccontextmanager
async def lookout(fake: FakeRunpod) -> AsyncIterator[Lookout]:
    assert fake.api_key is not None
    provider = RunpodProvider(fake.api_key, fake.url)
    made = Lookout(provider, SETTINGS)
    looking = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        looking.cancel()
        await asyncio.wait({looking})
        await provider.close()


def test_nothing_is_known_before_the_first_look_and_after_one_that_failed() -> None:
    failed = Sightings(3, 0.0, (SEEN,), ProviderUnauthorized("no"))

    assert not Sightings().is_known
    assert (failed.is_known, failed.is_key_refused) == (False, True)
    # What was seen before is shown on, as it was.
    assert failed.of(machine()) == SEEN


def test_a_machine_is_found_by_its_id_and_by_its_name_while_it_has_none() -> None:
    sightings = Sightings(1, 0.0, (SEEN,))

    assert sightings.of(machine()) == SEEN
    assert sightings.of(machine(machine_id=None)) == SEEN
    assert sightings.of(machine(machine_id="pod-2", name="another")) is None


def test_a_terminated_machine_is_none() -> None:
    gone = replace(SEEN, status=MachineStatus.TERMINATED)

    assert Sightings(1, 0.0, (gone,)).of(machine()) is None


async def test_looks_follow_each_other_and_count_up(runpod: FakeRunpod) -> None:
    async with lookout(runpod) as looking:
        first = await looking.following()
        second = await looking.following()

    assert first.is_known and first.machines == ()
    assert second.number > first.number
    assert len(runpod.calls("GET", "/v2/pods$")) >= second.number


async def test_a_following_look_began_after_the_question(runpod: FakeRunpod) -> None:
    async with lookout(runpod) as looking:
        await looking.following()
        fault = runpod.faults.add(method="GET", path="/v2/pods$", delay_s=0.3)
        async with asyncio.timeout(5):
            while not fault.met:
                await asyncio.sleep(0.01)
        under_way = looking.latest.number + 1

        asked_in_the_middle = await looking.following()

    assert asked_in_the_middle.number > under_way


async def test_many_who_wait_at_once_share_one_look(runpod: FakeRunpod) -> None:
    async with lookout(runpod) as looking:
        await looking.following()
        before = len(runpod.requests)
        looks = await asyncio.gather(*(looking.following() for _ in range(20)))
        calls = len(runpod.requests) - before

    assert len({look.number for look in looks}) == 1
    assert calls <= 2


async def test_a_failed_look_keeps_what_was_seen_and_the_next_good_one_replaces_it(
    runpod: FakeRunpod,
) -> None:
    async with lookout(runpod) as looking:
        await looking.following()
        fault = runpod.faults.add(method="GET", path="/v2/pods$", status=503, times=None)
        failed = await looking.following()
        while failed.error is None:
            failed = await looking.following()
        runpod.faults.clear()
        good = await looking.following()
        while good.error is not None:
            good = await looking.following()

    assert fault.met >= 1
    assert not failed.is_known and not failed.is_key_refused
    assert good.is_known


async def test_a_revoked_key_is_told_apart_from_silence(runpod: FakeRunpod) -> None:
    async with lookout(runpod) as looking:
        runpod.revoke_key()
        look = await looking.following()
        while look.error is None:
            look = await looking.following()

    assert look.is_key_refused
