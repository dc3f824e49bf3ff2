"""A job that ran out of memory gets only changes that need less of it."""

from __future__ import annotations

from typing import Any

from shared.advice.advisor import suggestions
from shared.advice.suggestion import EndedJob
from shared.lifecycle import StopReason
from tests.shared.advice.ended_jobs import ended_job, facts, report, run_of

SPLIT = (
    "out of memory: a micro-batch of 6 rows and 7,900 tokens is split; from now on at most 3,950 "
    "tokens; the same step is done again (CUDA out of memory)"
)
SKEWED = report([60, 30, 8, 1, 1], 1000)
"""A hundred rows, two of which are over 3000 tokens; the longest has 4999."""


def changes(job: EndedJob) -> list[dict[str, Any]]:
    return [dict(suggestion.changes) for suggestion in suggestions(job)]


def test_the_cheapest_change_comes_first_and_a_larger_card_last() -> None:
    spec = {"hyperparameters": {"max_seq_length": 8192}}
    run = facts(optim="adamw_torch", micro_batch_tokens=8000)
    job = ended_job(StopReason.OUT_OF_MEMORY, spec=spec, facts=run, report=SKEWED)
    assert changes(job) == [
        {"pack_tokens": 4999},
        {"max_seq_length": 3000, "over_long": "exclude"},
        {"optim": "paged_adamw_8bit"},
        {"lora_r": 8, "lora_alpha": 16},
        {},
    ]


def test_a_pack_is_halved_but_not_below_the_longest_conversation() -> None:
    spec = {"hyperparameters": {"max_seq_length": 8192}}
    small, large = report([99, 1], 500), report([99, 1], 3500)
    for file, expected in ((small, 4000), (large, 6999)):
        job = ended_job(StopReason.OUT_OF_MEMORY, spec=spec, facts=facts(), report=file)
        assert changes(job)[0] == {"pack_tokens": expected}


def test_shorter_packs_keep_the_steps_that_are_saved() -> None:
    state = {"last_checkpoint_step": 9}
    file = report([99, 1], 500)
    job = ended_job(StopReason.OUT_OF_MEMORY, state=state, facts=facts(), report=file)
    packs, rank = (suggestions(job)[index].way for index in (0, -2))
    assert (packs, rank) == ("resume", "retry")


def test_packs_that_the_run_had_split_already_are_not_the_trouble() -> None:
    file = report([99, 1], 500)
    job = ended_job(StopReason.OUT_OF_MEMORY, facts=facts(), report=file, warnings=(SPLIT,))
    assert all("pack_tokens" not in change for change in changes(job))


def test_a_conversation_alone_in_its_micro_batch_is_not_helped_by_shorter_packs() -> None:
    run = facts(micro_batch_tokens=4096)
    job = ended_job(StopReason.OUT_OF_MEMORY, facts=run, report=SKEWED)
    assert all("pack_tokens" not in change for change in changes(job))


def test_a_shorter_limit_leaves_out_few_conversations_and_says_how_many() -> None:
    spec = {"hyperparameters": {"max_seq_length": 8192}}
    run = facts(micro_batch_tokens=4999)
    job = ended_job(StopReason.OUT_OF_MEMORY, spec=spec, facts=run, report=SKEWED)
    shorter = suggestions(job)[0]
    assert shorter.changes == {"max_seq_length": 3000, "over_long": "exclude"}
    assert "longest conversation has 4,999 tokens; at most 2 of 100 rows" in shorter.reason
    assert sum(SKEWED.lengths.counts[3:]) == 2


def test_where_many_are_as_long_the_limit_stays() -> None:
    run = facts(micro_batch_tokens=4096)
    job = ended_job(StopReason.OUT_OF_MEMORY, facts=run, report=report([0, 0, 0, 100], 1000))
    assert all("max_seq_length" not in change for change in changes(job))


def test_a_limit_that_is_hardly_shorter_saves_nothing() -> None:
    hardly = report([*([0] * 10), 99, 1], 100)
    job = ended_job(StopReason.OUT_OF_MEMORY, facts=facts(), report=hardly)
    assert all("max_seq_length" not in change for change in changes(job))


def test_on_a_cpu_no_gpu_and_no_paging_is_spoken_of() -> None:
    run = facts(device="cpu", optim="adamw_torch")
    rank, larger = suggestions(ended_job(StopReason.OUT_OF_MEMORY, facts=run))
    assert set(rank.changes) == {"lora_r", "lora_alpha"}
    assert larger.reason == "A machine with more memory takes the job as it is."


def test_the_lower_rank_keeps_the_scale_and_says_what_it_saves() -> None:
    hyperparameters = {"lora_r": 32, "lora_alpha": 64}
    job = ended_job(
        StopReason.OUT_OF_MEMORY, spec={"hyperparameters": hyperparameters}, facts=facts()
    )
    rank = suggestions(job)[0]
    assert rank.changes == {"lora_r": 16, "lora_alpha": 32}
    # 100 million parameters fewer: 4 bytes of weight, 4 of gradient, 2 of 8-bit moments.
    assert "200,000,000 parameters; rank 16 saves 1.0 GB" in rank.reason


def test_a_model_that_did_not_load_is_helped_by_no_setting() -> None:
    [larger] = suggestions(ended_job(StopReason.OUT_OF_MEMORY, report=SKEWED))
    assert not larger.can_be_launched


def test_the_host_needs_less_with_one_process_than_with_several() -> None:
    job = ended_job(StopReason.HOST_OUT_OF_MEMORY, spec={"num_gpus": 2}, facts=facts())
    assert changes(job) == [{"num_gpus": 1}]
    assert suggestions(ended_job(StopReason.HOST_OUT_OF_MEMORY, facts=facts())) == []


def test_on_a_cpu_the_host_holds_the_activations_too() -> None:
    run = facts(device="cpu", optim="adamw_torch", micro_batch_tokens=4096)
    job = ended_job(StopReason.HOST_OUT_OF_MEMORY, facts=run, report=SKEWED)
    assert [set(change) for change in changes(job)] == [
        {"max_seq_length", "over_long"},
        {"lora_r", "lora_alpha"},
    ]


def test_a_run_that_had_to_split_its_packs_begins_smaller_the_next_time() -> None:
    falling = [3.0 - step / 20 for step in range(40)]
    job = ended_job(
        StopReason.COMPLETED, points=run_of(falling), facts=facts(), warnings=(SPLIT, "other")
    )
    [smaller] = suggestions(job)
    assert smaller.changes == {"pack_tokens": 3950}
    assert "Memory ran out 1 time" in smaller.reason
