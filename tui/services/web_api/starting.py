"""From a start request to a job that is written down: fetched, checked, foreseen, like any other.

Nothing runs here. What is written down is done by the queue of own hosts or by the controller, in
this process or in another, so a job survives the server that took it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4, uuid5

from shared.dataset.findings import Severity
from shared.errors import InvalidDataset, UnknownJob
from shared.forecast.forecast import Forecast
from shared.hyperparameters import Hyperparameters
from shared.store.api_tokens import StoredToken
from shared.store.stored import StoredJob
from tui.services.forecasting import forecast_for_start
from tui.services.hosts.names import RUNPOD, checked_host_name
from tui.services.memory_check import predict_for_start, require_room
from tui.services.preview import Prepared, Previewer
from tui.services.queue import queue_job
from tui.services.rented_jobs import start_rented_job
from tui.services.session import Session
from tui.services.spending.rent_month import expected_cost_usd
from tui.services.web_api.bodies import RunpodConfig, StartRequest
from tui.services.web_api.model_name import checked_model
from tui.services.web_api.problems import FieldProblem, ProblemError
from tui.services.web_api.renting import plan_machine
from tui.services.web_api.settings import ApiSettings
from tui.services.web_api.training_file import TrainingFile, training_file

_KEYS = UUID("b6f3a5f2-54a4-4f0f-8b2a-0c8c1f6c7d93")
"""Drawn once, at random: ids of jobs that were started with an Idempotency-Key."""

_MOST_WAITING = 16
_MOST_FINDINGS = 20


@dataclass(frozen=True, slots=True)
class StartedJob:
    """As the store has it; `is_new` is False where the same request had come before."""

    job: StoredJob
    foreseen: Forecast | None
    is_new: bool


class JobStart:
    """Starts jobs, one at a time: checking one reads a whole file."""

    def __init__(self, session: Session, settings: ApiSettings) -> None:
        self._session = session
        self._settings = settings
        self._previewer = Previewer()
        self._turn = asyncio.Lock()
        self._waiting = 0

    def close(self) -> None:
        """Drop what is being looked into."""
        self._previewer.close()

    async def start(
        self, request: StartRequest, token: StoredToken, idempotency_key: str | None
    ) -> StartedJob:
        """Write the job down; the same key of the same token gives the same job.

        Raises:
            ProblemError: what is wrong with the request.
            BrightRunError: as `queue_job` and `start_rented_job` do.
        """
        if self._waiting >= _MOST_WAITING:
            raise ProblemError(503, "Too many starts at once.", headers={"Retry-After": "10"})
        self._waiting += 1
        try:
            async with self._turn:
                return await self._start(request, token, idempotency_key)
        finally:
            self._waiting -= 1

    async def _start(
        self, request: StartRequest, token: StoredToken, idempotency_key: str | None
    ) -> StartedJob:
        owner = _owner(request, token)
        model = checked_model(request.base_model or self._settings.base_model)
        job_id = str(uuid4())
        if idempotency_key is not None:
            job_id = str(uuid5(_KEYS, f"{token.name}\n{idempotency_key}"))
            if (before := await self._before(job_id)) is not None:
                _require_same(before, request, model, owner)
                kept = await self._session.store.forecasts.get(job_id)
                return StartedJob(before, None if kept is None else kept.forecast, False)
        file = await training_file(self._session, request.training_file_id, token.user_id)
        values = _values(request, job_id, model, file)
        if request.runpod_config is None:
            return await self._queue(request, file, values, owner)
        return await self._rent(request, request.runpod_config, file, values, owner)

    async def _before(self, job_id: str) -> StoredJob | None:
        try:
            return await self._session.store.get_job(job_id)
        except UnknownJob:
            return None

    async def _queue(
        self, request: StartRequest, file: TrainingFile, values: dict[str, Any], owner: str | None
    ) -> StartedJob:
        """On the host that this server has for its jobs, when its turn comes."""
        session = self._session
        host = checked_host_name(session.config.default_host)
        prepared = await self._prepare(request, file, values, host)
        assert prepared.checked is not None  # As `prepare` leaves it.
        require_room(await predict_for_start(session.store, prepared.checked, prepared.spec, host))
        foreseen = await forecast_for_start(session.store, prepared.checked, prepared.spec, host)
        started = await queue_job(
            session,
            prepared.path,
            prepared.spec,
            prepared.report,
            host=host,
            foreseen=foreseen,
            created_by=owner,
            training_file_id=request.training_file_id,
        )
        return StartedJob(started.job, foreseen, not started.was_there)

    async def _rent(
        self,
        request: StartRequest,
        config: RunpodConfig,
        file: TrainingFile,
        values: dict[str, Any],
        owner: str | None,
    ) -> StartedJob:
        """On a machine that the controller rents for it."""
        if config.gpu_count is not None:
            values = {**values, "num_gpus": config.gpu_count}
        prepared = await self._prepare(request, file, values, RUNPOD)
        plan = await plan_machine(self._session, prepared, config, self._settings.job_budget_usd)
        foreseen = plan.options[0].forecast
        job, is_new = await start_rented_job(
            self._session,
            prepared.path,
            prepared.spec,
            prepared.report,
            plan.request(),
            expected_usd=expected_cost_usd(plan),
            foreseen=foreseen,
            created_by=owner,
            training_file_id=request.training_file_id,
        )
        return StartedJob(job, foreseen, is_new)

    async def _prepare(
        self, request: StartRequest, file: TrainingFile, values: dict[str, Any], host: str
    ) -> Prepared:
        try:
            prepared = await self._previewer.prepare(str(file.path), values, host)
        except InvalidDataset as error:  # Where files lie here is nobody's business out there.
            named = f"training file {request.training_file_id}"
            raise InvalidDataset(str(error).replace(str(file.path), named)) from error
        if prepared.report.has_errors:
            raise _has_errors(prepared, request.training_file_id)
        return prepared


def _owner(request: StartRequest, token: StoredToken) -> str | None:
    """For whom the job is."""
    if token.user_id is not None and request.created_by not in (None, token.user_id):
        raise ProblemError(403, "created_by names another user than the token's.")
    return token.user_id or request.created_by


def _values(request: StartRequest, job_id: str, model: str, file: TrainingFile) -> dict[str, Any]:
    """Fields of a job spec."""
    values: dict[str, Any] = {
        "job_id": job_id,
        "name": request.name or (file.name.strip() or file.path.stem)[:100].ljust(3, "-"),
        "notes": request.notes,
        "tags": tuple(request.tags),
        "base_model": model,
        "hyperparameters": _given(request),
    }
    if request.base_model_revision is not None:
        values["base_model_revision"] = request.base_model_revision
    return values


def _given(request: StartRequest) -> dict[str, Any]:
    given: dict[str, Any] = request.hyperparameters.model_dump(exclude_none=True)
    return given


def _require_same(job: StoredJob, request: StartRequest, model: str, owner: str | None) -> None:
    """Raises ProblemError where the key has stood for another job."""
    spec = job.spec
    pairs = (
        (job.training_file_id, request.training_file_id),
        (job.created_by, owner),
        (job.state.rented, request.runpod_config is not None),
        (spec.base_model, model),
        (spec.hyperparameters, Hyperparameters.from_values(_given(request))),
        (spec.notes, request.notes),
        (spec.tags, tuple(request.tags)),
        (spec.name, request.name or spec.name),
    )
    if any(before != now for before, now in pairs):
        raise ProblemError(
            422, f"This Idempotency-Key has started the job {job.job_id}, with other settings."
        )


def _has_errors(prepared: Prepared, file_id: str) -> ProblemError:
    """The first of them, each with its place and what mends it."""
    found = [each for each in prepared.report.findings if each.severity is Severity.ERROR]
    errors = [
        FieldProblem(
            field=", ".join(each.places) or "training_file_id",
            message=f"{each.message} {each.advice}".strip(),
        )
        for each in found[:_MOST_FINDINGS]
    ]
    count = prepared.report.count(Severity.ERROR)
    return ProblemError(
        422, f"The training file {file_id} has {count} errors; nothing was started.", errors=errors
    )


def foreseen_minutes(foreseen: Forecast | None) -> float | None:
    """As expected, from the machine's first moment to its end; None where nobody can say."""
    total = None if foreseen is None else foreseen.total
    return None if total is None else round(total.expected / 60, 1)


def foreseen_usd(foreseen: Forecast | None) -> float | None:
    """As expected; None where nobody can say, or where nothing is rented."""
    cost = None if foreseen is None else foreseen.cost_usd
    return None if cost is None else round(cost.expected, 2)
