"""While the job trains: its records are copied, its machine is watched, and a loss is noticed.

A job whose agent is not heard is unreachable, and not lost: it is lost when the provider says so
as well, twice, or when nobody has heard of it for very long.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta

from shared.errors import AgentError, ProtocolError
from shared.events import AttemptEnded, AttemptStarted, utc_now
from shared.lifecycle import STOP_REASONS, StopReason
from shared.machine_request import AfterInterruptions
from shared.number_text import many
from shared.rental import Machine, RentalPhase
from tui.services.controller import money, monthly_consent
from tui.services.controller.letting_in import note_address
from tui.services.controller.settings import ABSENCES
from tui.services.controller.work import Work
from tui.services.providers.provider import RentedMachine
from tui.services.rented_jobs import GO_ON
from tui.services.ssh.machine_files import MachineFiles


async def train(work: Work) -> None:
    """One look at a job that is at its agent."""
    machine = await work.machine()
    if machine is None:
        await lose(work, "its machine is not in the ledger")
        return
    work.follower.start()
    if work.job.state.outcome is not None:
        await _ended(work, work.job.state.outcome)
        return
    seen = work.sightings.of(machine)
    if await _is_gone(work, seen):
        return
    if seen is not None and await _has_moved(work, machine, seen):
        return
    if work.wants_cancel and await _is_cancelled_without_agent(work):
        return
    if await _is_over_limits(work):
        return
    if await _needs_another_machine(work):
        return
    await _say_how_it_stands(work)


async def lose(work: Work, why: str) -> None:
    """The machine is lost: end what is left of it, then go on elsewhere, ask, or stop."""
    await work.follower.stop()
    rental, request = work.rental, work.request
    interruptions = rental.interruptions + 1
    lost = rental.attempts_lost if request.keeps_results else max(work.job.state.attempt, 0)
    kept = "" if request.keeps_results else "; without a network volume its checkpoints went too"
    await work.note(f"interruption {interruptions}: {why}{kept}", "warning")
    await work.office.session.store.forget_outcome(work.job_id)
    changes = {
        "interruptions": interruptions,
        "attempts_lost": lost,
        "next_candidate": 0,
        "failures": (),
        "silent_since": None,
        "missing_in": (),
        "outcome": None,
        "outcome_detail": "",
    }
    if interruptions <= request.max_interruptions:
        await work.end_machine(why, RentalPhase.PROVISIONING, **changes)
    elif request.after_interruptions is AfterInterruptions.ASK:
        await work.end_machine(why, RentalPhase.ASKING, **changes)
    elif (
        request.after_interruptions is AfterInterruptions.NEXT_GPU and _other_gpu(work) is not None
    ):
        await work.end_machine(
            why, RentalPhase.PROVISIONING, **{**changes, "next_candidate": _other_gpu(work)}
        )
    else:
        detail = f"lost {many(interruptions, 'machine')}, the last one: {why}"
        await work.end_machine(
            why,
            RentalPhase.DONE,
            **{**changes, "outcome": StopReason.MACHINE_LOST, "outcome_detail": detail},
        )


async def ask(work: Work) -> None:
    """Nothing is paid for while the user thinks."""
    if work.wants_cancel:
        await work.close_with(StopReason.CANCELLED, work.stored.wish_reason)
        return
    if work.rental.over_limit:
        await monthly_consent.ask(work)
        return
    count = work.rental.interruptions
    lost = f"{many(count, 'machine')} {'was' if count == 1 else 'were'} lost"
    question = work.rental.question or (
        f"{lost}. Answer {GO_ON!r} to rent another one, or cancel the job."
    )
    if work.stored.answer == GO_ON:
        await work.office.session.store.rentals.answer(work.job_id, "")
        await work.enter(RentalPhase.PROVISIONING, "as you answered", interruptions=0, question="")
    else:
        await work.stay(work.rental.reason or lost, question=question)


async def _ended(work: Work, outcome: StopReason) -> None:
    await work.enter(
        RentalPhase.SECURING,
        STOP_REASONS[outcome].status.value,
        outcome=outcome,
        outcome_detail=work.job.state.detail,
        silent_since=None,
    )


async def _is_gone(work: Work, seen: RentedMachine | None) -> bool:
    """True once the job was given up for lost."""
    settings, follower = work.office.settings, work.follower
    is_silent = follower.silent_s > settings.contact_patience_s
    if seen is not None and not seen.status.is_up:
        # Its last records may still be on their way.
        if is_silent or follower.trouble:
            await lose(work, f"the machine {seen.status.value} without being asked to")
            return True
        return False
    if await work.count_misses(seen) >= ABSENCES and follower.trouble:
        await lose(work, "the machine is gone from the provider's list")
        return True
    if seen is not None and follower.silent_s > settings.lost_after_s:
        await lose(work, f"nobody answered there for {settings.lost_after_s:.0f} s")
        return True
    return False


async def _has_moved(work: Work, machine: Machine, seen: RentedMachine) -> bool:
    """True if its container began anew: then address, host key and perhaps the disk are new."""
    if seen.ssh_host is None:
        return False
    files = MachineFiles(work.office.session.config.home, machine.name)
    if await note_address(files, seen):
        await work.follower.stop()
        # A container's own disk is wiped when it begins anew.
        lost = work.rental.attempts_lost
        if not work.request.keeps_results:
            lost = max(lost, work.job.state.attempt)
        reason = "its container began anew"
        await work.note(reason, "warning")
        await work.enter(RentalPhase.CONNECTING, reason, attempts_lost=lost)
        return True
    return False


async def _is_cancelled_without_agent(work: Work) -> bool:
    """Pass the wish on; True if the machine is ended because nobody takes it."""
    if work.follower.silent_s > work.office.settings.cancel_patience_s:
        reason = f"{work.stored.wish_reason}; its agent could not be asked"
        await work.close_with(StopReason.CANCELLED, reason)
        return True
    with contextlib.suppress(AgentError, ProtocolError, TimeoutError):
        async with asyncio.timeout(10), work.host.client() as client:
            await client.cancel(work.job_id, work.stored.wish_reason)
    return False


async def _is_over_limits(work: Work) -> bool:
    """The agent stops by itself; this is for one that does not."""
    now = utc_now()
    spent = money.spent_usd(await work.machines(), now)
    overtime = timedelta(seconds=work.office.settings.overtime_s)
    if spent >= work.request.budget_usd:
        await work.close_with(
            StopReason.BUDGET_EXHAUSTED, f"${spent:.2f} of ${work.request.budget_usd:.2f} are spent"
        )
        return True
    if now >= money.deadline_of(work.request, work.rental, now) + overtime:
        hours = work.request.max_duration_hours
        await work.close_with(StopReason.DEADLINE_REACHED, f"{hours:g} hours are over")
        return True
    return False


async def _needs_another_machine(work: Work) -> bool:
    """An attempt that ended by the machine's own fault is not tried again on the same one."""
    if work.follower.is_unknown:
        await lose(work, "its agent has never heard of the job: the machine's disk is new")
        return True
    if work.job.state.activity != "recovering":
        return False
    store, machine = work.office.session.store, await work.machine()
    started = await store.events_of(work.job_id, AttemptStarted, last=1)
    newest = [record.event for record in await store.events(work.job_id, last=1)]
    if machine is None or not started or started[0].rental != machine.number:
        return False  # What is known is of the machine before this one.
    match newest:
        case [AttemptEnded(stop_reason=StopReason.HARDWARE_FAULT) as ended]:
            await lose(work, f"its hardware failed: {ended.detail}")
            return True
    return False


