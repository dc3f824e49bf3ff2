from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidHyperparameter, InvalidJobSpec
from shared.sweep import (
    MOST_JOBS,
    JobMoney,
    Sweep,
    differing_settings,
    expand,
    new_sweep,
    parse_varied,
    share_usd,
    value_text,
)
from tests.shared.store.journal import job_spec

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BASE = job_spec("base", tags=("elena",))


def sweep(*typed: str, **values: Any) -> Sweep:
    varied = tuple(map(parse_varied, typed))
    return new_sweep(
        {"sweep_id": "grid", "name": "Grid", "varied": varied, "created_at": NOW, **values}
    )


def test_the_grid_of_all_values_becomes_named_jobs() -> None:
    specs = expand(BASE, sweep("learning_rate=1e-4, 2e-4", "lora_r=8,16"))

    assert [(spec.job_id, spec.name) for spec in specs] == [
        ("grid-01", "Grid lr=1e-4 r=8"),
        ("grid-02", "Grid lr=1e-4 r=16"),
        ("grid-03", "Grid lr=2e-4 r=8"),
        ("grid-04", "Grid lr=2e-4 r=16"),
    ]
    assert [spec.hyperparameters.learning_rate for spec in specs] == [1e-4, 1e-4, 2e-4, 2e-4]
    assert {spec.hyperparameters.seed for spec in specs} == {BASE.hyperparameters.seed}
    assert {spec.tags for spec in specs} == {("elena", "sweep:Grid")}
    assert {spec.dataset for spec in specs} == {BASE.dataset}
    assert differing_settings(specs) == ["learning_rate", "lora_r"]


def test_job_options_vary_as_hyperparameters_do() -> None:
    specs = expand(BASE, sweep("early_stopping_patience=none,2", "seed=1,2"))

    assert [spec.early_stopping_patience for spec in specs] == [None, None, 2, 2]
    assert specs[0].name == "Grid early_stopping_patience=none seed=1"


def test_values_that_are_lists_are_separated_by_semicolons() -> None:
    specs = expand(BASE, sweep("target_modules=q_proj,v_proj; o_proj"))

    modules = [spec.hyperparameters.target_modules for spec in specs]
    assert modules == [("q_proj", "v_proj"), ("o_proj",)]
    assert specs[0].name == "Grid modules=q_proj+v_proj"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["learning_rate"], "write NAME=VALUE"),
        (["speed=1,2"], "there is no such setting"),
        (["learning_rate= , "], "names no value"),
        (["resume_from=none"], "the same for all jobs"),
        (["lora_r=8", "lora_r=16"], "stands there twice"),
        (["learning_rate=1e-4,0.0001"], "lr=1e-4: is listed twice"),
        (["num_gpus=1,1000"], "out of range"),
        ([], "varies something"),
    ],
)
def test_what_is_no_sweep_is_refused_with_a_reason(typed: list[str], words: str) -> None:
    with pytest.raises(InvalidJobSpec, match=words):
        expand(BASE, sweep(*typed))


def test_a_value_out_of_its_range_is_found_before_anything_is_written() -> None:
    with pytest.raises(InvalidHyperparameter, match="lora_r"):
        expand(BASE, sweep("learning_rate=1e-4,2e-4", "lora_r=8,1000"))


def test_more_jobs_than_a_sweep_has_are_refused_by_their_number() -> None:
    many = "seed=" + ",".join(map(str, range(MOST_JOBS + 1)))

    assert len(expand(BASE, sweep(many.rpartition(",")[0]))) == MOST_JOBS
    with pytest.raises(InvalidJobSpec, match="65 jobs; a sweep has at most 64"):
        expand(BASE, sweep(many))
    with pytest.raises(InvalidJobSpec, match="1,000 jobs"):
        expand(BASE, sweep(*(f"{name}={','.join(map(str, range(1, 11)))}" for name in _THREE)))


_THREE = ("lora_r", "lora_alpha", "batch_size")


def test_names_of_long_combinations_still_differ() -> None:
    modules = ";".join(f"{'abc' * 20}{number}" for number in range(3))
    specs = expand(BASE, sweep(f"target_modules={modules}", name="N" * 90))

    assert len({spec.name for spec in specs}) == 3
    assert all(len(spec.name) <= 100 for spec in specs)


def test_an_id_that_leaves_no_room_for_a_number_is_refused() -> None:
    with pytest.raises(InvalidJobSpec, match="sweep_id"):
        sweep("lora_r=8", sweep_id="a" * 61)
    with pytest.raises(InvalidJobSpec, match="budget_usd"):
        sweep("lora_r=8", budget_usd=0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2e-4, "2e-4"),
        (1.5e-5, "1.5e-5"),
        (0.05, "0.05"),
        (0.0, "0"),
        (None, "none"),
        (True, "true"),
    ],
)
def test_values_are_written_in_few_characters(value: object, text: str) -> None:
    assert value_text(value) == text


def test_a_share_is_what_is_left_by_the_jobs_that_have_not_begun() -> None:
    fresh = JobMoney()
    assert share_usd(100, [fresh] * 4) == 25
    running, cheap = JobMoney(1.0, 25.0), JobMoney(5.0, 25.0, is_over=True)
    assert share_usd(100, [running, cheap, fresh, fresh]) == 35
    assert share_usd(100, [running, JobMoney(is_over=True), fresh]) == 75
    assert share_usd(10, [JobMoney(11.0, 10.0), fresh]) == 0
    assert share_usd(10, [JobMoney(1.0, 5.0)]) == 0
    assert share_usd(1, [fresh] * 3) == 0.33


@given(
    budget=st.floats(0.01, 10_000),
    spent=st.lists(st.floats(0, 1), min_size=1, max_size=64),
    choices=st.lists(st.integers(0, 10_000), min_size=200, max_size=200),
    at_once=st.integers(1, 20),
)
def test_all_that_the_jobs_may_spend_never_exceeds_the_budget(
    budget: float, spent: list[float], choices: list[int], at_once: int
) -> None:
    """Jobs begin and end in any order, each spending some part of what it may."""
    jobs = [JobMoney() for _ in spent]
    for choice in choices:
        begun = [n for n, job in enumerate(jobs) if job.cap_usd is not None and not job.is_over]
        waiting = [n for n, job in enumerate(jobs) if job.cap_usd is None]
        if waiting and (not begun or (choice % 2 and len(begun) < at_once)):
            number = waiting[choice // 2 % len(waiting)]
            jobs[number] = JobMoney(0.0, share_usd(budget, jobs))
        elif begun:
            number = begun[choice // 2 % len(begun)]
            cap = jobs[number].cap_usd or 0.0
            jobs[number] = JobMoney(cap * spent[number], cap, is_over=True)
        assert sum(job.committed_usd for job in jobs) <= budget + 1e-6
    assert math.isfinite(sum(job.committed_usd for job in jobs))


@given(st.floats(0.02, 10_000), st.floats(0, 1))
def test_what_one_job_saves_the_others_may_spend(budget: float, part: float) -> None:
    cap = share_usd(budget, [JobMoney(), JobMoney()])
    rest = share_usd(budget, [JobMoney(cap * part, cap, is_over=True), JobMoney()])
    assert rest == pytest.approx(budget - cap * part, abs=0.011)
