"""A job of 70B parameters for which a machine is rented."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shared.machine_request import Candidate, Cloud, Stock
from tests.shared.llama_70b import LLAMA_70B
from tests.shared.store.journal import job_spec
from tui.services.model_shapes import FoundShape
from tui.services.rent_options import TrainingWork
from tui.services.training_plan import TrainingPlan

PLAN = TrainingPlan(9, 1, 25, 800_000, 6, longest_row_tokens=2000, largest_step_tokens=20_000)


def work(*, tokens: int = 800_000, **spec: Any) -> TrainingWork:
    """On so many tokens an epoch."""
    plan = replace(PLAN, tokens_per_epoch=tokens)
    return TrainingWork(job_spec(base_model="llama-70b", **spec), FoundShape(LLAMA_70B), plan)


def offer(
    gpu_type: str = "H100_PCIE",
    usd_per_hour: float = 2.0,
    stock: Stock = Stock.HIGH,
    cloud: Cloud = Cloud.SECURE,
    data_center: str | None = "US-KS-2",
    gpu_count: int = 1,
) -> Candidate:
    """One line of a catalogue."""
    return Candidate(
        gpu_type=gpu_type,
        gpu_count=gpu_count,
        cloud=cloud,
        data_center=data_center,
        usd_per_hour=usd_per_hour,
        stock=stock,
    )
