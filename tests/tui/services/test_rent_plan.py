from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import (
    AmbiguousAnswer,
    InvalidMachineRequest,
    NoCapacity,
    OverBudget,
    ProviderError,
    TooLittleMemory,
)
from shared.machine_request import Cloud, Stock
from tests.fakes.runpod.server import FakeRunpod
from tests.tui.services.rental_work import work
from tui.config import load_config
from tui.services.model_shapes import FoundShape
from tui.services.providers.provider import Provider
from tui.services.providers.providers import RUNPOD, provider_named
from tui.services.rent_options import TrainingWork
from tui.services.rent_plan import RentPlan, RentWanted, plan_rent
from tui.services.rent_volumes import make_volume

H100 = "NVIDIA H100 PCIe"
BOTH = (Cloud.SECURE, Cloud.COMMUNITY)


@pytest.fixture
async def provider(runpod: FakeRunpod) -> AsyncIterator[Provider]:
    account = provider_named(RUNPOD, load_config())
    yield account
    await account.close()


def wanted(**values: Any) -> RentWanted:
    return RentWanted(**{"budget_usd": 50.0, "gpu_types": ("H100_PCIE",), **values})


def labels(plan: RentPlan) -> list[str]:
    return [option.candidate.label for option in plan.options]


async def test_what_is_large_enough_is_tried_from_the_cheapest_on_anywhere(
    provider: Provider,
) -> None:
    plan = await plan_rent(provider, wanted(gpu_types=()), work())

    assert labels(plan) == [
        "A100_80GB secure anywhere",
        "H100_PCIE secure anywhere",
        "H100_NVL secure anywhere",
        "H100_SXM secure anywhere",
    ]
    assert [option.candidate.usd_per_hour for option in plan.options] == [1.64, 2.39, 2.79, 2.99]


async def test_the_users_gpus_are_tried_in_the_users_order_by_any_of_their_names(
    provider: Provider,
) -> None:
    chosen = wanted(gpu_types=("h100 sxm", "A100_SXM"), clouds=BOTH)
    plan = await plan_rent(provider, chosen, work())

    assert [(each.candidate.gpu_type, each.candidate.cloud) for each in plan.options] == [
        ("H100_SXM", Cloud.COMMUNITY),
        ("H100_SXM", Cloud.SECURE),
        ("A100_80GB", Cloud.COMMUNITY),
        ("A100_80GB", Cloud.SECURE),
    ]


async def test_where_a_gpu_is_sold_out_the_next_one_comes_first(
    runpod: FakeRunpod, provider: Provider
) -> None:
    runpod.catalogue.set_stock(0, "NVIDIA A100 80GB PCIe")
    runpod.catalogue.set_stock(0, "NVIDIA A100-SXM4-80GB")

    plan = await plan_rent(provider, wanted(gpu_types=()), work())

    assert labels(plan)[0] == "H100_PCIE secure anywhere"
    assert plan.options[-1].candidate.stock is Stock.NONE
    assert not plan.is_sold_out


async def test_a_volume_by_its_name_keeps_the_machines_in_its_data_centre(
    provider: Provider,
) -> None:
    await provider.create_volume("mine", 200, "EU-RO-1")

    plan = await plan_rent(provider, wanted(volume="mine"), work())

    assert labels(plan) == ["H100_PCIE secure EU-RO-1"]
    request = plan.request()
    assert plan.volume is not None
    assert request.network_volume_id == plan.volume.volume_id
    assert request.network_volume_usd_per_month == 14.0
    assert request.container_disk_gb == 50


async def test_a_volume_in_another_data_centre_is_refused_with_where_it_is(
    provider: Provider,
) -> None:
    volume = await provider.create_volume("mine", 200, "EU-RO-1")
    elsewhere = wanted(volume="mine", data_centers=("US-KS-2",))

    with pytest.raises(InvalidMachineRequest, match=r"is in EU-RO-1, not in US-KS-2"):
        await plan_rent(provider, elsewhere, work())
    with pytest.raises(InvalidMachineRequest, match=rf"no volume 'other'.*{volume.volume_id}"):
        await plan_rent(provider, wanted(volume="other"), work())


async def test_two_volumes_of_one_name_are_told_apart_by_their_ids(provider: Provider) -> None:
    first = await provider.create_volume("mine", 200, "EU-RO-1")
    await provider.create_volume("mine", 200, "US-KS-2")

    with pytest.raises(InvalidMachineRequest, match="Several volumes"):
        await plan_rent(provider, wanted(volume="mine"), work())
    plan = await plan_rent(provider, wanted(volume=first.volume_id), work())
    assert labels(plan) == ["H100_PCIE secure EU-RO-1"]


async def test_an_unknown_data_centre_names_near_ones(provider: Provider) -> None:
    with pytest.raises(InvalidMachineRequest, match="near it: US-KS-2"):
        await plan_rent(provider, wanted(data_centers=("US-KS-3",)), work())


