from __future__ import annotations

from dataclasses import replace

import pytest

from shared.forecast.arithmetic import forecast
from shared.forecast.forecast import PartName
from shared.forecast.past import Past
from shared.machine_request import Candidate, Cloud, MachineRequest, Stock
from tests.shared.forecast.foreseen import host
from tests.tui.services.rental_work import offer, work
from tui.services.controller.money import affords, reserve_usd
from tui.services.estimate import Volume
from tui.services.model_shapes import FoundShape
from tui.services.rent_options import (
    START_UP_HOURS,
    TrainingWork,
    anywhere,
    gpu_types_that_fit,
    in_fallback_order,
    judge_options,
    options_of,
)

SECURE, COMMUNITY = Cloud.SECURE, Cloud.COMMUNITY


def order_of(offers: list[Candidate], gpu_order: tuple[str, ...] = ()) -> list[str]:
    ordered = in_fallback_order(options_of(offers, work()), gpu_order)
    return [f"{each.candidate.label} {each.candidate.usd_per_hour:g}" for each in ordered]


def test_within_a_gpu_type_stock_comes_first_then_the_price_then_the_secure_cloud() -> None:
    offers = [
        offer(usd_per_hour=1.0, stock=Stock.NONE, data_center="A"),
        offer(usd_per_hour=2.0, stock=Stock.HIGH, data_center="B", cloud=COMMUNITY),
        offer(usd_per_hour=2.0, stock=Stock.HIGH, data_center="C"),
        offer(usd_per_hour=1.5, stock=Stock.HIGH, data_center="D"),
        offer(usd_per_hour=1.2, stock=Stock.LOW, data_center="E"),
    ]

    assert order_of(offers) == [
        "H100_PCIE secure D 1.5",
        "H100_PCIE secure C 2",
        "H100_PCIE community B 2",
        "H100_PCIE secure E 1.2",
        "H100_PCIE secure A 1",
    ]


def test_the_users_order_of_gpu_types_is_kept_even_where_the_first_is_dearer_or_sold_out() -> None:
    offers = [
        offer("A100_80GB", 1.0),
        offer("H100_SXM", 3.0, Stock.NONE),
        offer("H100_PCIE", 2.0),
    ]

    assert order_of(offers, ("H100_SXM", "H100_PCIE", "A100_80GB")) == [
        "H100_SXM secure US-KS-2 3",
        "H100_PCIE secure US-KS-2 2",
        "A100_80GB secure US-KS-2 1",
    ]


def test_without_an_order_the_cheapest_type_that_is_in_stock_comes_first() -> None:
    offers = [
        offer("H100_SXM", 3.0),
        offer("A100_80GB", 1.0, Stock.NONE),
        offer("H100_PCIE", 2.0, Stock.LOW),
    ]

    assert [line.split()[0] for line in order_of(offers)] == ["H100_PCIE", "H100_SXM", "A100_80GB"]


def test_where_the_place_does_not_matter_each_type_and_cloud_is_one_offer_with_its_best_stock() -> (
    None
):
    offers = [
        offer(stock=Stock.LOW, data_center="A"),
        offer(stock=Stock.HIGH, data_center="B"),
        offer(cloud=COMMUNITY, data_center=None, stock=Stock.NONE),
    ]

    assert anywhere(offers) == [
        offer(stock=Stock.HIGH, data_center=None),
        offer(cloud=COMMUNITY, data_center=None, stock=Stock.NONE),
    ]


def test_a_gpu_that_is_too_small_is_left_out_unless_the_user_insists() -> None:
    options = options_of([offer("RTX_4090", 0.5), offer("H100_PCIE", 2.0)], work())

    kept, left_out = judge_options(options, 100.0)
    assert [each.candidate.gpu_type for each in kept] == ["H100_PCIE"]
    [small] = left_out
    assert small.reason == "needs about 60.2 GB of 24.0 GB (RTX_4090): too much"
    assert judge_options(options, 100.0, ignore_memory=True) == (options, [])


def test_hours_and_cost_are_those_of_all_parts_of_the_forecast() -> None:
    [option] = options_of([offer(usd_per_hour=3.0)], work())

    total = option.forecast.total
    assert option.hours is not None and option.cost_usd is not None and total is not None
    assert option.hours == pytest.approx((total.best / 3600, total.worst / 3600))
    assert option.hours[0] < option.hours[1]
    assert option.cost_usd == pytest.approx([hours * 3.0 for hours in option.hours])


def test_a_volume_with_the_quantised_model_makes_the_start_shorter_and_costs_its_share() -> None:
    volume = Volume("vol-1", usd_per_month=7.3)
    knowing = replace(work(), past=Past(cached_on=frozenset({"vol-1"})))

    [without] = options_of([offer()], work())
    [download] = options_of([offer()], work(), volume)
    [hit] = options_of([offer()], knowing, volume)

    sources = [each.forecast.place.model_source for each in (without, download, hit)]
    assert sources == ["download", "download", "cache"]
    assert without.forecast.storage_usd is None and hit.forecast.storage_usd is not None
    assert hit.hours is not None and download.hours is not None
    assert hit.hours[1] < download.hours[1]


def test_a_dry_run_is_paid_for_as_long_as_a_machine_is_rented_at_least() -> None:
    [option] = options_of([offer(usd_per_hour=4.0)], work(dry_run=True))

    training = option.forecast.part(PartName.TRAINING).seconds
    assert training is not None and training.worst == 0
    assert option.least_usd >= 4.0 * START_UP_HOURS
    spec = option.forecast.work.model_copy(update={"base_model": "tiny"})
    quick = replace(option, forecast=forecast(spec, host(usd_per_hour=4.0)))
    assert quick.least_usd == 4.0 * START_UP_HOURS


def test_what_the_budget_cannot_pay_for_is_left_out_with_the_figure() -> None:
    options = options_of([offer(usd_per_hour=2.0), offer("H100_SXM", 200.0)], work())

    kept, [left] = judge_options(options, 30.0)

    assert [each.candidate.gpu_type for each in kept] == ["H100_PCIE"]
    assert left.reason == f"needs ${left.option.least_budget_usd:,.2f} at least, of $30.00"
    assert judge_options(options, None)[1] == []


@pytest.mark.parametrize("tokens", [1, 50_000, 800_000, 80_000_000])
def test_the_least_budget_is_one_with_which_the_controller_rents(tokens: int) -> None:
    [option] = options_of([offer(usd_per_hour=2.0)], work(tokens=tokens))

    budget = option.least_budget_usd
    request = MachineRequest(candidates=(option.candidate,), budget_usd=budget + 0.001)
    assert affords(request, 0.0, 2.0)
    left = request.budget_usd - reserve_usd(request, 2.0)
    assert left == pytest.approx(option.least_usd, abs=0.01)


def test_without_a_time_only_the_start_is_counted() -> None:
    unknown = TrainingWork(work().spec, FoundShape(None, "gone"), work().plan)
    [option] = options_of([offer(usd_per_hour=2.0)], unknown)

    assert (option.hours, option.cost_usd, option.least_usd) == (None, None, 0.5)
    assert not option.is_too_small
    assert judge_options([option], 1.0)[0] == [option]


def test_types_are_chosen_by_the_memory_that_the_job_needs() -> None:
    types = ["RTX_4090", "A40", "A100_80GB", "H100_PCIE", "B200"]
    assert gpu_types_that_fit(work(), types) == ["A100_80GB", "H100_PCIE", "B200"]

    unknown = TrainingWork(work().spec, FoundShape(None, "gone"), work().plan)
    assert gpu_types_that_fit(unknown, types) == []
