"""Whose turn it is among jobs that wait, as pure functions: the order, a move in it, the next ones.

Places are moments in seconds since 1970, because a job that nobody has moved has the place of its
creation. Nothing here reads a clock or a store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from shared.lifecycle import Activity
from shared.number_text import many
from shared.store.stored import StoredJob

_SPACING_S = 1.0
"""Between the places of jobs that are numbered anew."""


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """How many jobs run at once on machines of the user's own."""

    on_a_host: int
    in_all: int


def in_order(jobs: Iterable[StoredJob]) -> list[StoredJob]:
    """The earliest place first; of the same place, the one that was there first."""
    return sorted(jobs, key=lambda job: (job.place, job.created_at, job.job_id))


def places_after_move(
    waiting: Sequence[StoredJob], job_id: str, place: int, now_s: float
) -> dict[str, float]:
    """Job id -> its new place, so that the job stands at `place`, counted from 1.

    `waiting` is in order. Usually only the moved job gets another place; where its neighbours are
    too close for a number in between, all do. What is added after `now_s` comes after all of them.
    """
    others = [job for job in waiting if job.job_id != job_id]
    index = max(0, min(place - 1, len(others)))
    if waiting[index].job_id == job_id:
        return {}
    before = others[index - 1].place if index > 0 else None
    after = others[index].place if index < len(others) else None
    wanted = _between(before, after, now_s)
    if wanted is not None:
        return {job_id: wanted}
    order = [job.job_id for job in others]
    order.insert(index, job_id)
    last = others[-1].place
    return {each: last - _SPACING_S * (len(order) - 1 - n) for n, each in enumerate(order)}


def _between(before: float | None, after: float | None, now_s: float) -> float | None:
    """A place between two; None where there is none."""
    if after is None:
        return now_s if before is None or now_s > before else before + _SPACING_S
    if before is None:
        return after - _SPACING_S
    middle = (before + after) / 2
    return middle if before < middle < after else None


def has_turn(job: StoredJob) -> bool:
    """True while a job that waited is being handed over to its host."""
    return job.waits_for_turn and job.state.activity is not Activity.WAITING_FOR_TURN


def at_work(jobs: Iterable[StoredJob], not_there: Collection[str] = ()) -> list[StoredJob]:
    """Those of the user's own hosts that take a place; `not_there` are unknown to their agents."""
    return [
        job
        for job in jobs
        if not job.status.is_final
        and not job.state.rented
        and job.job_id not in not_there
        and (not job.waits_for_turn or has_turn(job))
    ]


def next_turns(
    open_jobs: Sequence[StoredJob],
    limits: TurnLimits,
    *,
    away: Collection[str] = (),
    not_there: Collection[str] = (),
) -> list[StoredJob]:
    """The waiting jobs whose turn comes now, in order.

    `open_jobs` are all jobs on hosts of the user's own that have not ended; `away` are hosts that
    get no job now, and whose jobs keep nobody else waiting.
    """
    busy = at_work(open_jobs, not_there)
    on_host = Counter(job.host for job in busy)
    waiting = [job for job in open_jobs if job.waits_for_turn and not has_turn(job)]
    chosen: list[StoredJob] = []
    for job in in_order(waiting):
        is_free = on_host[job.host] < limits.on_a_host and on_host.total() < limits.in_all
        if is_free and job.host not in away:
            on_host[job.host] += 1
            chosen.append(job)
    return chosen


def why_it_waits(job: StoredJob, open_jobs: Sequence[StoredJob], limits: TurnLimits) -> str:
    """What keeps a job on a host of the user's own from its turn; "" where nothing does."""
    if job.state.detail:
        return job.state.detail
    busy = at_work(open_jobs)
    here = [other.job_id for other in busy if other.host == job.host]
    if len(here) >= limits.on_a_host:
        return f"{', '.join(here)} {'is' if len(here) == 1 else 'are'} at work there"
    if len(busy) >= limits.in_all:
        return f"{many(len(busy), 'job')} at work, which is the limit"
    earlier = [
        other for other in in_order(open_jobs) if other.host == job.host and other.waits_for_turn
    ]
    number = [other.job_id for other in earlier].index(job.job_id) if job in earlier else 0
    return f"{number} before it on {job.host}" if number else ""