async def test_a_volume_and_the_community_cloud_do_not_go_together(provider: Provider) -> None:
    with pytest.raises(InvalidMachineRequest, match="would begin anew"):
        await plan_rent(provider, wanted(volume="mine", clouds=BOTH), work())


async def test_a_new_volume_is_where_the_best_machine_is_and_has_room_for_the_model(
    runpod: FakeRunpod, provider: Provider
) -> None:
    runpod.catalogue.set_stock(1, H100)
    runpod.catalogue.set_stock(30, H100, "CA-MTL-1")

    plan = await plan_rent(provider, wanted(volume="new"), work())

    assert plan.new_volume is not None
    assert (plan.new_volume.data_center, plan.new_volume.size_gb) == ("CA-MTL-1", 80)
    assert plan.new_volume.usd_per_month == pytest.approx(5.6)
    assert labels(plan) == ["H100_PCIE secure CA-MTL-1"]
    assert runpod.volumes == {}
    with pytest.raises(InvalidMachineRequest, match="made first"):
        plan.request()
    assert (await plan_rent(provider, wanted(volume="new:99"), work())).volume_usd_per_month == 6.93
    with pytest.raises(InvalidMachineRequest, match="new:200"):
        await plan_rent(provider, wanted(volume="new:much"), work())


async def test_where_the_volume_is_a_sold_out_gpu_is_waited_for(
    runpod: FakeRunpod, provider: Provider
) -> None:
    await provider.create_volume("mine", 200, "EU-RO-1")
    runpod.catalogue.set_stock(0, H100, "EU-RO-1")

    plan = await plan_rent(provider, wanted(volume="mine"), work())

    assert labels(plan) == ["H100_PCIE secure EU-RO-1"]
    assert plan.is_sold_out
    assert plan.options[0].candidate.usd_per_hour == 2.39


async def test_a_new_volume_is_made_nowhere_while_nothing_is_in_stock(
    runpod: FakeRunpod, provider: Provider
) -> None:
    runpod.catalogue.set_stock(0)

    with pytest.raises(NoCapacity, match="--data-center"):
        await plan_rent(provider, wanted(volume="new"), work())
    named = wanted(volume="new", data_centers=("EU-RO-1",))
    plan = await plan_rent(provider, named, work())
    assert plan.is_sold_out
    assert plan.new_volume is not None and plan.new_volume.data_center == "EU-RO-1"


async def test_a_volume_whose_making_was_answered_with_an_error_is_adopted_not_made_twice(
    runpod: FakeRunpod, provider: Provider
) -> None:
    plan = await plan_rent(provider, wanted(volume="new"), work())
    assert plan.new_volume is not None
    runpod.faults.add(method="POST", path="network-volumes", times=1, status=500, after_doing=True)

    volume = await make_volume(provider, plan.new_volume)
    again = await make_volume(provider, plan.new_volume)

    assert again == volume
    assert list(runpod.volumes) == [volume.volume_id]
    assert plan.request(volume=volume).network_volume_id == volume.volume_id


async def test_a_volume_that_was_not_made_is_not_claimed(
    runpod: FakeRunpod, provider: Provider
) -> None:
    plan = await plan_rent(provider, wanted(volume="new"), work())
    assert plan.new_volume is not None
    runpod.faults.add(method="POST", path="network-volumes", times=1, status=500)

    with pytest.raises(AmbiguousAnswer):
        await make_volume(provider, plan.new_volume)
    assert runpod.volumes == {}


async def test_a_budget_below_the_cheapest_candidate_says_what_it_would_take(
    provider: Provider,
) -> None:
    with pytest.raises(OverBudget) as caught:
        await plan_rent(provider, wanted(gpu_types=(), budget_usd=0.1), work())

    message = str(caught.value)
    assert "cheapest for this job is H100_PCIE secure anywhere at $2.39/h" in message
    enough = float(message.split("--budget ")[1].split()[0])
    plan = await plan_rent(provider, wanted(gpu_types=(), budget_usd=enough), work())
    assert labels(plan) == ["H100_PCIE secure anywhere"]
    assert "A100_80GB" in {left.option.candidate.gpu_type for left in plan.left_out}
    with pytest.raises(OverBudget):
        await plan_rent(provider, wanted(gpu_types=(), budget_usd=enough - 0.01), work())


async def test_a_job_that_fits_into_none_of_the_gpus_names_those_that_would(
    provider: Provider,
) -> None:
    huge = work(pack_tokens=32_768)
    with pytest.raises(TooLittleMemory, match=r"Large enough: .*H200"):
        await plan_rent(provider, wanted(), _with_large_steps(huge))

    plan = await plan_rent(provider, wanted(ignore_memory=True), _with_large_steps(huge))
    assert labels(plan) == ["H100_PCIE secure anywhere"]


def _with_large_steps(job: TrainingWork) -> TrainingWork:
    return replace(job, plan=replace(job.plan, largest_step_tokens=40_000))


