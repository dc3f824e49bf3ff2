"""Starts a prepared job; trying again after a failure goes on with the same job."""

from __future__ import annotations

from dataclasses import replace

from shared.errors import BrightRunError
from shared.job_spec import JobSpec
from tui.services import jobs
from tui.services.hosts.host import Step, in_silence
from tui.services.preview import Prepared
from tui.services.session import Session


class JobStarter:
    """For one form: at most one of its jobs waits to be handed over."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._left_behind: JobSpec | None = None
        """Written down, but no agent took it over."""

    def continued(self, prepared: Prepared) -> Prepared:
        """`prepared` as the job that was left behind, if it is the same work."""
        left = self._left_behind
        if left is None:
            return prepared
        spec = prepared.spec.model_copy(update={"job_id": left.job_id})
        return replace(prepared, spec=spec) if spec.same_work_as(left) else prepared

    async def start(
        self,
        prepared: Prepared,
        host: str,
        on_step: Step = in_silence,
        *,
        retry_of: str | None = None,
    ) -> str:
        """Start it, as a retry of an ended job where it is one; returns the job's id.

        Raises:
            BrightRunError: as `jobs.start_job` does.
        """
        try:
            started = await jobs.start_job(
                self._session,
                prepared.path,
                prepared.spec,
                prepared.report,
                host=host,
                retry_of=retry_of,
                on_step=on_step,
            )
        except BrightRunError:
            self._left_behind = await self._unsettled(prepared.spec)
            raise
        return started.job.job_id

    async def _unsettled(self, spec: JobSpec) -> JobSpec | None:
        try:
            job = await self._session.store.get_job(spec.job_id)
        except BrightRunError:  # Not written down, or the store is the trouble.
            return None
        return None if job.status.is_final else spec