async def _say_how_it_stands(work: Work) -> None:
    follower, settings = work.follower, work.office.settings
    if follower.silent_s > settings.contact_patience_s:
        since = work.rental.silent_since or _before(utc_now(), follower.silent_s)
        reason = f"unreachable: {follower.trouble}"
        await work.stay(reason, silent_since=since)
        return
    trouble = ""
    if work.sightings.is_key_refused:
        trouble = (
            "the provider refuses our key: the machine ends itself once the job is done, and "
            "results stay on its volume"
        )
    elif work.sightings.error is not None:
        trouble = f"the provider does not answer: {work.sightings.error}"
    if work.rental.silent_since is not None:
        await work.note("its agent answers again")
    await work.stay(trouble, silent_since=None)


def _before(now: datetime, seconds: float) -> datetime:
    return now - timedelta(seconds=seconds)


def _other_gpu(work: Work) -> int | None:
    """The first candidate of another GPU type than the one that was lost, if that was agreed."""
    if work.request.after_interruptions is not AfterInterruptions.NEXT_GPU:
        return None
    candidates = work.request.candidates
    number = min(work.rental.next_candidate, len(candidates) - 1)
    lost = candidates[number].gpu_type
    return next((index for index, other in enumerate(candidates) if other.gpu_type != lost), None)
