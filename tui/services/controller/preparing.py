"""From a machine that runs to a job that trains on it.

Nothing is believed of a machine that its own log and its own tools do not show: its host key, its
GPUs, its driver, its disk. One that is not as agreed is given back within minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.clean_text import clean_line
from shared.errors import (
    AgentError,
    AgentRefused,
    HostUnreachable,
    InvalidDataset,
    InvalidInput,
    ProtocolError,
    ProviderError,
    SshRefused,
    UnknownHostKey,
)
from shared.events import utc_now
from shared.lifecycle import Activity, StopReason
from shared.pod_start import HEARTBEAT_FILE, TOKEN_FILE
from shared.rental import Machine, RentalPhase
from tui.services.controller import machine_check, money
from tui.services.controller.letting_in import fingerprint_in, note_address
from tui.services.controller.machine_order import run_directory
from tui.services.controller.moving import send_along
from tui.services.controller.settings import ABSENCES
from tui.services.controller.work import Overtaken, Work
from tui.services.hosts.rented import base_on
from tui.services.hub_files import hub_token
from tui.services.jobs import find_training_file
from tui.services.providers.provider import RentedMachine
from tui.services.ssh.machine_files import MachineFiles
from tui.services.webhook_targets import try_to_hand_over

_CONSENT = "go on"


async def connect(work: Work) -> None:
    """Get in, with the host key that the machine's own log has named."""
    if await _is_over(work):
        return
    seen = await work.seen()
    machine = await work.machine()
    if seen is None or machine is None or seen.ssh_host is None:
        await work.stay("its address is not known at the moment")
        return
    work.unreachable_since = None
    if await _let_in(work, machine, seen):
        await work.enter(RentalPhase.CHECKING, question="")


async def check(work: Work) -> None:
    """Look at GPUs, memory, driver, disk and price; only what was agreed is trained on."""
    if await _is_over(work):
        return
    try:
        facts = await work.guarded(_ask_machine(work))
    except Overtaken:
        return
    except HostUnreachable as error:
        await _try_again(work, error)
        return
    except (AgentError, ProtocolError) as error:
        await work.next_candidate(f"cannot be looked at: {error}")
        return
    candidate = work.candidate
    fault = machine_check.fault_of(facts, candidate, work.request) if candidate else ""
    if fault:
        await work.next_candidate(fault)
    else:
        await work.enter(RentalPhase.INSTALLING, machine_check.in_words(facts))


async def install(work: Work) -> None:
    """Agent, training stack and training file; the machine must be able to end itself."""
    if await _is_over(work):
        return
    try:
        async with _heartbeat(work):
            await work.guarded(_install(work))
    except Overtaken:
        return
    except SshRefused as error:
        await work.next_candidate(str(error))
    except AgentError as error:
        await _try_again(work, error)
    except InvalidDataset as error:
        await work.close_with(StopReason.DATASET_CHANGED, str(error))
    except InvalidInput as error:  # No Python, no room: another machine may do.
        await work.next_candidate(str(error))
    else:
        if await _may_go_on(work):
            await work.enter(RentalPhase.STARTING, question="")


async def begin(work: Work) -> None:
    """Hand the job over, with the limits that hold on the machine."""
    if await _is_over(work):
        return
    machine = await work.machine()
    assert machine is not None, "a machine was prepared"
    try:
        async with _heartbeat(work):
            await work.guarded(_hand_over(work, machine))
    except Overtaken:
        return
    except AgentRefused as error:
        await work.close_with(StopReason.INVALID_JOB_SPEC, f"refused: {error}")
    except (AgentError, ProtocolError) as error:
        await _try_again(work, error)
    else:
        await work.enter(RentalPhase.RUNNING, silent_since=None, missing_in=())


async def _try_again(work: Work, error: AgentError | ProtocolError) -> None:
    """After a pause; a machine that SSH does not reach any more is not paid for long."""
    now_s = time.monotonic()
    if not isinstance(error, HostUnreachable):
        work.unreachable_since = None
    elif work.unreachable_since is None:
        work.unreachable_since = now_s
    elif now_s - work.unreachable_since > work.office.settings.unreachable_after_s:
        work.unreachable_since = None
        await work.next_candidate(f"cannot be reached any more: {error}")
        return
    await work.stay(f"trying again: {error}")
    await asyncio.sleep(work.office.settings.tick_s)


async def _is_over(work: Work) -> bool:
    """True if the phase is left for something else."""
    if work.wants_cancel:
        await work.close_with(StopReason.CANCELLED, work.stored.wish_reason)
        return True
    if work.is_late:
        why = work.rental.reason
        await work.next_candidate(f"was not {work.rental.phase.value} in time: {why}")
        return True
    seen = await work.seen()
    if seen is not None and not seen.status.is_up:
        await work.next_candidate(f"was {seen.status.value} while {work.rental.phase.value}")
        return True
    if await work.count_misses(seen) >= ABSENCES:
        await work.next_candidate(f"vanished while {work.rental.phase.value}")
        return True
    return False


