from __future__ import annotations

import pytest

from shared.machine_request import AfterInterruptions, Cloud
from tui.views.rent_draft import RentDraft


def test_what_is_typed_becomes_what_is_wanted() -> None:
    draft = RentDraft(
        budget_usd=" 20 ",
        gpus="H100_PCIE, a100_80gb",
        gpu_count="2",
        cloud="both",
        data_centers="US-KS-2 EU-RO-1",
        max_hours="12.5",
        max_interruptions="0",
        after="next_gpu",
        wait_hours="0",
    )
    assert draft.problems() == {}
    wanted = draft.wanted()
    assert (wanted.budget_usd, wanted.gpu_types) == (20, ("H100_PCIE", "a100_80gb"))
    assert (wanted.gpu_count, wanted.clouds) == (2, (Cloud.SECURE, Cloud.COMMUNITY))
    assert wanted.data_centers == ("US-KS-2", "EU-RO-1")
    assert (wanted.max_duration_hours, wanted.max_interruptions) == (12.5, 0)
    assert wanted.after_interruptions is AfterInterruptions.NEXT_GPU
    assert wanted.wait_for_stock_hours == 0


def test_without_a_budget_offers_can_be_looked_at() -> None:
    draft = RentDraft()
    assert list(draft.problems()) == ["budget_usd"]
    assert draft.can_look
    assert draft.wanted().budget_usd is None


@pytest.mark.parametrize(
    ("volume", "size_gb", "wanted"),
    [
        ("none", "50", None),
        ("new", "", "new"),
        ("new", "300", "new:300"),
        ("vol-1", "300", "vol-1"),
    ],
)
def test_a_size_counts_only_for_a_new_volume(volume: str, size_gb: str, wanted: str | None) -> None:
    assert RentDraft(volume=volume, volume_gb=size_gb).wanted().volume == wanted


@pytest.mark.parametrize("budget", ["0", "-1", "nan", "inf", "x", "1e9"])
def test_a_budget_that_is_no_sum_of_money_is_refused(budget: str) -> None:
    assert "budget_usd" in RentDraft(budget_usd=budget).problems()
