"""What rented machines and volumes have cost in some days, and how the month stands: one look.

Reads the store and nothing else. Who shows it groups and draws it (`tui.views.costs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from shared.forecast.accuracy import Accuracy
from shared.money.bills import LAG, BillDifference, differences
from shared.money.machine_cost import paid_span
from shared.money.periods import Span, day_span, month_span
from shared.store.store import Store
from tui.services.forecasting import accuracy
from tui.services.spending.costs import CostLine, cost_lines
from tui.services.spending.job_money import job_money

SHORTEST_PACE = timedelta(days=1)
"""A month that has just begun has no pace yet."""


@dataclass(frozen=True, slots=True)
class MonthCosts:
    """A calendar month (UTC) against the limit."""

    begin: date
    days: int
    limit_usd: float
    daily_usd: tuple[float, ...]
    """One figure for each day up to today."""
    open_usd: float
    """What open jobs are expected to cost from now on."""
    open_most_usd: float
    """What is left of their budgets: they cost no more than that."""
    projected_usd: float | None
    """At its end, if it goes on as it began; None where it has just begun."""

    @property
    def spent_usd(self) -> float:
        """So far."""
        return sum(self.daily_usd)


@dataclass(frozen=True, slots=True)
class CostReport:
    """Costs of the last days, today included."""

    now: datetime
    days: int
    lines: tuple[CostLine, ...]
    """Of these days only, oldest first."""
    month: MonthCosts
    accuracy: Accuracy
    """Of the estimates that were made in these days."""
    differences: tuple[BillDifference, ...] = ()
    """Of the machines of these days that are on the provider's bill."""

    @property
    def bill_may_grow(self) -> bool:
        """True where a bill was asked for too early to be all of it."""
        return any(_is_young(difference) for difference in self.differences)

    @property
    def first_day(self) -> date:
        """UTC."""
        return first_day(self.now, self.days)


def first_day(now: datetime, days: int) -> date:
    """The first of the last `days` UTC days, today included."""
    return now.astimezone(UTC).date() - timedelta(days=days - 1)


async def read_cost_report(store: Store, days: int, now: datetime) -> CostReport:
    """Costs of the last `days` days.

    Raises:
        StoreError: the store cannot be read.
    """
    since = day_span(first_day(now, days)).since
    begin = month_span(now).since
    lines = await cost_lines(store, min(since, begin), now)
    expected, most = await _open_usd(store, now)
    month = month_costs(
        [line for line in lines if line.day >= begin.date()],
        now,
        limit_usd=await store.settings.monthly_limit_usd(),
        open_usd=expected,
        open_most_usd=most,
    )
    return CostReport(
        now=now,
        days=days,
        lines=tuple(line for line in lines if line.day >= since.date()),
        month=month,
        accuracy=await accuracy(store, since),
        differences=tuple(await _differences(store, Span(since, now))),
    )


def month_costs(
    lines: Sequence[CostLine],
    now: datetime,
    *,
    limit_usd: float,
    open_usd: float,
    open_most_usd: float,
) -> MonthCosts:
    """From the lines of this month alone."""
    span = month_span(now)
    begin = span.since.date()
    daily = [0.0] * ((now.astimezone(UTC).date() - begin).days + 1)
    for line in lines:
        daily[(line.day - begin).days] += line.usd
    elapsed = now - span.since
    pace = sum(daily) / (elapsed / timedelta(hours=1)) if elapsed >= SHORTEST_PACE else None
    return MonthCosts(
        begin=begin,
        days=(span.until - span.since).days,
        limit_usd=limit_usd,
        daily_usd=tuple(daily),
        open_usd=open_usd,
        open_most_usd=open_most_usd,
        projected_usd=None if pace is None else pace * span.hours,
    )


async def _open_usd(store: Store, now: datetime) -> tuple[float, float]:
    """What open jobs are expected to cost from now on, and what they may cost at most."""
    expected = most = 0.0
    for stored in await store.rentals.open_ones():
        money = await job_money(store, stored, now)
        expected += money.most_left_usd if money.left_usd is None else money.left_usd
        most += money.most_left_usd
    return expected, most


async def _differences(store: Store, span: Span) -> list[BillDifference]:
    """Of machines that were paid for in this span."""
    machines = [
        machine
        for machine in await store.rentals.machines()
        if paid_span(machine, span.until).within(span).hours > 0
    ]
    return differences(machines, await store.spending.bills())


def _is_young(difference: BillDifference) -> bool:
    gone_at = difference.machine.gone_at
    return gone_at is None or difference.asked_at - gone_at < LAG
