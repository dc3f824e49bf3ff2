"""`brightrun start --host runpod`: from a checked job to a machine that is rented for it.

Nothing is rented before the user has seen the review and agreed to it. What is agreed is written
down first; the controller then does it, in this process or in whichever leads.
"""

from __future__ import annotations

import asyncio
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

from rich.text import Text

from shared.errors import InvalidDataset, InvalidInput
from shared.forecast.forecast import Forecast
from shared.job_spec import JobSpec
from shared.machine_request import MachineRequest
from shared.store.store import Store
from shared.store.stored import StoredJob
from shared.webhook import WebhookTarget
from tui import exit_codes
from tui.commands.consent import agreed, require_asker
from tui.commands.output import print_json, print_pairs, print_table, say, say_line
from tui.commands.rental_progress import follow_to_running, say_who_acts
from tui.commands.watch import watch_in
from tui.services.artifact_uploads.size_limits import adapter_bytes, upload_warning
from tui.services.dataset_check import CheckedFile
from tui.services.forecasting import past_of
from tui.services.model_cache.taken import with_taken
from tui.services.model_shapes import shape_for_rent
from tui.services.providers.provider import Provider
from tui.services.rent_options import TrainingWork
from tui.services.rent_plan import BUDGET_MISSING, RentPlan, RentWanted, plan_rent
from tui.services.rent_volumes import make_volume
from tui.services.rented_jobs import start_rented_job
from tui.services.session import Session
from tui.services.spending.monthly_limit import checked_reason, refuse_beyond
from tui.services.spending.rent_month import counted_usd, expected_cost_usd, month_before
from tui.services.training_plan import plan_training
from tui.views.money_lines import month_warning
from tui.views.rent_review import (
    CANDIDATE_HEADERS,
    candidate_row,
    left_out_lines,
    rent_pairs,
    volume_words,
    warnings_of,
)


@dataclass(frozen=True, slots=True)
class RentOptions:
    """What was typed about the machine."""

    wanted: RentWanted = field(default_factory=RentWanted)
    yes: bool = False
    """Agree to everything unasked: to the machine, and to a new volume's monthly price."""
    over_limit: str = ""
    """Why it may go beyond the monthly limit; "" where nobody has said so."""


@dataclass(frozen=True, slots=True)
class CheckedJob:
    """A job that could be started, with its training file as it was checked."""

    path: Path
    spec: JobSpec
    checked: CheckedFile
    webhook: WebhookTarget | None = None
    """Who is told of it; None: as the environment says."""


def check_typed(options: RentOptions) -> None:
    """Find out early what would be refused at the end.

    Raises:
        InvalidInput: there is no cap on the cost, or nobody who could agree.
    """
    if options.wanted.budget_usd is None:
        raise InvalidInput(BUDGET_MISSING)
    require_asker("renting a machine", yes=options.yes)


