"""How a job ended while nobody listened: its journal on the network volume says so.

A machine may finish its job and end itself long before a console is back, and then budget or
duration may be used up by the clock. The smallest machine on the volume reads what became of it.
"""

from __future__ import annotations

import shlex

from shared.errors import BrightRunError
from shared.events import AdapterSaved, decode_journal_records
from shared.lifecycle import STOP_REASONS, JobStatus, StopReason
from tui.services.artifacts import fetch_adapter
from tui.services.controller.volume_artifacts import VolumeArtifacts
from tui.services.controller.volume_machine import machine_on_volume, visit_for
from tui.services.controller.work import Work
from tui.services.hosts.rented import base_on
from tui.services.ssh.remote_shell import SshShell

_OF_THE_CLOCK = (StopReason.DEADLINE_REACHED, StopReason.BUDGET_EXHAUSTED, StopReason.MACHINE_LOST)
"""Outcomes that the controller finds without having heard the agent's last word."""
_NO_JOURNAL = 3


def may_have_ended(work: Work) -> bool:
    """True if it has trained, nobody knows how far it came, and its volume may tell."""
    return (
        work.request.keeps_results
        and work.job.state.attempt > 0
        and work.rental.outcome in _OF_THE_CLOCK
        and work.job.state.outcome is None
    )


async def listen(work: Work) -> None:
    """Have the ledger say how the job ended, with its adapter here; without news it stays as is."""
    office, root = work.office, f"{base_on(work.request, work.job_id)}/agent"
    await work.stay("looking on its volume how the job ended", machine=None)

    def tell(step: str) -> None:
        office.tell(f"{work.job_id}: {step}")

    try:
        visit = visit_for(work.stored, "to see how the job ended")
        async with machine_on_volume(
            office.session, office.provider, visit, tell, office.settings.tick_s
        ) as host:
            await _read_journals(work, host.shell, root)
            await work.reload()
            results = await _bring_home(work, VolumeArtifacts(host, root))
    except BrightRunError as error:
        volume = work.request.network_volume_id
        await work.note(f"how it ended stays unread on volume {volume}: {error}", "warning")
        return
    outcome = work.job.state.outcome
    if outcome is not None:
        await work.note(f"it had ended while nobody listened: {outcome}")
        detail = work.job.state.detail
        await work.stay("", outcome=outcome, outcome_detail=detail, results=results)


async def _read_journals(work: Work, shell: SshShell, root: str) -> None:
    """All records after the last that was heard, attempt after attempt."""
    attempt, seq = work.job.cursor
    attempt = max(attempt, 1)
    while True:
        path = shlex.quote(f"{root}/jobs/{work.job_id}/attempts/{attempt}/journal.jsonl")
        done = await shell.run(f"test -f {path} || exit {_NO_JOURNAL}\ntail -n +{seq + 1} {path}")
        if done.exit_status != 0:
            return
        # What was cut off in mid-line with its machine is no record.
        whole, newline, _ = done.stdout.rpartition("\n")
        if newline and whole:
            records = decode_journal_records(whole.encode())
            await work.office.session.store.apply_records(work.job_id, records)
        attempt, seq = attempt + 1, 0


async def _bring_home(work: Work, source: VolumeArtifacts) -> str:
    """Where the adapter is now; "" where the job has none."""
    outcome = work.job.state.outcome
    if outcome is None or STOP_REASONS[outcome].status is not JobStatus.COMPLETED:
        return ""
    if not work.job.state.adapter_path:
        return ""
    session = work.office.session
    saved = await session.store.events_of(work.job_id, AdapterSaved, last=1)
    path = await fetch_adapter(
        source,
        work.job_id,
        session.config.home / "adapters",
        manifest_sha256=saved[0].manifest_sha256 if saved else None,
    )
    return str(path)
