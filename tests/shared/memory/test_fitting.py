from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.job_options import parse_setting, read_settings
from shared.job_spec import DatasetReference, build_job_spec
from shared.memory.cards import (
    CARDS,
    GB,
    Fit,
    cards_that_fit,
    judge,
    memory_of_driver,
)
from shared.memory.fitting import remedies
from shared.memory.plan import plan_memory
from shared.memory.workload import Workload
from tests.shared.llama_70b import LLAMA_70B

H100 = CARDS["H100_PCIE"].memory_bytes


@pytest.mark.parametrize(
    ("need_gb", "fit"),
    [(75.0, Fit.FITS), (75.1, Fit.TIGHT), (78.0, Fit.TIGHT), (78.1, Fit.TOO_LARGE)],
)
def test_an_80_gb_card_is_tight_above_75_and_too_small_above_78(need_gb: float, fit: Fit) -> None:
    assert judge(round(need_gb * GB), H100) is fit


def test_what_the_driver_tells_of_a_card_counts_as_what_it_is_sold_as() -> None:
    assert memory_of_driver(81_559) / GB == pytest.approx(80, abs=0.4)
    assert memory_of_driver(24_564) / GB == pytest.approx(24, abs=0.1)


def test_the_70b_job_of_4_rows_of_2048_fits_on_an_h100() -> None:
    peak = plan_memory(Workload(LLAMA_70B, 2048, pack_tokens=8192)).peak_bytes
    assert judge(peak, H100) is Fit.FITS
    assert cards_that_fit(peak)[:4] == ["A100_80GB", "H100_PCIE", "H100_SXM", "H100_NVL"]


def test_packs_are_made_shorter_before_anything_else_changes() -> None:
    workload = Workload(LLAMA_70B, 2000, pack_tokens=32_768)
    first, *_ = remedies(workload, H100)

    assert first.settings == {"pack_tokens": "8192"}
    assert first.as_options == "--set pack_tokens=8192"


def test_a_long_row_can_only_be_left_out() -> None:
    workload = Workload(LLAMA_70B, 40_000)
    [only] = remedies(workload, H100)

    assert only.settings["over_long"] == "exclude"
    length = int(only.settings["max_seq_length"])
    one_more = replace(workload, longest_row_tokens=length + 256)
    assert judge(plan_memory(one_more).peak_bytes, H100) is not Fit.FITS


def test_several_changes_together_where_none_is_enough_alone() -> None:
    workload = Workload(LLAMA_70B, 30_000, pack_tokens=32_768, lora_r=256, optim="adamw_torch")
    [only] = remedies(workload, H100)
    assert set(only.settings) >= {"optim", "lora_r"}
    assert only.peak_bytes < 75 * GB


def test_nothing_is_suggested_where_the_base_model_alone_is_too_large() -> None:
    assert remedies(Workload(LLAMA_70B, 2048), CARDS["RTX_4090"].memory_bytes) == []


@settings(deadline=None, max_examples=50)
@given(
    st.integers(64, 131_072),
    st.sampled_from([0, 256, 8192, 131_072]),
    st.integers(1, 256),
    st.sampled_from(["adamw_torch", "paged_adamw_8bit"]),
    st.sampled_from(sorted({card.memory_gb for card in CARDS.values()})),
)
def test_every_suggestion_can_be_typed_and_fits(
    row: int, pack: int, rank: int, optim: str, memory_gb: int
) -> None:
    workload = Workload(LLAMA_70B, row, pack_tokens=pack, lora_r=rank, optim=optim)
    for remedy in remedies(workload, memory_gb * GB):
        assert judge(remedy.peak_bytes, memory_gb * GB) is Fit.FITS
        typed = remedy.as_options.replace("--set ", "").split()
        chosen = read_settings(dict(map(parse_setting, typed)))
        dataset = DatasetReference(file_name="a.json", sha256="0" * 64, size_bytes=1)
        spec = build_job_spec(dataset, {"name": "a job", **chosen}, "test")
        assert spec.hyperparameters.lora_r <= max(rank, 16)
