"""How fast this model trained here before: the only honest source of an estimated time."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import StoreError
from shared.store.store import Store


@dataclass(frozen=True, slots=True)
class ObservedSpeed:
    """Tokens trained per second, and the job in which that was measured."""

    tokens_per_s: float
    job_id: str


@dataclass(frozen=True, slots=True)
class Speed:
    """What is known of the speed; `problem` where that could not be found out."""

    observed: ObservedSpeed | None = None
    problem: str = ""


async def known_speed(store: Store, base_model: str, host: str) -> Speed:
    """`observed_speed`, where a store that cannot be read is one more thing to show."""
    try:
        return Speed(await observed_speed(store, base_model, host))
    except StoreError as error:
        return Speed(problem=str(error))


async def observed_speed(store: Store, base_model: str, host: str) -> ObservedSpeed | None:
    """The speed of the newest job with this model on this host that has measured steps.

    Raises:
        StoreError: the store cannot be read.
    """
    for job in await store.list_jobs():
        if job.host != host or job.spec.base_model != base_model or job.state.step == 0:
            continue
        points = await store.metrics(job.job_id)
        measured = [(p.tokens, p.step_s) for p in points if p.tokens and p.step_s]
        if measured:
            tokens = sum(tokens for tokens, _ in measured)
            seconds = sum(step_s for _, step_s in measured)
            return ObservedSpeed(tokens / seconds, job.job_id)
    return None
