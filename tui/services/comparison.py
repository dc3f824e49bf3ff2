"""Jobs beside each other: what varies between them, how far each came, and what it took.

Takes any list of jobs, of one sweep or not, and reads nothing but the store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.job_options import setting_of
from shared.rental import Machine
from shared.store.store import Store
from shared.store.stored import MetricsPoint, StoredJob
from shared.sweep import differing_settings, short_name, value_text

_LARGEST_EXPONENT = 700.0
"""`math.exp` goes no further."""


@dataclass(frozen=True, slots=True)
class ComparedJob:
    """One of them; None for what is not known, or not yet."""

    job: StoredJob
    settings: Mapping[str, str]
    """Those that are not the same in all of them: short name -> value."""
    points: tuple[MetricsPoint, ...]
    """What was measured, in order of the steps."""
    eval_loss_before: float | None
    """Held-out loss of the base model."""
    eval_loss: float | None
    """Held-out loss of the latest evaluation after the first step."""
    tokens_per_s: float | None
    hours: float | None
    """From the first record to the end, or to now."""
    cost_usd: float | None
    """Of all its machines; None where nothing is rented."""

    @property
    def varies(self) -> str:
        """`lr=1e-4 r=8`; the name where nothing varies."""
        pairs = (f"{name}={value}" for name, value in self.settings.items())
        return " ".join(pairs) or self.job.spec.name

    @property
    def perplexity(self) -> float | None:
        """Of the held-out conversations."""
        if self.eval_loss is None or self.eval_loss > _LARGEST_EXPONENT:
            return None
        return math.exp(self.eval_loss)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of them, the best held-out loss first; those without one follow in their own order."""

    jobs: tuple[ComparedJob, ...]

    @property
    def best(self) -> str | None:
        """Id of the job with the lowest held-out loss; None where none has any."""
        first = self.jobs[0] if self.jobs else None
        return None if first is None or first.eval_loss is None else first.job.job_id


async def compare(store: Store, jobs: Sequence[StoredJob], now: datetime) -> Comparison:
    """As of now.

    Raises:
        StoreError: the store cannot be read.
    """
    names = differing_settings([job.spec for job in jobs]) if jobs else []
    found = [await _compared(store, job, names, now) for job in jobs]
    found.sort(key=lambda each: math.inf if each.eval_loss is None else each.eval_loss)
    return Comparison(tuple(found))


async def _compared(
    store: Store, job: StoredJob, names: Sequence[str], now: datetime
) -> ComparedJob:
    points = await store.metrics(job.job_id)
    evaluated = [point for point in points if point.eval_supervised_tokens is not None]
    after = [point.eval_loss for point in evaluated if point.step > 0]
    machines = await store.rentals.machines(job.job_id) if job.state.rented else None
    return ComparedJob(
        job=job,
        settings={short_name(name): value_text(setting_of(job.spec, name)) for name in names},
        points=tuple(points),
        eval_loss_before=job.state.base_eval_loss,
        eval_loss=after[-1] if after else None,
        tokens_per_s=_tokens_per_s(points),
        hours=_hours(job, now),
        cost_usd=None if machines is None else _cost_usd(machines, now),
    )


def _tokens_per_s(points: Sequence[MetricsPoint]) -> float | None:
    measured = [(p.tokens, p.step_s) for p in points if p.tokens and p.step_s]
    seconds = sum(step_s for _, step_s in measured)
    return sum(tokens for tokens, _ in measured) / seconds if seconds > 0 else None


def _hours(job: StoredJob, now: datetime) -> float | None:
    if job.state.started_at is None:
        return None
    end = job.state.ended_at or now
    return max((end - job.state.started_at).total_seconds(), 0.0) / 3600


def _cost_usd(machines: Sequence[Machine], now: datetime) -> float:
    return sum(machine.cost_usd(now) for machine in machines)