async def test_spot_is_answered_with_the_truth_and_the_prices_that_there_are(
    runpod: FakeRunpod, provider: Provider
) -> None:
    with pytest.raises(InvalidMachineRequest) as caught:
        await plan_rent(provider, wanted(instance_type="spot"), work())

    message = str(caught.value)
    assert message.startswith("RunPod no longer sells spot")
    assert "H100_PCIE secure $2.39/h" in message
    assert "H100_PCIE community $1.99/h" in message
    assert "would begin anew" in message
    assert runpod.calls("POST", "/pods") == []


async def test_sold_out_everywhere_is_waited_for_or_refused_with_every_stock(
    runpod: FakeRunpod, provider: Provider
) -> None:
    runpod.catalogue.set_stock(0)

    patient = await plan_rent(provider, wanted(), work())
    assert patient.is_sold_out
    patient.require_stock()

    hasty = await plan_rent(provider, wanted(wait_for_stock_hours=0.0, clouds=BOTH), work())
    with pytest.raises(NoCapacity) as caught:
        hasty.require_stock()
    assert "H100_PCIE secure anywhere: none" in str(caught.value)
    assert "H100_PCIE community" in str(caught.value)


async def test_a_gpu_that_nobody_sells_there_is_no_empty_plan(provider: Provider) -> None:
    with pytest.raises(InvalidMachineRequest, match=r"has no B200.*sold out or not"):
        await plan_rent(provider, wanted(gpu_types=("B200",)), work())
    with pytest.raises(InvalidMachineRequest, match="no GPU type at RunPod"):
        await plan_rent(provider, wanted(gpu_types=("VOODOO_2",)), work())


async def test_nobody_guesses_which_gpu_is_large_enough(provider: Provider) -> None:
    unknown = TrainingWork(work().spec, FoundShape(None, "the model is gated"), work().plan)

    with pytest.raises(InvalidMachineRequest, match=r"the model is gated.*--gpu H100_PCIE"):
        await plan_rent(provider, wanted(gpu_types=()), unknown)
    assert labels(await plan_rent(provider, wanted(), unknown)) == ["H100_PCIE secure anywhere"]


async def test_a_machine_has_as_many_gpus_as_the_job_has_replicas(provider: Provider) -> None:
    plan = await plan_rent(provider, wanted(), work(num_gpus=2))

    assert labels(plan) == ["2x H100_PCIE secure anywhere"]
    assert plan.options[0].candidate.usd_per_hour == pytest.approx(4.78)
    with pytest.raises(InvalidMachineRequest, match="num_gpus"):
        await plan_rent(provider, wanted(gpu_count=1), work(num_gpus=2))


async def test_without_a_budget_offers_can_be_looked_at_and_nothing_can_be_rented(
    provider: Provider,
) -> None:
    plan = await plan_rent(provider, wanted(budget_usd=None), work())

    with pytest.raises(InvalidMachineRequest, match="--budget"):
        plan.request()


async def test_a_figure_out_of_its_range_is_named(provider: Provider) -> None:
    plan = await plan_rent(provider, wanted(max_duration_hours=9000.0), work())
    with pytest.raises(InvalidMachineRequest, match="max_duration_hours"):
        plan.request()


async def test_without_a_volume_the_machines_own_disk_has_room_for_the_model(
    provider: Provider,
) -> None:
    plan = await plan_rent(provider, wanted(), work())
    request = plan.request(candidates=[plan.options[0].candidate])

    assert request.container_disk_gb == 80
    assert (request.keeps_results, plan.keeps_results) == (False, False)


async def test_a_revoked_key_is_said_and_nothing_is_planned(
    runpod: FakeRunpod, provider: Provider
) -> None:
    runpod.revoke_key()
    with pytest.raises(ProviderError, match="API key"):
        await plan_rent(provider, wanted(), work())


async def test_a_volume_that_is_too_small_is_refused_with_the_size_that_would_do(
    provider: Provider, runpod: FakeRunpod
) -> None:
    await provider.create_volume("small", 60, "EU-RO-1")
    with pytest.raises(InvalidMachineRequest, match=r"volume small has 60 GB.*at least 80 GB"):
        await plan_rent(provider, wanted(volume="small"), work())
    with pytest.raises(InvalidMachineRequest, match=r"would have 60 GB.*--volume new:80"):
        await plan_rent(provider, wanted(volume="new:60"), work())
    with pytest.raises(InvalidMachineRequest, match=r"own disk would have 60 GB.*--disk 80"):
        await plan_rent(provider, wanted(container_disk_gb=60), work())


async def test_what_other_base_models_take_of_the_volume_counts(
    provider: Provider, runpod: FakeRunpod
) -> None:
    volume = await provider.create_volume("mine", 100, "EU-RO-1")
    await plan_rent(provider, wanted(volume="mine"), work())
    crowded = replace(work(), taken_bytes={volume.volume_id: 40 * 10**9})
    told = r"at least 120 GB.*40\.0 GB other base models there"
    with pytest.raises(InvalidMachineRequest, match=told):
        await plan_rent(provider, wanted(volume="mine"), crowded)
