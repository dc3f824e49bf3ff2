"""Starts a prepared job; trying again after a failure goes on with the same job."""

from __future__ import annotations

from dataclasses import replace

from shared.errors import BrightRunError
from shared.job_spec import JobSpec
from tui.services import jobs
from tui.services.forecasting import forecast_for_start
from tui.services.hosts.host import Step, in_silence
from tui.services.preview import Prepared
from tui.services.rent_plan import RentPlan
from tui.services.rent_volumes import make_volume
from tui.services.rented_jobs import require_month_for, start_rented_job
from tui.services.session import Session
from tui.services.spending.rent_month import expected_cost_usd


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
            foreseen = None
            if (checked := prepared.checked) is not None:
                store = self._session.store
                foreseen = await forecast_for_start(store, checked, prepared.spec, host)
            started = await jobs.start_job(
                self._session,
                prepared.path,
                prepared.spec,
                prepared.report,
                host=host,
                retry_of=retry_of,
                foreseen=foreseen,
                on_step=on_step,
            )
        except BrightRunError:
            self._left_behind = await self._unsettled(prepared.spec)
            raise
        return started.job.job_id

    async def rent(
        self,
        prepared: Prepared,
        plan: RentPlan,
        on_step: Step = in_silence,
        *,
        retry_of: str | None = None,
        over_limit: str = "",
    ) -> str:
        """Write down the job and the machine to rent for it; returns the job's id.

        A new network volume is made first; trying again after a failure makes no second one.

        Raises:
            BrightRunError: as `make_volume` and `start_rented_job` do.
        """
        # The volume is named after the job: the same work keeps its id.
        self._left_behind = prepared.spec
        job_id, expected_usd = prepared.spec.job_id, expected_cost_usd(plan)
        budget_usd = plan.wanted.budget_usd or 0.0
        # Before a volume is made: that is paid for whether or not the job is.
        await require_month_for(self._session, job_id, budget_usd, expected_usd, over_limit)
        volume = None
        if plan.new_volume is not None:
            on_step(f"making the network volume {plan.new_volume.name}")
            volume = await make_volume(self._session.provider(), plan.new_volume)
        request = plan.request(volume=volume)
        job, _ = await start_rented_job(
            self._session,
            prepared.path,
            prepared.spec,
            prepared.report,
            request,
            retry_of=retry_of,
            expected_usd=expected_usd,
            over_limit=over_limit,
            foreseen=plan.options[0].forecast,
        )
        return job.job_id

    async def _unsettled(self, spec: JobSpec) -> JobSpec | None:
        try:
            job = await self._session.store.get_job(spec.job_id)
        except BrightRunError:  # Not written down, or the store is the trouble.
            return None
        return None if job.status.is_final else spec
