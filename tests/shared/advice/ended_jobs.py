"""Jobs that have ended in some way, from a few figures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from shared.advice.suggestion import EndedJob
from shared.dataset.report import DatasetReport, LengthDistribution
from shared.events import RunFacts
from shared.job_state import JobState
from shared.lifecycle import STOP_REASONS, StopReason
from shared.store.stored import MetricsPoint
from tests.shared.store.journal import job_spec

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def ended_job(
    reason: StopReason,
    *,
    spec: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
    **values: Any,
) -> EndedJob:
    status = STOP_REASONS[reason].status
    return EndedJob(
        spec=job_spec(**(spec or {})),
        state=JobState(status=status, stop_reason=reason, **(state or {})),
        **values,
    )


def run_of(
    losses: Sequence[float | None], held_out: Sequence[float] = (), *, epochs: int = 3
) -> list[MetricsPoint]:
    """A point for each training loss; held-out losses at the start and at each epoch's end."""
    per_epoch = max(len(losses) // epochs, 1)
    evaluated = {epoch * per_epoch: loss for epoch, loss in enumerate(held_out)}
    first = [_point(0, 0.0, None, evaluated[0])] if held_out else []
    return first + [
        _point(step, step / per_epoch, loss, evaluated.get(step))
        for step, loss in enumerate(losses, start=1)
    ]


def _point(step: int, epoch: float, loss: float | None, eval_loss: float | None) -> MetricsPoint:
    return MetricsPoint(
        attempt=1,
        step=step,
        time=NOON,
        epoch=epoch,
        loss=loss,
        grad_norm=None if loss is None else 1.0,
        learning_rate=1e-4,
        tokens=None if step == 0 else 500,
        supervised_tokens=300,
        step_s=1.0,
        memory_bytes=None,
        eval_loss=eval_loss,
        eval_supervised_tokens=None if eval_loss is None else 1400,
    )


def facts(**values: Any) -> RunFacts:
    defaults: dict[str, Any] = {
        "conversations": 65,
        "held_out_conversations": 7,
        "targets": 743,
        "tokens_per_epoch": 130_000,
        "supervised_tokens_per_epoch": 84_000,
        "total_steps": 141,
        "trainable_parameters": 200_000_000,
        "base_model": "m",
        "device": "NVIDIA H100 PCIe",
        "optim": "paged_adamw_8bit",
        "quantization": "nf4",
        "micro_batch_tokens": 8000,
    }
    return RunFacts(**{**defaults, **values})


def report(counts: Sequence[int], bin_tokens: int = 512, **values: Any) -> DatasetReport:
    """A file whose rows have these lengths: `counts[i]` of them in the i-th bin."""
    rows = sum(counts)
    defaults: dict[str, Any] = {
        "shape": "test",
        "conversations": rows,
        "turns": rows,
        "targets": rows,
        "trained_targets": rows,
        "rows": rows,
        "tokens": rows,
        "longest_tokens": len(counts) * bin_tokens - 1,
        "tokens_are_estimated": False,
        "findings": (),
        "lengths": LengthDistribution(bin_tokens, tuple(counts)),
    }
    return DatasetReport(**{**defaults, **values})
