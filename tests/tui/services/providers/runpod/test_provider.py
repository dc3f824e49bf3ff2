"""The provider against a stateful stand-in for RunPod's REST v2: real HTTP, the official schema."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.errors import (
    AmbiguousAnswer,
    InsufficientBalance,
    InvalidMachineRequest,
    NoCapacity,
    ProviderError,
    ProviderRefused,
    ProviderUnauthorized,
    ProviderUnreachable,
)
from shared.machine_request import Candidate, Cloud, Stock
from tests.fakes.runpod.server import FakeRunpod
from tui.services.providers.provider import MachineOrder, MachineStatus, Provider
from tui.services.providers.runpod import provider as provider_module
from tui.services.providers.runpod.provider import RunpodProvider

H100 = Candidate(gpu_type="H100_PCIE", data_center="US-KS-2", usd_per_hour=2.39)
A100 = Candidate(gpu_type="A100_80GB", data_center="US-KS-2", usd_per_hour=1.64)
ORDER = MachineOrder(
    name="brightrun-1",
    candidate=H100,
    image="runpod/pytorch:x",
    command="exec sleep infinity",
    env={"PUBLIC_KEY": "ssh-ed25519 AAAA"},
    container_disk_gb=50,
    min_cuda="12.8",
)
CPU_ORDER = replace(ORDER, candidate=None, min_cuda=None, data_center="EU-RO-1")


def test_it_is_what_the_controller_asks_for(provider: RunpodProvider) -> None:
    as_any: Provider = provider

    assert as_any.name == "runpod"


async def test_a_machine_is_rented_found_and_ended(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    rented = await provider.rent(ORDER)

    assert rented.name == "brightrun-1"
    assert (rented.gpu_id, rented.gpu_count) == ("NVIDIA H100 PCIe", 1)
    assert (rented.data_center, rented.usd_per_hour) == ("US-KS-2", 2.39)
    assert rented.status.is_up
    assert rented.created_at is not None
    assert [each.machine_id for each in await provider.machines()] == [rented.machine_id]
    found = await provider.machine(rented.machine_id)
    assert found is not None and found.name == "brightrun-1"

    await provider.end(rented.machine_id)
    await provider.end(rented.machine_id)

    assert await provider.machines() == []
    assert fake.billing_now() == []


async def test_the_order_asks_for_everything(fake: FakeRunpod, provider: RunpodProvider) -> None:
    volume = await provider.create_volume("data", 100, "US-KS-2")
    candidate = H100.model_copy(update={"gpu_count": 2})
    order = replace(
        ORDER,
        candidate=candidate,
        network_volume_id=volume.volume_id,
        mount_path=str(fake.mount_path),
    )

    rented = await provider.rent(order)

    sent = fake.pod(rented.machine_id).order
    assert sent["gpu"] == {"id": "NVIDIA H100 PCIe", "count": 2, "minCudaVersion": "12.8"}
    assert sent["args"] == "bash -c 'exec sleep infinity'"
    assert sent["ports"] == ["22/tcp"]
    assert sent["dataCenterIds"] == ["US-KS-2"]
    assert sent["mounts"]["network"][0]["volumeId"] == volume.volume_id
    assert rented.usd_per_hour == pytest.approx(4.78)


async def test_one_list_call_tells_of_all_machines(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    for number in range(3):
        await provider.rent(replace(ORDER, name=f"brightrun-{number}"))
    before = len(fake.requests)

    assert len(await provider.machines()) == 3
    assert len(fake.requests) == before + 1


async def test_a_machine_that_is_not_there_is_none(provider: RunpodProvider) -> None:
    assert await provider.machine("nothing") is None


async def test_a_terminated_machine_that_stays_listed_is_not_among_the_machines(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    fake.settings.terminated_stays_listed = True
    rented = await provider.rent(ORDER)
    await provider.end(rented.machine_id)

    assert await provider.machines() == []


# Offers.


async def test_offers_tell_price_and_stock_of_each_place_by_one_call_a_cloud(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    fake.catalogue.set_stock(2, "NVIDIA H100 PCIe", "US-KS-2", "SECURE")
    fake.catalogue.set_stock(1, "NVIDIA H100 PCIe", "EU-RO-1")
    before = len(fake.requests)

    offers = await provider.offers(["h100 pcie"], 2, [Cloud.SECURE, Cloud.COMMUNITY])

    assert len(fake.requests) == before + 2
    kansas = next(
        each for each in offers if (each.data_center, each.cloud) == ("US-KS-2", Cloud.SECURE)
    )
    assert (kansas.usd_per_hour, kansas.stock) == (4.78, Stock.LOW)
    assert {each.usd_per_hour for each in offers if each.cloud is Cloud.COMMUNITY} == {3.98}
    assert "EU-RO-1" not in {each.data_center for each in offers}, "one is not two"


async def test_what_is_sold_out_is_still_offered(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    fake.catalogue.set_stock(0)

    [offer] = await provider.offers(["H100_NVL"], 1, [Cloud.SECURE])

    assert (offer.stock, offer.usd_per_hour) == (Stock.NONE, 2.79)


async def test_each_cloud_has_its_own_stock(fake: FakeRunpod, provider: RunpodProvider) -> None:
    fake.catalogue.set_stock(0, cloud="COMMUNITY")

    offers = await provider.offers(["H100_SXM"], 1, [Cloud.SECURE, Cloud.COMMUNITY])

    assert {each.cloud for each in offers if each.stock is not Stock.NONE} == {Cloud.SECURE}
    assert {each.cloud for each in offers if each.stock is Stock.NONE} == {Cloud.COMMUNITY}


async def test_an_unknown_gpu_is_refused_before_anything_is_asked(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    with pytest.raises(InvalidMachineRequest, match="H100_PCIE"):
        await provider.offers(["H100"], 1, [Cloud.SECURE])

    assert fake.requests == []


# Which machine.


async def test_an_a100_is_rented_of_the_kind_that_is_there(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    fake.catalogue.set_stock(0, "NVIDIA A100 80GB PCIe", "US-KS-2")
    dear = A100.model_copy(update={"usd_per_hour": 1.89})

    assert (await provider.rent(replace(ORDER, candidate=dear))).gpu_id == "NVIDIA A100-SXM4-80GB"


async def test_an_a100_that_became_dearer_is_not_rented(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    fake.catalogue.set_price("NVIDIA A100 80GB PCIe", 2.0)

    with pytest.raises(NoCapacity, match="A100_80GB secure US-KS-2 is not sold for"):
        await provider.rent(replace(ORDER, candidate=A100))

    assert fake.pods == []


async def test_the_smallest_cpu_machine_is_rented_beside_its_volume(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    volume = await provider.create_volume("data", 50, "EU-RO-1")
    order = replace(
        CPU_ORDER,
        data_center=None,
        network_volume_id=volume.volume_id,
        mount_path=str(fake.mount_path),
    )

    rented = await provider.rent(order)

    assert (rented.gpu_id, rented.gpu_count) == (None, 0)
    assert (rented.data_center, rented.usd_per_hour) == ("EU-RO-1", 0.06)
    assert fake.pod(rented.machine_id).order["cpu"] == {"id": "cpu3c", "vcpuCount": 2}


async def test_a_cpu_flavour_that_has_just_sold_out_leaves_the_next(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    fake.faults.add(method="POST", path="/v2/pods$", status=400, detail="no instances")

    assert (await provider.rent(CPU_ORDER)).usd_per_hour == pytest.approx(0.07)


async def test_without_any_cpu_machine_there_is_no_capacity(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    fake.catalogue.set_stock(0)

    with pytest.raises(NoCapacity, match="no CPU machine in EU-RO-1"):
        await provider.rent(CPU_ORDER)


# Refusals.


async def test_a_sold_out_machine_is_told_in_the_providers_own_words(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    fake.catalogue.set_stock(0)

    with pytest.raises(NoCapacity, match=r"POST /v2/pods: 400 .*instances"):
        await provider.rent(ORDER)


async def test_without_money_nothing_is_rented(fake: FakeRunpod, provider: RunpodProvider) -> None:
    fake.set_balance(0)

    with pytest.raises(InsufficientBalance, match="Add funds"):
        await provider.rent(ORDER)


async def test_a_revoked_key_is_told_by_every_call(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    fake.revoke_key()

    for call in (
        provider.rent(ORDER),
        provider.machines(),
        provider.machine("x"),
        provider.end("x"),
        provider.volumes(),
        provider.data_centers(),
        provider.offers(["H100_PCIE"], 1, [Cloud.SECURE]),
        provider.billed_usd("x"),
        provider.system_log("x"),
        anext(provider.log_lines("x")),
    ):
        with pytest.raises(ProviderUnauthorized) as caught:
            await call
        assert str(fake.api_key) not in str(caught.value)


async def test_a_volume_that_is_elsewhere_says_where_before_anything_is_rented(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    volume = await provider.create_volume("data", 50, "EU-RO-1")

    with pytest.raises(ProviderRefused, match="is in EU-RO-1, not in US-KS-2"):
        await provider.rent(replace(ORDER, network_volume_id=volume.volume_id))
    with pytest.raises(ProviderRefused, match="no volume 'nothing'"):
        await provider.rent(replace(ORDER, network_volume_id="nothing"))

    assert fake.pods == []


# Doubt.


@pytest.mark.parametrize("how", [{"status": 500}, {"reset": True}])
async def test_an_order_that_was_done_and_answered_badly_is_in_doubt_and_found_by_name(
    fake: FakeRunpod, provider: RunpodProvider, how: dict[str, Any]
) -> None:
    fake.faults.add(method="POST", path="/v2/pods$", after_doing=True, **how)

    with pytest.raises(AmbiguousAnswer):
        await provider.rent(ORDER)

    assert [each.name for each in await provider.machines()] == ["brightrun-1"]
    assert len(fake.pods) == 1


async def test_an_order_is_repeated_after_a_429_and_makes_one_machine(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    fake.faults.add(method="POST", path="/v2/pods$", status=429, retry_after_s=1)

    await provider.rent(ORDER)

    assert len(fake.pods) == 1


@pytest.mark.parametrize(
    ("how", "kind"),
    [({"status": 500}, AmbiguousAnswer), ({"reset": True}, AmbiguousAnswer)],
)
async def test_an_end_without_a_good_answer_may_not_have_happened(
    fake: FakeRunpod, provider: RunpodProvider, how: dict[str, Any], kind: type[ProviderError]
) -> None:
    rented = await provider.rent(ORDER)
    fake.faults.add(method="DELETE", **how)

    with pytest.raises(kind):
        await provider.end(rented.machine_id)

    assert len(fake.pods) == 1


async def test_a_list_that_fails_is_no_empty_list(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    fake.faults.add(method="GET", path="/v2/pods$", status=503)

    with pytest.raises(ProviderUnreachable):
        await provider.machines()


# Volumes, places, bills.


async def test_a_volume_is_made_where_it_is_asked_for_and_has_its_price(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    made = await provider.create_volume("data", 1100, "us-ks-2")

    assert (made.size_gb, made.data_center, made.usd_per_month) == (1100, "US-KS-2", 75.0)
    assert await provider.volumes() == [made]
    # Of the kind whose price is published: left to the provider, it may be a dearer one.
    [asked] = fake.calls("POST", "network-volumes")
    assert asked.body["type"] == "STANDARD"


@pytest.mark.parametrize(
    ("size_gb", "data_center", "words"),
    [(5, "US-KS-2", "10 to 4096 GB"), (50, "US-KS-9", "near it: US-KS-2")],
)
async def test_a_volume_that_is_not_to_be_had_is_refused(
    fake: FakeRunpod, provider: RunpodProvider, size_gb: int, data_center: str, words: str
) -> None:
    with pytest.raises(InvalidMachineRequest, match=words):
        await provider.create_volume("data", size_gb, data_center)

    assert await provider.volumes() == []


async def test_a_volume_that_was_made_and_answered_badly_is_in_doubt(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    fake.faults.add(method="POST", path="network-volumes", after_doing=True, status=500)

    with pytest.raises(AmbiguousAnswer):
        await provider.create_volume("data", 50, "US-KS-2")

    assert [each.name for each in await provider.volumes()] == ["data"]


async def test_the_data_centres_tell_who_has_volumes(provider: RunpodProvider) -> None:
    places = await provider.data_centers()

    assert {each.data_center_id for each in places} >= {"US-KS-2", "EU-RO-1"}
    assert all(each.has_network_volumes for each in places)


async def test_the_bill_of_a_machine_is_what_the_provider_says(
    fake: FakeRunpod, provider: RunpodProvider
) -> None:
    rented = await provider.rent(ORDER)
    fake.clock.advance(3600)

    assert await provider.billed_usd(rented.machine_id) == pytest.approx(2.39, abs=0.05)
    assert await provider.billed_usd("nothing") is None


async def test_a_machine_that_stopped_says_so(fake: FakeRunpod, provider: RunpodProvider) -> None:
    rented = await provider.rent(ORDER)
    fake.lose_pod(rented.machine_id, how="exited")

    [machine] = await provider.machines()

    assert machine.status is MachineStatus.EXITED


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "find_spec", lambda name: None)

    with pytest.raises(InvalidMachineRequest, match=r"pip install 'brightrun\[runpod\]'"):
        RunpodProvider("key", "https://api.runpod.io")
