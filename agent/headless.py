"""Runs one job to its end with no console and no server: `brightrun-agent run`.

The supervisor stands in this process, under the same lock and on the same files as an agent's, so
a job that was cut off goes on where its files say it stands.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from agent.attempt import SupervisionSettings
from agent.fence import Fence, own_mark
from agent.run_directory import AgentRoot
from agent.serve import hold_lock
from agent.supervisor import Supervisor
from shared.dataset.storage import store_dataset
from shared.event_text import describe_record
from shared.events import decode_journal_record
from shared.job_spec import JobSpec
from shared.job_state import JobState, apply
from shared.lifecycle import JobStatus

EXIT_CODES = {JobStatus.COMPLETED: 0, JobStatus.FAILED: 1, JobStatus.CANCELLED: 3}

_LINES_PER_READ = 200


async def run_job(
    root: AgentRoot,
    spec: JobSpec,
    dataset: Path,
    settings: SupervisionSettings,
    *,
    as_json: bool,
) -> int:
    """Start the job, or go on with it, and print what happens; returns the exit code.

    Raises:
        AgentAlreadyRunning: an agent owns this root; ask it instead.
        InvalidInput: the job cannot be started.
    """
    mark = own_mark(root.path)
    with hold_lock(root, mark):
        supervisor = Supervisor(root, settings, Fence(root.path, mark))
        await supervisor.recover()
        try:
            await asyncio.to_thread(store_dataset, dataset, root.datasets_path, spec.dataset)
            await supervisor.start(spec)
            with _Interrupts(supervisor, spec.job_id):
                status = await _print_events(supervisor, spec.job_id, as_json=as_json)
        finally:
            await supervisor.close()
    return EXIT_CODES[status]


async def _print_events(supervisor: Supervisor, job_id: str, *, as_json: bool) -> JobStatus:
    state = JobState()
    async for lines in supervisor.job(job_id).follow((0, 0), _LINES_PER_READ):
        for line in lines:
            record = decode_journal_record(line)
            state = apply(state, record)
            print(line.decode() if as_json else describe_record(record, state), flush=True)
    if state.advice and not as_json:
        print(state.advice)
    return state.status


class _Interrupts:
    """While inside, Ctrl-C and SIGTERM cancel the job, which then ends as cancelled jobs do."""

    def __init__(self, supervisor: Supervisor, job_id: str) -> None:
        self._supervisor = supervisor
        self._job_id = job_id
        self._loop = asyncio.get_running_loop()
        self._cancelling: asyncio.Task[bool] | None = None

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._cancel, signal.Signals(number).name)

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.remove_signal_handler(number)

    def _cancel(self, signal_name: str) -> None:
        if self._cancelling is None:
            asking = self._supervisor.cancel(self._job_id, f"interrupted by {signal_name}")
            self._cancelling = asyncio.create_task(asking)