async def start_rented(
    session: Session,
    job: CheckedJob,
    options: RentOptions,
    *,
    as_json: bool,
    watch: bool,
    queue: bool = False,
) -> int:
    """Plan, show, ask, write down, and follow until the job runs; then watch, if asked for.

    With `queue` it is only written down: its turn comes wherever rented jobs are driven.
    """
    agreement = await _agreement(session, job, options, as_json=as_json)
    if agreement is None:
        say("nothing was rented.")
        return exit_codes.CANCELLED
    started, is_new = await start_rented_job(
        session,
        job.path,
        job.spec,
        job.checked.report,
        agreement.request,
        expected_usd=agreement.expected_usd,
        over_limit=options.over_limit,
        foreseen=agreement.foreseen,
        webhook=job.webhook,
    )
    _say_written(started, is_new=is_new, as_json=as_json)
    if queue and not watch:
        await say_who_acts(session.store, f"{started.job_id} waits for its turn.")
        return exit_codes.OK
    return await _see_to_it(session, started, watch=watch, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Agreement:
    request: MachineRequest
    expected_usd: float | None
    """None where nobody can say."""
    foreseen: Forecast | None = None


async def _agreement(
    session: Session, job: CheckedJob, options: RentOptions, *, as_json: bool
) -> _Agreement | None:
    """What is agreed, now or when the same job was started before; None for a no."""
    if (before := await session.store.rentals.get(job.spec.job_id)) is not None:
        return _Agreement(before.request, None)
    provider = session.provider()
    work = await asyncio.to_thread(work_of, job)
    past = await past_of(session.store, job.spec.base_model, revision=job.spec.base_model_revision)
    work = await with_taken(session.store, replace(work, past=past))
    plan = await plan_rent(provider, options.wanted, work)
    _print_review(plan, as_json=as_json)
    expected_bytes = adapter_bytes(job.spec, work.found.shape)
    if too_large := await upload_warning(session.config, expected_bytes):
        say_line(Text(f"! {too_large}", "yellow"), as_json=as_json)
    await _look_at_month(session.store, job.spec.job_id, plan, options, as_json=as_json)
    plan.require_stock()
    request = await _agreed_request(provider, plan, yes=options.yes)
    if request is None:
        return None
    return _Agreement(request, expected_cost_usd(plan), plan.options[0].forecast)


async def _look_at_month(
    store: Store, job_id: str, plan: RentPlan, options: RentOptions, *, as_json: bool
) -> None:
    """Warn near the monthly limit.

    Raises:
        OverMonthlyLimit: the month has no room for the job, and no reason was typed.
    """
    month, expected_usd = await month_before(store, job_id), counted_usd(plan)
    if warning := month_warning(month, expected_usd):
        say_line(Text(f"! {warning}", "yellow"), as_json=as_json)
    refuse_beyond(month, expected_usd, checked_reason(options.over_limit))


def work_of(job: CheckedJob) -> TrainingWork:
    """What the machine is for.

    Raises:
        InvalidDataset: nothing was counted, or nothing is left to train.
    """
    spec, outline = job.spec, job.checked.outline
    if outline is None:
        raise InvalidDataset(f"{job.path}: was not counted; nothing was started.")
    plan = plan_training(outline, spec.hyperparameters)
    if plan.targets == 0:
        raise InvalidDataset(f"{job.path}: with these settings nothing is left to train.")
    return TrainingWork(spec, shape_for_rent(spec), plan)


def _print_review(plan: RentPlan, *, as_json: bool) -> None:
    """On stderr where stdout is for data."""
    rows = [
        [str(number), *astuple(candidate_row(option))]
        for number, option in enumerate(plan.options, start=1)
    ]
    say_line(Text("Machines, in the order in which they are tried", "bold"), as_json=as_json)
    print_table(CANDIDATE_HEADERS, rows, shrinking="WHERE", to_stderr=as_json)
    for line in left_out_lines(plan):
        say_line(Text(line, "dim"), as_json=as_json)
    say_line("", as_json=as_json)
    print_pairs(rent_pairs(plan), to_stderr=as_json)
    for line in warnings_of(plan):
        say_line(Text(f"! {line}", "yellow"), as_json=as_json)


async def _agreed_request(
    provider: Provider, plan: RentPlan, *, yes: bool
) -> MachineRequest | None:
    """What the user agrees to, with the volume made if it is a new one; None for a no."""
    volume = None
    if plan.new_volume is not None:
        question = (
            f"Make the network volume {volume_words(plan)}? It costs that until you delete it."
        )
        if not agreed(question, yes=yes):
            return None
    if not agreed(_question(plan), yes=yes):
        return None
    if plan.new_volume is not None:
        volume = await make_volume(provider, plan.new_volume)
        say(f"the volume {volume.volume_id} is there; it is paid for until you delete it.")
    return plan.request(volume=volume)


def _question(plan: RentPlan) -> str:
    budget = plan.wanted.budget_usd
    return f"Rent a machine for this job, for up to ${budget:,.2f}?"


def _say_written(job: StoredJob, *, is_new: bool, as_json: bool) -> None:
    if as_json:
        print_json({"job_id": job.job_id, "created": is_new, "status": job.status.value})
    elif is_new:
        say_line(f"{job.job_id} is written down; a machine is being rented for it.")
    else:
        say_line(f"{job.job_id} had been started before ({job.status}); nothing was changed.")


async def _see_to_it(session: Session, job: StoredJob, *, watch: bool, as_json: bool) -> int:
    """Control, or watch another control, until the job runs on its machine."""
    from tui.services.controller.controller import controlling

    job_id = job.job_id
    try:
        async with controlling(session, kind="command") as controller:
            await follow_to_running(session.store, job_id, controller)
            if watch:
                return await watch_in(session, job_id, as_json=as_json)
    except asyncio.CancelledError:
        await say_who_acts(session.store, f"{job_id} stays as it is.")
        raise
    job = await session.store.get_job(job_id)
    if job.status.is_final:
        say(f"{job_id} {job.status}: {job.error_message or 'done'}")
        return exit_codes.of_status(job.status)
    await say_who_acts(session.store, f"{job_id} runs on its machine.")
    if not as_json:
        say_line(f"  brightrun watch {job_id}\n  brightrun show {job_id}")
    return exit_codes.OK