async def _let_in(work: Work, machine: Machine, seen: RentedMachine) -> bool:
    """True once a command has run there."""
    files = MachineFiles(work.office.session.config.home, machine.name)
    await note_address(files, seen)
    fingerprint = None
    if not await asyncio.to_thread(lambda: files.is_pinned):
        fingerprint = await _fingerprint(work, machine)
        if fingerprint is None:
            return False
    try:
        host = await work.host.over_ssh(fingerprint)
        await host.shell.run("true")
    except UnknownHostKey as error:
        await _take_back_answer(work)
        await work.next_candidate(
            f"shows another host key ({error.fingerprint}) than is to be trusted ({fingerprint}); "
            "nothing was sent to it"
        )
        return False
    except SshRefused as error:
        await _take_back_answer(work)
        await work.next_candidate(f"was not let in: {error}")
        return False
    except AgentError as error:
        await work.stay(str(error))
        return False
    await _take_back_answer(work)
    return True


async def _take_back_answer(work: Work) -> None:
    """It was about this machine's key: the next machine has another."""
    if work.stored.answer:
        await work.office.session.store.rentals.answer(work.job_id, "")


async def _fingerprint(work: Work, machine: Machine) -> str | None:
    """Of the machine's host key: from its own log, else from the user, who is asked once."""
    if work.stored.answer.startswith("SHA256:"):
        return work.stored.answer
    assert machine.machine_id is not None
    try:
        patience_s = work.office.settings.log_patience_s
        found = await fingerprint_in(work.office.provider, machine.machine_id, patience_s)
    except ProviderError as error:
        await work.stay(f"its log cannot be read: {error}")
        return None
    if found is not None:
        return found
    await work.stay(
        "its log names no host key yet",
        question=f"The log of {machine.name} names no host key. Compare it in the provider's "
        "console, then answer with its fingerprint, SHA256:...",
    )
    return None


async def _ask_machine(work: Work) -> machine_check.MachineReport:
    host = await work.host.over_ssh()
    done = await host.shell.run(
        machine_check.script(base_on(work.request, work.job_id)), timeout_s=60
    )
    return machine_check.read(done.stdout)


async def _install(work: Work) -> None:
    steps = asyncio.Queue[str]()
    telling = asyncio.create_task(_tell(work, steps))
    try:
        host = await work.host.over_ssh()
        if token := await asyncio.to_thread(hub_token):
            machine = await work.machine()
            assert machine is not None
            await host.shell.put(token.encode(), f"{run_directory(machine.name)}/{TOKEN_FILE}")
        await host.ensure_agent(steps.put_nowait)
        await host.ensure_trainer(steps.put_nowait)
        path = await find_training_file(work.office.session, work.job.spec)
        await host.put_dataset(path, work.job.spec.dataset, steps.put_nowait)
    finally:
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling


async def _tell(work: Work, steps: asyncio.Queue[str]) -> None:
    """The latest step is the activity's detail; the ledger is not written for each."""
    store = work.office.session.store
    while True:
        text = await steps.get()
        while not steps.empty():
            text = steps.get_nowait()
        await store.note_activity(work.job_id, Activity.INSTALLING, clean_line(text))
        await asyncio.sleep(0.5)


async def _may_go_on(work: Work) -> bool:
    """True if the machine can end itself, or somebody stays who can, or the user agrees."""
    try:
        async with work.host.client() as client:
            answer = await client.self_end()
    except (AgentError, ProtocolError) as error:
        await work.stay(f"trying again: {error}")
        return False
    if answer.can_end:
        await work.note(f"the machine can end itself ({answer.how})")
        return True
    if work.office.kind == "serve" or work.stored.answer == _CONSENT:
        await work.note(f"the machine cannot end itself: {answer.detail}", "warning")
        await work.office.session.store.rentals.answer(work.job_id, "")
        return True
    await work.stay(
        "it cannot end itself",
        question=f"The machine cannot end itself ({clean_line(answer.detail)}). If this console is "
        f"closed, it would be paid for until somebody ends it. Answer {_CONSENT!r} to train all "
        "the same, or cancel the job.",
    )
    return False


async def _hand_over(work: Work, machine: Machine) -> None:
    request, rental, now = work.request, work.rental, utc_now()
    limits = money.limits_for(
        request,
        rental,
        machine,
        spent=money.spent_usd(await work.machines(), now),
        now=now,
        idle_end_s=work.office.settings.idle_end_s,
    )
    # What was on a disk that is gone is not told again: attempts go on counting.
    first_attempt = 1 if request.keeps_results else work.rental.attempts_lost + 1
    if rental.carried:
        await send_along(work)
    async with work.host.client() as client:
        await client.start(work.job.spec, first_attempt=first_attempt, limits=limits)
        await try_to_hand_over(work.office.session, client, work.job_id)


@asynccontextmanager
async def _heartbeat(work: Work) -> AsyncIterator[None]:
    """While inside, the machine's dead-man timer hears of us."""
    machine = await work.machine()
    assert machine is not None
    path = shlex.quote(f"{run_directory(machine.name)}/{HEARTBEAT_FILE}")
    beating = asyncio.create_task(_beat(work, f"touch {path}"))
    try:
        yield
    finally:
        beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beating


async def _beat(work: Work, script: str) -> None:
    while True:
        with contextlib.suppress(AgentError):
            host = await work.host.over_ssh()
            await host.shell.run(script)
        await asyncio.sleep(work.office.settings.heartbeat_s)
