"""Forecasts, and what jobs took, for tests."""

from __future__ import annotations

from typing import Any

from shared.forecast.actual import Actual
from shared.forecast.arithmetic import forecast
from shared.forecast.forecast import Forecast, PartName, Place, PlannedWork
from shared.forecast.past import PastJob
from shared.lifecycle import JobStatus
from shared.training_time import flops_per_token
from tests.shared.llama_70b import LLAMA_70B

FOLDED_TOKENS = 242 * 132_056 // 72
"""Of a file of 242 conversations, by the mean of one of 72 that was counted exactly."""


def work(**values: Any) -> PlannedWork:
    """Three epochs of that file on Llama 3 70B; nothing is held out unless it is said."""
    usual = {
        "base_model": "llama-70b",
        "tokens_per_epoch": FOLDED_TOKENS,
        "num_epochs": 3,
        "total_steps": 45,
        "flops_per_token": flops_per_token(LLAMA_70B),
        "published_bytes": 141_100_000_000,
        "quantized_bytes": 39_500_000_000,
        "adapter_bytes": 414_000_000,
    }
    return PlannedWork.model_validate({**usual, **values})


def place(**values: Any) -> Place:
    """A rented H100."""
    usual = {"machine": "H100_PCIE", "is_rented": True, "dense_tflops": 756.0}
    return Place.model_validate({**usual, **values})


def host(name: str = "local", **values: Any) -> Place:
    """A machine of the user's own, without a GPU that we know."""
    return Place.model_validate({"machine": name, "model_source": "local", **values})


def past_job(
    foreseen: Forecast | None = None,
    job_id: str = "job-past",
    seconds: dict[PartName, float] | None = None,
    **values: Any,
) -> PastJob:
    """A job that ended well; one that took just what was expected unless it is said."""
    foreseen = foreseen or forecast(work(), place(usd_per_hour=2.0))
    expected = {
        part.name: part.seconds.expected for part in foreseen.parts if part.seconds is not None
    }
    took = {**expected, **(seconds or {})}
    usual = {
        "machine": foreseen.place.machine,
        "status": JobStatus.COMPLETED,
        "seconds": took,
        "total_s": sum(took.values()),
        "tokens": foreseen.work.tokens,
    }
    return PastJob(job_id, foreseen, Actual.model_validate({**usual, **values}))
