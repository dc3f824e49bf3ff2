"""From a queued job to a machine that the provider says is running.

The order makes it safe to be killed anywhere: the machine's name and key are on the disk before it
is written down, it is written down before it is asked for, and a name is asked for only once. What
was asked for without an answer is looked for by that name until it is found or proved absent.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from shared.errors import (
    AmbiguousAnswer,
    InsufficientBalance,
    InvalidInput,
    NoCapacity,
    ProviderRefused,
    ProviderUnauthorized,
    ProviderUnreachable,
)
from shared.events import utc_now
from shared.lifecycle import StopReason
from shared.machine_request import Candidate
from shared.rental import Machine, MachinePurpose, MachineState, RentalPhase
from tui.services.controller import money, monthly_consent
from tui.services.controller.machine_names import machine_name
from tui.services.controller.machine_order import machine_order
from tui.services.controller.work import Work
from tui.services.providers.provider import MachineOrder, MachineStatus, RentedMachine
from tui.services.rented_jobs import GO_ON
from tui.services.ssh.machine_files import MachineFiles

_LEAST_LEASE_SHARE = 0.5
_LAST_PATIENCE_S = 10.0
"""For the provider's answer, in a controller that is to end."""


async def provision(work: Work) -> None:
    """Ask for a machine, or look at the one that was asked for."""
    machine = await work.machine()
    if work.wants_cancel:
        await work.close_with(StopReason.CANCELLED, work.stored.wish_reason)
    elif machine is None:
        await _ask_for_one(work)
    elif machine.machine_id is None:
        await _look_for(work, machine)
    elif work.is_late:
        await work.next_candidate(await _last_words(work, machine))
    else:
        await _look_at(work, machine)


async def _ask_for_one(work: Work) -> None:
    candidate = work.candidate
    now = utc_now()
    if not work.may_ask:
        return
    if candidate is None:
        await _all_were_tried(work)
        return
    machines = await work.machines()
    spent = money.spent_usd(machines, now)
    if now >= money.deadline_of(work.request, work.rental, now):
        hours = work.request.max_duration_hours
        await work.close_with(StopReason.DEADLINE_REACHED, f"{hours:g} hours are over")
        return
    if not money.affords(work.request, spent, candidate.usd_per_hour):
        await _cannot_afford(work, candidate, spent)
        return
    if any(other.state.may_exist for other in machines):
        # Never two at once: whatever may still be paid for is ended first.
        await _end_the_rest(work, machines)
        return
    if await monthly_consent.must_ask(work, candidate):
        return
    lease_s = work.office.settings.lease_s
    if work.office.leadership.remaining_s < _LEAST_LEASE_SHARE * lease_s:
        return
    await _rent(work, candidate)


async def _all_were_tried(work: Work) -> None:
    since = work.rental.waiting_since or utc_now()
    reason = "; ".join(work.rental.failures) or "no candidate is left"
    if work.rental.refusals >= len(work.request.candidates):
        await work.close_with(StopReason.PROVIDER_REFUSED, reason)
        return
    await work.enter(RentalPhase.WAITING, reason, waiting_since=since, refusals=0)


async def _cannot_afford(work: Work, candidate: Candidate, spent: float) -> None:
    """A cheaper one may come later in the list; without any the job ends."""
    later = work.request.candidates[work.rental.next_candidate :]
    if any(money.affords(work.request, spent, other.usd_per_hour) for other in later):
        await work.next_candidate("is dearer than what is left of the budget")
        return
    await work.close_with(
        StopReason.BUDGET_EXHAUSTED,
        f"${spent:.2f} of ${work.request.budget_usd:.2f} are spent, which leaves too little for "
        f"{candidate.label} at ${candidate.usd_per_hour:.2f} an hour",
    )


async def _end_the_rest(work: Work, machines: list[Machine]) -> None:
    left = next(machine for machine in machines if machine.state.may_exist)
    if left.state is not MachineState.ENDING:
        reason = "an earlier machine of the job was left over"
        left = await work.save(
            replace(left, state=MachineState.ENDING, ending_at=utc_now(), end_reason=reason)
        )
    await work.enter(
        RentalPhase.ENDING, left.end_reason, machine=left.name, then=RentalPhase.PROVISIONING
    )


async def _rent(work: Work, candidate: Candidate) -> None:
    number = work.rental.rentals + 1
    name = machine_name(work.office.mark, work.job_id, number)
    files = MachineFiles(work.office.session.config.home, name)
    public_key = await asyncio.to_thread(files.public_key)
    now = utc_now()
    machine = Machine(
        name=name,
        job_id=work.job_id,
        provider=work.office.provider.name,
        purpose=MachinePurpose.TRAIN,
        number=number,
        label=candidate.label,
        state=MachineState.INTENDED,
        usd_per_hour=candidate.usd_per_hour,
        created_at=now,
        data_center=candidate.data_center,
    )
    # First, so that the number is never used again, whatever happens next.
    price = f"${candidate.usd_per_hour:.2f} an hour"
    await work.enter(
        RentalPhase.PROVISIONING,
        f"asking for {candidate.label} at {price} (machine {number})",
        machine=name,
        rentals=number,
    )
    await work.office.session.store.rentals.intend(machine)
    order = machine_order(work, machine, candidate, public_key)
    asking = asyncio.create_task(_ask_provider(work, machine, order))
    try:
        await asyncio.shield(asking)
    except asyncio.CancelledError:
        # Not to be cut off between the question and the note of its answer, unless that takes
        # long: then whoever leads next looks for it by its name.
        await asyncio.wait({asking}, timeout=_LAST_PATIENCE_S)
        asking.cancel()
        await asyncio.wait({asking})
        raise


