from __future__ import annotations

from dataclasses import replace
from typing import Any

from shared.machine_request import AfterInterruptions, Cloud, Stock
from tests.tui.services.rental_work import offer, work
from tui.services.model_shapes import FoundShape
from tui.services.providers.provider import NetworkVolume
from tui.services.rent_options import TrainingWork, judge_options, options_of
from tui.services.rent_plan import LOSS_RULE, RentPlan, RentWanted
from tui.services.rent_volumes import NewVolume
from tui.views.machine_lines import agreed_pairs
from tui.views.rent_review import (
    candidate_row,
    left_out_lines,
    rent_pairs,
    volume_words,
    warnings_of,
)

VOLUME = NetworkVolume("vol-1", "mine", 200, "US-KS-2", 14.0)


def plan(*offers: Any, job: TrainingWork | None = None, **values: Any) -> RentPlan:
    job = job or work()
    wanted = RentWanted(**{"budget_usd": 20.0, **values.pop("wanted", {})})
    options = options_of(offers or (offer(),), job)
    kept, left_out = judge_options(options, None, ignore_memory=wanted.ignore_memory)
    return RentPlan(wanted, job, tuple(kept), tuple(left_out), **{"volume": VOLUME, **values})


def test_a_candidate_is_a_line_with_price_stock_memory_hours_and_cost() -> None:
    [option] = options_of([offer(usd_per_hour=2.0, gpu_count=2)], work(num_gpus=2))
    row = candidate_row(option)

    assert (row.gpu, row.cloud, row.where) == ("2 x H100_PCIE", "secure", "US-KS-2")
    assert (row.usd_per_hour, row.stock) == ("2.00", "high")
    assert row.memory == "fits (60.2 GB of 80.0 GB)"
    assert option.cost_usd is not None
    least, most = option.cost_usd
    assert row.cost == f"${least:.2f}-{most:.2f}"


def test_what_nobody_knows_is_a_dash() -> None:
    job = replace(work(), found=FoundShape(None, "gated"))
    [option] = options_of([offer(data_center=None)], job)
    row = candidate_row(option)

    assert (row.where, row.memory, row.hours, row.cost) == ("anywhere", "unknown", "–", "–")
    pairs = dict(rent_pairs(plan(offer(usd_per_hour=2.0), job=job)))
    assert pairs["expected cost"] == "unknown, at $2.00/h"


def test_everything_that_is_agreed_to_is_told() -> None:
    wanted = {"max_interruptions": 1, "after_interruptions": AfterInterruptions.NEXT_GPU}
    pairs = dict(rent_pairs(plan(wanted=wanted)))

    assert pairs["budget"].startswith("$20.00 for all machines of the job together")
    assert pairs["interruptions"] == (
        "a new machine goes on from the last checkpoint; after 1 lost machine it goes on with the "
        "next GPU type"
    )
    assert pairs["no stock"] == "it waits up to 1 h, which costs the volume only ($14.00 a month)"
    assert pairs["network volume"] == "mine, 200 GB in US-KS-2, $14.00 a month"
    assert "figures" not in pairs
    two = dict(rent_pairs(plan(offer(), offer("H100_SXM", 3.0))))
    assert two["figures"] == "of H100_PCIE, which is tried first"


def test_a_new_volume_is_told_with_its_price() -> None:
    new = NewVolume("brightrun-job-one", 160, "US-KS-2", 11.2)
    words = volume_words(plan(volume=None, new_volume=new))
    assert words == "brightrun-job-one, 160 GB in US-KS-2, $11.20 a month, to be made"


def test_without_a_volume_the_loss_rule_is_told_first() -> None:
    assert warnings_of(plan()) == []
    assert warnings_of(plan(volume=None)) == [LOSS_RULE]
    pairs = dict(rent_pairs(plan(volume=None)))
    assert "goes on from the beginning" in pairs["interruptions"]


def test_above_100_dollars_and_above_24_hours_is_warned_of() -> None:
    at_the_limit = plan(wanted={"budget_usd": 100.0, "max_duration_hours": 24.0})
    above = plan(wanted={"budget_usd": 100.01, "max_duration_hours": 24.5})

    assert warnings_of(at_the_limit) == []
    assert warnings_of(above) == [
        "It may cost up to $100.01: more than $100.",
        "It may run for 24.5 h: more than 24 h.",
    ]


def test_a_job_that_may_be_cut_short_by_its_own_limits_is_warned_of() -> None:
    long = work(tokens=30_000_000)
    [hours, dollars] = warnings_of(plan(job=long, wanted={"max_duration_hours": 1.0}))

    assert "on H100_PCIE, and is ended after 1 h." in hours
    assert dollars.endswith("on H100_PCIE, and is ended at $20.00.")


def test_gpus_that_idle_are_warned_of() -> None:
    [line] = warnings_of(plan(offer(gpu_count=2, usd_per_hour=4.0)))
    assert line == "2 GPUs are paid for, and the job uses 1 (num_gpus)."


def test_memory_that_does_not_fit_is_left_out_or_warned_of() -> None:
    both = (offer("A40", 0.4), offer())
    assert left_out_lines(plan(*both)) == [
        "A40 secure is left out: needs about 60.2 GB of 48.0 GB (A40): too much"
    ]
    [line] = warnings_of(plan(*both, wanted={"ignore_memory": True}))
    assert line == "By the prediction the job does not fit into A40."


def test_a_disk_that_is_only_just_large_enough_is_warned_of() -> None:
    small = replace(VOLUME, size_gb=75)
    [line] = warnings_of(plan(volume=small))
    assert line.startswith("The network volume has 75 GB; 80 GB are advised (39.5 GB the quantised")
    job = replace(work(), found=FoundShape(None, "gated"))
    [_, line] = warnings_of(plan(job=job, volume=None, wanted={"container_disk_gb": 30}))
    assert line.startswith("The machine's disk has 30 GB; 50 GB are advised")
    assert line.endswith("the base model's size is not known).")


def test_sold_out_everywhere_is_told_with_every_candidate() -> None:
    none = (offer(stock=Stock.NONE), offer(stock=Stock.NONE, cloud=Cloud.COMMUNITY))
    [line] = warnings_of(plan(*none))
    assert line.startswith("Nothing is in stock now (H100_PCIE secure US-KS-2: none; H100_PCIE co")


def test_a_providers_words_cannot_steer_the_terminal() -> None:
    evil = "\x1b]52;c;cm0=\x07[red]\u202e"
    volume = NetworkVolume(evil, evil, 10, evil, None)
    found = plan(offer(data_center=evil), volume=volume, wanted={"image": evil})
    row = candidate_row(found.options[0])

    words = "".join([*warnings_of(found), row.where, *(value for _, value in rent_pairs(found))])
    assert "[red]" in words
    assert not set(words) & {"\x1b", "\x07", "\u202e"}


def test_an_image_of_ones_own_is_told_with_what_is_unusual_about_it() -> None:
    assert dict(rent_pairs(plan(wanted={"image": "me/mine:1"})))["image"] == "me/mine:1"
    unusual = {"image": "me/mine:1", "start_script": "/go", "mount_path": "/d", "registry": "r1"}
    words = "me/mine:1, started by /go, volume at /d, pulled with credentials r1"
    asked = plan(wanted=unusual)
    assert dict(rent_pairs(asked))["image"] == words
    assert dict(agreed_pairs(asked.request()))["image"] == words
