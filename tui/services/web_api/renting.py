"""From a request's `runpod_config` to the plan of a machine, by the planning that `start` has."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from shared.errors import InvalidDataset
from tui.services.forecasting import past_of
from tui.services.model_cache.taken import with_taken
from tui.services.model_shapes import shape_for_rent
from tui.services.preview import Prepared
from tui.services.rent_options import TrainingWork
from tui.services.rent_plan import RentPlan, RentWanted, plan_rent
from tui.services.session import Session
from tui.services.web_api.bodies import RunpodConfig
from tui.services.web_api.problems import FieldProblem, ProblemError


async def plan_machine(
    session: Session, prepared: Prepared, config: RunpodConfig, most_usd: float | None
) -> RentPlan:
    """What would be rented, with its cap on the cost; rents nothing.

    A request without a budget means what its hours cost on the dearest of the machines that may be
    tried; `most_usd` is the most that one job may be given.

    Raises:
        ProblemError: it asks for more than that.
        BrightRunError: as `plan_rent` does.
    """
    work = await _work_of(session, prepared)
    wanted = _wanted(config)
    provider = session.provider()
    if config.budget_usd is not None and most_usd is not None and config.budget_usd > most_usd:
        message = f"a job of this server may cost ${most_usd:,.2f} at most."
        field = "runpod_config.budget_usd"
        raise ProblemError(
            422, f"{field}: {message}", errors=[FieldProblem(field=field, message=message)]
        )
    budget_usd = config.budget_usd
    if budget_usd is None:
        offers = (await plan_rent(provider, wanted, work)).options
        dearest = max(option.candidate.usd_per_hour for option in offers)
        budget_usd = max(round(dearest * config.max_duration_hours, 2), 0.01)
        budget_usd = budget_usd if most_usd is None else min(budget_usd, most_usd)
    plan = await plan_rent(provider, replace(wanted, budget_usd=budget_usd), work)
    plan.require_stock()
    return plan


def _wanted(config: RunpodConfig) -> RentWanted:
    return RentWanted(
        gpu_types=() if config.gpu_type is None else (config.gpu_type,),
        gpu_count=config.gpu_count,
        data_centers=() if config.data_center is None else (config.data_center,),
        volume=config.network_volume,
        instance_type=config.instance_type,
        max_duration_hours=config.max_duration_hours,
    )


async def _work_of(session: Session, prepared: Prepared) -> TrainingWork:
    spec = prepared.spec
    if prepared.plan.targets == 0:
        raise InvalidDataset("With these settings nothing is left to train; nothing was started.")
    found = await asyncio.to_thread(shape_for_rent, spec)
    past = await past_of(session.store, spec.base_model, revision=spec.base_model_revision)
    return await with_taken(session.store, TrainingWork(spec, found, prepared.plan, past=past))