async def _ask_provider(work: Work, machine: Machine, order: MachineOrder) -> None:
    never = replace(machine, state=MachineState.NEVER, gone_at=utc_now())
    try:
        seen = await work.office.provider.rent(order)
    except AmbiguousAnswer as error:
        await work.note(f"{error} Looking whether {machine.name} was made.", "warning")
        await work.stay(f"looking whether {machine.name} was made")
    except (NoCapacity, ProviderRefused, InvalidInput) as error:
        await work.save(replace(never, end_reason=str(error)))
        failure = f"{machine.label}: {error}"
        await work.note(failure, "warning")
        await work.stay(
            "trying the next candidate",
            machine=None,
            next_candidate=work.rental.next_candidate + 1,
            failures=(*work.rental.failures, failure),
            refusals=work.rental.refusals + (not isinstance(error, NoCapacity)),
        )
    except (InsufficientBalance, ProviderUnauthorized) as error:
        await work.save(replace(never, end_reason=str(error)))
        await work.stay(str(error), machine=None)
        await _refused_account(work, str(error))
    except ProviderUnreachable as error:
        work.put_off(error.retry_after_s)
        await work.save(replace(never, end_reason=str(error)))
        await work.note(str(error), "warning")
        await work.stay(str(error), machine=None)
    else:
        await _take_over(work, machine, seen)


async def _refused_account(work: Work, why: str) -> None:
    """A job that has trained does not end for a key or a balance that can be mended."""
    if work.job.state.attempt == 0:
        await work.close_with(StopReason.PROVIDER_REFUSED, why)
        return
    question = (
        f"{why} Mend that, then answer {GO_ON!r} to rent the next machine, or cancel the job."
    )
    await work.enter(RentalPhase.ASKING, why, question=question)


async def _take_over(work: Work, machine: Machine, seen: RentedMachine) -> None:
    """It exists, and it is ours: its id is written down before anything else."""
    work.was_answered()
    now = utc_now()
    await work.save(
        replace(
            machine,
            state=MachineState.RENTED,
            machine_id=seen.machine_id,
            rented_at=now,
            usd_per_hour=seen.usd_per_hour or machine.usd_per_hour,
            data_center=seen.data_center or machine.data_center,
        )
    )
    await work.note(f"rented {machine.label} as {seen.machine_id} (machine {machine.number})")
    await work.stay(
        f"{machine.label}: {seen.status.value}",
        first_rented_at=work.rental.first_rented_at or now,
        waiting_since=None,
        refusals=0,
        missing_in=(),
    )


async def _look_for(work: Work, machine: Machine) -> None:
    """It was asked for, and nobody knows the answer: find it by name, or prove its absence."""
    if machine.state is MachineState.NEVER:
        await work.stay("asking again", machine=None)
        return
    look = await work.office.lookout.following()
    if not look.is_known:
        await work.stay(f"looking whether {machine.name} was made: {look.error}")
        return
    seen = look.of(machine)
    if seen is not None:
        await _take_over(work, machine, seen)
        return
    missing_in = tuple(dict.fromkeys((*work.rental.missing_in, look.number)))
    age_s = (utc_now() - machine.created_at).total_seconds()
    if len(missing_in) >= 2 and age_s > work.office.settings.absence_grace_s:
        reason = "the provider has none of that name"
        await work.save(
            replace(machine, state=MachineState.NEVER, gone_at=utc_now(), end_reason=reason)
        )
        await work.note(f"{machine.name} was never made; asking again.")
        await work.stay("asking again", machine=None, missing_in=())
    else:
        await work.stay(f"looking whether {machine.name} was made", missing_in=missing_in)


async def _look_at(work: Work, machine: Machine) -> None:
    """Rented: wait until it runs, and see that it costs what was agreed."""
    sightings = work.sightings
    if not sightings.is_known:
        await work.stay(f"{machine.label}: {sightings.error or 'looking'}")
        return
    seen = sightings.of(machine)
    if seen is None:
        await _missing(work, machine)
        return
    candidate = work.candidate
    agreed = candidate.usd_per_hour if candidate else machine.usd_per_hour
    if seen.usd_per_hour > agreed * (1 + work.request.price_tolerance) + 0.005:
        await work.next_candidate(
            f"costs ${seen.usd_per_hour:.2f} an hour, not ${agreed:.2f} as agreed"
        )
    elif not seen.status.is_up:
        await work.next_candidate(f"{seen.status.value}: {await _last_words(work, machine)}")
    elif seen.status is MachineStatus.RUNNING and seen.ssh_host is not None:
        address = f"{seen.ssh_host}:{seen.ssh_port}"
        await work.enter(RentalPhase.CONNECTING, address, missing_in=())
    else:
        await work.stay(f"{machine.label}: {seen.status.value}", missing_in=())


async def _missing(work: Work, machine: Machine) -> None:
    """Just made, and not in the list: that is lag for a while, and then it is gone."""
    look = work.sightings
    age_s = (utc_now() - (machine.rented_at or machine.created_at)).total_seconds()
    missing_in = tuple(dict.fromkeys((*work.rental.missing_in, look.number)))
    if len(missing_in) >= 2 and age_s > work.office.settings.absence_grace_s:
        await work.next_candidate("vanished before it was reached")
    else:
        await work.stay(f"{machine.label}: not in the list yet", missing_in=missing_in)


async def _last_words(work: Work, machine: Machine) -> str:
    """Why it does not come up, in the provider's own words."""
    late = "did not come up in time"
    if machine.machine_id is None:
        return late
    try:
        async with asyncio.timeout(10):
            lines = await work.office.provider.system_log(machine.machine_id)
    except (ProviderRefused, ProviderUnauthorized, ProviderUnreachable, TimeoutError):
        return late
    return f"{late}: {lines[-1]}" if lines else late
