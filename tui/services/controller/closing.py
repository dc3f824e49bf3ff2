"""Bringing results to safety, ending the machine, and ending the job: in this order.

A machine counts as ended when the provider has twice said that it has none of it, once by its id
and its list each. Until then it is ended again and again, and shown.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from shared.errors import (
    AgentError,
    BrightRunError,
    IntegrityError,
    ProtocolError,
    ProviderError,
)
from shared.events import AdapterSaved, utc_now
from shared.lifecycle import STOP_REASONS, JobStatus, StopReason
from shared.rental import Machine, MachineState, RentalPhase
from tui.services.artifacts import fetch_adapter
from tui.services.controller import unheard_end
from tui.services.controller.moving import forget_carried
from tui.services.controller.pod_upload import upload_from_machine
from tui.services.controller.settings import ABSENCES
from tui.services.controller.training import lose
from tui.services.controller.work import Overtaken, Work
from tui.services.job_end import settle_end
from tui.services.kept_logs import keep_log, log_path
from tui.services.ssh.machine_files import MachineFiles
from tui.services.webhook_targets import take_back_webhooks

_ALARM = "alarm: "
_LOG_PATIENCE_S = 30.0
_LONGEST_REST_S = 30.0
"""Between two requests to end a machine that does not."""


async def secure(work: Work) -> None:
    """Bring the adapter home; what has no adapter has nothing to bring."""
    outcome = work.rental.outcome
    assert outcome is not None, "a job is secured once it has ended"
    await _keep_log(work)
    await take_back_webhooks(work.office.session, work.host.client(), work.job_id)
    if STOP_REASONS[outcome].status is not JobStatus.COMPLETED or not work.job.state.adapter_path:
        await _end(work)
        return
    work.follower.start()
    seen = await work.seen()
    is_lost = await work.count_misses(seen) >= ABSENCES or (
        seen is not None and not seen.status.is_up
    )
    if is_lost or work.is_late or work.wants_cancel:
        await _left_behind(work, is_lost=is_lost)
        return
    try:
        home = await work.guarded(_bring_home(work))
    except Overtaken:
        return
    except (AgentError, ProtocolError, IntegrityError) as error:
        await work.stay(f"trying again: {error}")
        await asyncio.sleep(work.office.settings.tick_s)
    except BrightRunError as error:  # Our own disk is full, or the place is taken.
        await work.stay(str(error))
        await asyncio.sleep(work.office.settings.tick_s)
    else:
        await work.note(f"the adapter is here: {home}")
        await upload_from_machine(work)
        await _end(work, results=str(home))


async def end(work: Work) -> None:
    """End the machine until it is proved absent, then go on."""
    await work.follower.stop()
    machine = await work.machine()
    if machine is None or not machine.state.may_exist:
        await _go_on(work, machine)
        return
    if machine.state is not MachineState.ENDING:
        machine = await work.save(replace(machine, state=MachineState.ENDING, ending_at=utc_now()))
    if work.may_ask:
        await end_once(work, machine)


async def end_once(work: Work, machine: Machine) -> None:
    """Ask for its end, and look whether it is gone."""
    trouble = await _ask_for_end(work, machine)
    look = await work.office.lookout.following()
    seen = look.of(machine) if look.is_known else None
    if not look.is_known:
        await _say_it_lives(work, machine, f"the provider does not answer: {look.error}")
    elif seen is not None:
        if machine.machine_id is None:  # It was made after all.
            machine = replace(machine, machine_id=seen.machine_id, rented_at=utc_now())
        await work.save(replace(machine, absences=0, last_error=_alarm_of(machine) or trouble))
        await _say_it_lives(work, machine, trouble or f"it is still {seen.status.value}")
    elif trouble:
        await _say_it_lives(work, machine, trouble)
    elif await _is_there_by_id(work, machine):
        await work.save(replace(machine, absences=0))
    else:
        await _absent(work, machine)


async def finish(work: Work) -> None:
    """Nothing is left to do: the job gets its final status."""
    outcome = work.rental.outcome
    if outcome is not None:
        status = STOP_REASONS[outcome].status
        detail = work.rental.outcome_detail
        await work.office.session.store.settle_job(work.job_id, status, detail, outcome)
    await asyncio.to_thread(forget_carried, work.office.session.config.home, work.job_id)
    await work.office.session.hosts.rented(work.job_id).close()


async def _bring_home(work: Work) -> str:
    saved = await work.office.session.store.events_of(work.job_id, AdapterSaved, last=1)
    destination = work.office.session.config.home / "adapters"
    async with work.host.client() as client:
        path = await fetch_adapter(
            client,
            work.job_id,
            destination,
            manifest_sha256=saved[0].manifest_sha256 if saved else None,
        )
    return str(path)


async def _keep_log(work: Work) -> None:
    """What the trainer said last goes with the machine otherwise; nothing waits for it long."""
    home, attempt = work.office.session.config.home, work.job.state.attempt
    if await asyncio.to_thread(log_path(home, work.job_id, attempt).exists):
        return
    with contextlib.suppress(AgentError, ProtocolError, TimeoutError, OSError):
        async with asyncio.timeout(_LOG_PATIENCE_S), work.host.client() as client:
            await keep_log(client, home, work.job_id, attempt)


async def _left_behind(work: Work, *, is_lost: bool) -> None:
    """It could not be brought home: it is on the volume, or it is lost."""
    volume = work.request.network_volume_id
    if volume is not None:
        where = f"network volume {volume}"
        await work.note(
            f"the adapter stays on {where}: `brightrun machines rescue {work.job_id}` brings it "
            "home",
            "warning",
        )
        await _end(work, results=where)
    elif work.wants_cancel:
        await work.close_with(StopReason.CANCELLED, work.stored.wish_reason)
    elif is_lost:
        await lose(work, "the machine was lost before its adapter was safe")
    else:
        await work.close_with(
            StopReason.RESULTS_LOST, f"the adapter could not be brought home: {work.rental.reason}"
        )


async def _end(work: Work, results: str = "") -> None:
    await work.end_machine("the job has ended", RentalPhase.DONE, results=results)


async def _ask_for_end(work: Work, machine: Machine) -> str:
    """Why the provider did not take the request; "" if it did."""
    if machine.machine_id is None:
        return ""
    try:
        await work.office.provider.end(machine.machine_id)
    except ProviderError as error:
        return str(error)
    return ""


async def _is_there_by_id(work: Work, machine: Machine) -> bool:
    """A list may lag; what is asked for by its id does not."""
    if machine.machine_id is None:
        return False
    try:
        found = await work.office.provider.machine(machine.machine_id)
    except ProviderError as error:
        await _say_it_lives(work, machine, str(error))
        return True
    return found is not None and found.status != "terminated"


async def _absent(work: Work, machine: Machine) -> None:
    age_s = (utc_now() - machine.created_at).total_seconds()
    if machine.machine_id is None and age_s < work.office.settings.absence_grace_s:
        await work.stay("looking whether it was made")
        return
    absences = machine.absences + 1
    if absences < ABSENCES:
        await work.save(replace(machine, absences=absences, last_error=""))
        return
    state = MachineState.GONE if machine.machine_id else MachineState.NEVER
    machine = await work.save(
        replace(machine, absences=absences, state=state, gone_at=utc_now(), last_error="")
    )
    cost = machine.cost_usd(utc_now())
    await work.note(f"{machine.label} (machine {machine.number}) is gone; it cost ${cost:.2f}")
    await _go_on(work, machine)


async def _say_it_lives(work: Work, machine: Machine, why: str) -> None:
    ending_s = (utc_now() - (machine.ending_at or utc_now())).total_seconds()
    reason = f"{work.rental.then.value} follows; {why}"
    if ending_s > work.office.settings.ending_alarm_s:
        reason = (
            f"STILL BEING PAID FOR: {machine.machine_id or machine.name} does not end ({why}). "
            "End it in the provider's console"
        )
        if not _alarm_of(machine):
            await work.save(replace(machine, last_error=f"{_ALARM}{why}"))
            await work.note(reason, "error")
    await work.stay(reason)
    # Every tick at first; one that does not end for hours must not eat up the account's quota.
    work.rest(min(ending_s / 10, _LONGEST_REST_S))


def _alarm_of(machine: Machine) -> str:
    return machine.last_error if machine.last_error.startswith(_ALARM) else ""


async def _go_on(work: Work, machine: Machine | None) -> None:
    work.was_answered()
    if machine is not None:
        files = MachineFiles(work.office.session.config.home, machine.name)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(files.forget)
    await work.office.session.hosts.rented(work.job_id).close()
    then = work.rental.then
    if then is RentalPhase.DONE:
        if unheard_end.may_have_ended(work):
            await unheard_end.listen(work)
        # The status first: a job that is done in the ledger is not looked at again.
        await finish(work)
    await work.enter(then, work.rental.outcome_detail, machine=None, missing_in=())
    if then is RentalPhase.DONE:
        await settle_end(work.office.session.store, work.job_id)
