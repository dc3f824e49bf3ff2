from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.job_spec import DatasetReference, JobSpec, build_job_spec
from shared.memory.plan import Kind, MemoryPlan, nf4_bytes, plan_memory
from shared.memory.workload import Workload
from shared.model_shape import BUILT_SHAPES
from tests.shared.llama_70b import LLAMA_70B, QWEN_72B

GB = 1e9


def kept(plan: MemoryPlan, *names: str) -> int:
    sizes = {line.name: line.size_bytes for line in plan.lines}
    return sum(sizes[name] for name in names)


def test_the_70b_figures_that_follow_from_its_shape_are_met_exactly() -> None:
    plan = plan_memory(Workload(LLAMA_70B, 8192))

    assert plan.lora_parameters == 207_093_760
    assert kept(plan, "base model in NF4") / GB == pytest.approx(35.3, abs=0.05)
    assert kept(plan, "embeddings and head") == 2 * 128_256 * 8192 * 2
    base = kept(plan, "base model in NF4", "embeddings and head", "norms and biases")
    assert base / GB == pytest.approx(39.5, abs=0.05)
    assert kept(plan, "adapter") == kept(plan, "gradients") == 4 * 207_093_760
    assert kept(plan, "optimizer, paged_adamw_8bit") / GB == pytest.approx(0.423, rel=0.01)
    assert kept(plan, "checkpointed layer inputs") == 80 * 8192 * 8192 * 2


def test_four_rows_of_2048_on_70b_come_to_about_61_gb() -> None:
    assert plan_memory(Workload(LLAMA_70B, 8192)).peak_bytes / GB == pytest.approx(61, rel=0.03)


@pytest.mark.parametrize(("tokens", "published_gb"), [(2048, 64.1), (8192, 75.6)])
def test_what_was_published_of_a_72b_on_one_a100_is_met_within_seven_percent(
    tokens: int, published_gb: float
) -> None:
    """Another recipe (GPTQ weights, DeepSpeed), with r = 64 and an optimizer in fp32: README of
    github.com/QwenLM/Qwen, "Profiling of Memory and Speed", read 2026-11."""
    workload = Workload(QWEN_72B, tokens, lora_r=64, optim="adamw_torch")
    assert plan_memory(workload).peak_bytes / GB == pytest.approx(published_gb, rel=0.07)


def test_nf4_is_counted_in_whole_blocks() -> None:
    assert nf4_bytes(64) == 32 + 1 + 4
    assert nf4_bytes(65) == 33 + 2 + 4
    assert nf4_bytes(64 * 256) == 32 * 256 + 256 + 4
    assert nf4_bytes(64 * 256 + 1) == 32 * 256 + 1 + 257 + 8


workloads = st.builds(
    Workload,
    shape=st.sampled_from([LLAMA_70B, *BUILT_SHAPES.values()]),
    longest_row_tokens=st.integers(1, 100_000),
    pack_tokens=st.sampled_from([0, 256, 8192]),
    step_tokens=st.none() | st.integers(1, 100_000),
    lora_r=st.integers(1, 256),
    lora_dropout=st.sampled_from([0.0, 0.05]),
    optim=st.sampled_from(["adamw_torch", "adamw_8bit", "paged_adamw_8bit"]),
    on_gpu=st.booleans(),
)


@settings(deadline=None, max_examples=50)
@given(workloads)
def test_the_lines_add_up_and_more_of_anything_is_never_less_memory(workload: Workload) -> None:
    plan = plan_memory(workload)

    assert plan.peak_bytes == plan.bytes_of(*Kind) == sum(line.size_bytes for line in plan.lines)
    assert all(line.size_bytes >= 0 and line.name and line.arithmetic for line in plan.lines)
    longer = replace(workload, longest_row_tokens=workload.longest_row_tokens + 1)
    assert plan_memory(longer).peak_bytes >= plan.peak_bytes
    wider = replace(workload, lora_r=workload.lora_r + 1)
    assert plan_memory(wider).peak_bytes > plan.peak_bytes


def test_a_model_that_sees_a_window_needs_a_mask() -> None:
    windowed = replace(LLAMA_70B, attends_to_all=False)
    plan = plan_memory(Workload(windowed, 8192))
    assert kept(plan, "attention mask") == 3 * 8192**2


def test_a_rank_so_high_that_the_optimizer_is_the_fullest_moment() -> None:
    plan = plan_memory(Workload(LLAMA_70B, 64, lora_r=256, optim="adamw_torch"))
    assert [line.name for line in plan.lines if line.kind is Kind.STEP] == [
        "square roots in the optimizer"
    ]


def job_with(**values: object) -> JobSpec:
    dataset = DatasetReference(file_name="a.json", sha256="0" * 64, size_bytes=1)
    return build_job_spec(dataset, {"name": "a job", **values}, "test")


@pytest.mark.parametrize(
    ("attention", "on_gpu", "packed"),
    [
        ("auto", True, 8192),
        ("auto", False, 0),
        ("sdpa", True, 0),
        ("sdpa_rows", False, 8192),
        ("flash_attention_2", True, 8192),
    ],
)
def test_rows_are_packed_as_the_trainer_packs_them(
    attention: str, on_gpu: bool, packed: int
) -> None:
    job = job_with(attention=attention)
    workload = Workload.of(job, LLAMA_70B, longest_row_tokens=1000, on_gpu=on_gpu)
    assert workload.pack_tokens == packed
    assert workload.micro_batch_tokens == max(packed, 1000)
    assert replace(workload, step_tokens=5000).micro_batch_tokens == max(min(packed, 5000), 1000)
    windowed = replace(LLAMA_70B, attends_to_all=False)
    assert Workload.of(job, windowed, longest_row_tokens=1000, on_gpu=on_gpu).pack_tokens == 0


def test_automatic_settings_are_those_of_the_trainer() -> None:
    job = job_with(hyperparameters={"max_seq_length": 2048})
    on_gpu = Workload.of(job, LLAMA_70B, longest_row_tokens=9000, on_gpu=True)
    on_cpu = Workload.of(job, LLAMA_70B, longest_row_tokens=900, on_gpu=False)
    assert (on_gpu.optim, on_gpu.longest_row_tokens) == ("paged_adamw_8bit", 2048)
    assert (on_cpu.optim, on_cpu.longest_row_tokens) == ("adamw_torch", 900)
