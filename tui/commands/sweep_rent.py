"""The rented part of `brightrun sweep`: plans for all jobs, one review, one agreement.

Nothing is rented here. The sum of what the jobs may cost stays within the sweep's budget: the
controller gives each its share when it begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.text import Text

from shared.job_spec import JobSpec
from shared.machine_request import MachineRequest
from shared.number_text import many, usd
from shared.store.store import Store
from shared.sweep import Sweep, difference_text, differing_settings
from tui.commands.consent import agreed
from tui.commands.output import print_pairs, print_table, say, say_line
from tui.commands.rent import CheckedJob, RentOptions, work_of
from tui.services.forecasting import past_of
from tui.services.model_cache.taken import with_taken
from tui.services.providers.provider import NetworkVolume, Provider
from tui.services.rent_volumes import make_volume
from tui.services.rented_jobs import frozen_spec
from tui.services.session import Session
from tui.services.spending.monthly_limit import checked_reason, refuse_beyond, require_month
from tui.services.spending.rent_month import counted_usd, month_before
from tui.services.sweeps import PlannedJob, SweepRent, plan_sweep_rent
from tui.views.money_lines import month_warning
from tui.views.rent_review import candidate_row, left_out_lines, rent_pairs, warnings_of

if TYPE_CHECKING:
    from tui.commands.sweep import SweepOptions

_HEADERS = ["JOB", "VARIES", "GPU", "$/H", "MEMORY", "HOURS", "COST"]
_OF_ONE_JOB = {"expected hours", "expected cost", "budget"}
Agreed = tuple[list[PlannedJob], dict[str, MachineRequest]]


async def base_of_before(session: Session, base: JobSpec, sweep: Sweep) -> JobSpec:
    """The same base model as the sweep's first start froze, where this one names no revision."""
    there = await session.store.sweeps.jobs(sweep.sweep_id)
    if base.base_model_revision is not None or not there:
        return base
    return base.model_copy(update={"base_model_revision": there[0].spec.base_model_revision})


async def agreed_jobs(
    session: Session, sweep: Sweep, planned: Sequence[PlannedJob], options: SweepOptions
) -> Agreed | None:
    """The jobs and what is to be rented for each, once the user has agreed; None for a no.

    Raises:
        OverBudget: an equal share is too little for one of the jobs.
        OverMonthlyLimit: the month has no room for the sweep, and no reason was typed.
        BrightRunError: as for `plan_rent`.
    """
    rent, as_json = options.start.rent, options.start.as_json
    provider = session.provider()
    checked = [CheckedJob(each.checked.path, each.spec, each.checked) for each in planned]
    works = await asyncio.to_thread(lambda: [work_of(job) for job in checked])
    first = planned[0].spec
    past = await past_of(session.store, first.base_model, revision=first.base_model_revision)
    works = [await with_taken(session.store, replace(work, past=past)) for work in works]
    plan = await plan_sweep_rent(provider, rent.wanted, sweep, works)
    _print_review(sweep, plan, as_json=as_json)
    expected_usd = sum(map(counted_usd, plan.plans))
    await _look_at_month(session.store, first, expected_usd, rent, as_json=as_json)
    for one in plan.plans:
        one.require_stock()
    if not _is_agreed(sweep, plan, yes=rent.yes):
        return None
    requests = plan.requests(await _volume(provider, plan))
    foreseen = [
        replace(each, foreseen=option.options[0].forecast)
        for each, option in zip(planned, plan.plans, strict=True)
    ]
    jobs = await _frozen(session.store, foreseen, requests)
    for each in jobs:
        await require_month(session.store, each.spec.job_id, expected_usd, rent.over_limit)
    return jobs, requests


async def _frozen(
    store: Store, planned: Sequence[PlannedJob], requests: Mapping[str, MachineRequest]
) -> list[PlannedJob]:
    """All jobs with the commit of the base model that the first one gets."""
    first = planned[0].spec
    revision = (await frozen_spec(store, first, requests[first.job_id])).base_model_revision
    changed = {"base_model_revision": revision}
    return [replace(each, spec=each.spec.model_copy(update=changed)) for each in planned]


def _print_review(sweep: Sweep, plan: SweepRent, *, as_json: bool) -> None:
    """On stderr where stdout is for data."""
    names = differing_settings([each.work.spec for each in plan.plans])
    rows = []
    for each in plan.plans:
        first, spec = candidate_row(each.options[0]), each.work.spec
        cells = [first.gpu, first.usd_per_hour, first.memory, first.hours, first.cost]
        rows.append([spec.job_id, difference_text(spec, names), *cells])
    say_line(Text("Jobs, each on the machine that is tried first", "bold"), as_json=as_json)
    print_table(_HEADERS, rows, shrinking="VARIES", to_stderr=as_json)
    left_out = [line for each in plan.plans for line in left_out_lines(each)]
    for line in dict.fromkeys(left_out):
        say_line(Text(line, "dim"), as_json=as_json)
    say_line("", as_json=as_json)
    pairs = [pair for pair in rent_pairs(plan.plans[0]) if pair[0] not in _OF_ONE_JOB]
    print_pairs([*_totals(sweep, plan), *pairs], to_stderr=as_json)
    for line in dict.fromkeys(line for each in plan.plans for line in warnings_of(each)):
        say_line(Text(f"! {line}", "yellow"), as_json=as_json)


def _totals(sweep: Sweep, plan: SweepRent) -> list[tuple[str, str]]:
    hours, cost, count = plan.hours, plan.cost_usd, len(plan.plans)
    share = plan.plans[0].wanted.budget_usd or 0.0
    return [
        ("jobs", str(count)),
        ("hours of all", "not known" if hours is None else f"{hours[0]:.1f}-{hours[1]:.1f}"),
        ("cost of all", "not known" if cost is None else f"{usd(cost[0])}-{usd(cost[1])}"),
        (
            "budget of all",
            f"{usd(sweep.budget_usd or 0.0)}, never exceeded: {usd(share)} for each to begin "
            "with, and what one saves goes to those that begin later",
        ),
    ]


async def _look_at_month(
    store: Store, first: JobSpec, expected_usd: float, rent: RentOptions, *, as_json: bool
) -> None:
    """Warn near the monthly limit.

    Raises:
        OverMonthlyLimit: the month has no room for the sweep, and no reason was typed.
    """
    month = await month_before(store, first.job_id)
    if warning := month_warning(month, expected_usd):
        say_line(Text(f"! {warning}", "yellow"), as_json=as_json)
    refuse_beyond(month, expected_usd, checked_reason(rent.over_limit))


def _is_agreed(sweep: Sweep, plan: SweepRent, *, yes: bool) -> bool:
    new = plan.new_volume
    if new is not None:
        question = (
            f"Make the network volume {new.name}, {new.size_gb} GB in {new.data_center}, for all "
            f"jobs? It costs ${new.usd_per_month:,.2f} a month until you delete it."
        )
        if not agreed(question, yes=yes):
            return False
    count = many(len(plan.plans), "job")
    question = f"Rent machines for these {count}, for up to {usd(sweep.budget_usd or 0.0)} in all?"
    return agreed(question, yes=yes)


async def _volume(provider: Provider, plan: SweepRent) -> NetworkVolume | None:
    if plan.new_volume is None:
        return None
    volume = await make_volume(provider, plan.new_volume)
    say(f"the volume {volume.volume_id} is there; it is paid for until you delete it.")
    return volume
