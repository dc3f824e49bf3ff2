"""The routes of jobs: start, list, look, cancel. They translate, and decide nothing."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Query, Response
from fastapi.responses import JSONResponse

from shared.lifecycle import JobStatus
from shared.store.api_tokens import StoredToken
from shared.store.job_pages import JobFilter
from shared.store.stored import MetricsPoint, StoredJob
from tui.services import jobs as job_service
from tui.services.session import Session
from tui.services.web_api.authentication import needs
from tui.services.web_api.bodies import (
    JobAnswer,
    JobList,
    MetricsRow,
    StartAnswer,
    StartRequest,
    UuidText,
)
from tui.services.web_api.job_ids import find_job
from tui.services.web_api.problems import ProblemError
from tui.services.web_api.routes import JOBS_PATH, START_PATH, described
from tui.services.web_api.starting import JobStart, foreseen_minutes, foreseen_usd
from tui.services.web_api.tokens import TokenScope
from tui.services.web_objects import job_objects

_READS: Any = needs(TokenScope.JOBS_READ)
_WRITES: Any = needs(TokenScope.JOBS_WRITE)
_LARGEST_STEP = 2**31 - 1
_DEFAULT_REASON = "cancelled by way of the web application"

JobId = Annotated[str, Path(min_length=3, max_length=63, description="UUID, or brightrun's id.")]


def add_job_routes(api: FastAPI, session: Session, starting: JobStart) -> None:
    """The four, over this session."""
    _add_start(api, session, starting)
    _add_list(api, session)
    _add_look(api, session)
    _add_cancel(api, session)


def _add_start(api: FastAPI, session: Session, starting: JobStart) -> None:
    @api.post(
        START_PATH,
        status_code=201,
        response_model=StartAnswer,
        responses=described(400, 403, 404, 408, 413, 415, 422, 502, 503, also={200: StartAnswer}),
        openapi_extra={"security": [{"bearer": [TokenScope.JOBS_WRITE.value]}]},
    )
    async def start_job(
        request: StartRequest,
        response: Response,
        token: Annotated[StoredToken, _WRITES],
        idempotency_key: Annotated[
            str | None,
            Header(
                min_length=1,
                max_length=255,
                pattern=r"^[!-~]+$",
                description="The same key gives the same job, however often it is sent.",
            ),
        ] = None,
    ) -> StartAnswer:
        """Write a job down; it starts when its turn comes. 200: it had been written down before."""
        started = await starting.start(request, token, idempotency_key)
        [found] = await job_objects(session, [started.job])
        response.status_code = 201 if started.is_new else 200
        response.headers["Location"] = f"{JOBS_PATH}/{found['id']}"
        return StartAnswer(
            training_job_id=found["id"],
            status=started.job.status,
            runpod_pod_id=found["runpod_pod_id"],
            estimated_duration_minutes=foreseen_minutes(started.foreseen),
            estimated_cost_usd=foreseen_usd(started.foreseen),
        )


def _add_list(api: FastAPI, session: Session) -> None:
    @api.get(
        JOBS_PATH,
        responses=described(403, 422, 503, also={200: JobList}),
        openapi_extra={"security": [{"bearer": [TokenScope.JOBS_READ.value]}]},
    )
    async def list_jobs(
        token: Annotated[StoredToken, _READS],
        status: Annotated[
            list[JobStatus] | None, Query(description="Only these; give it again for more.")
        ] = None,
        training_file_id: Annotated[UuidText | None, Query()] = None,
        created_by: Annotated[UuidText | None, Query()] = None,
        q: Annotated[str, Query(max_length=200, description="In the name or the id.")] = "",
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> JSONResponse:
        """The jobs that the token may see, newest first."""
        if token.user_id is not None and created_by not in (None, token.user_id):
            raise ProblemError(403, "created_by names another user than the token's.")
        wanted = JobFilter(
            tuple(status or ()), training_file_id, token.user_id or created_by, q.strip()
        )
        found = await session.store.job_pages.page(wanted, limit, (page - 1) * limit)
        objects = await job_objects(session, found.jobs)
        return JSONResponse(
            {"success": True, "jobs": objects, "total": found.total, "page": page, "limit": limit}
        )


def _add_look(api: FastAPI, session: Session) -> None:
    @api.get(
        JOBS_PATH + "/{job_id}",
        responses=described(403, 404, 422, 503, also={200: JobAnswer}),
        openapi_extra={"security": [{"bearer": [TokenScope.JOBS_READ.value]}]},
    )
    async def get_job(
        token: Annotated[StoredToken, _READS],
        job_id: JobId,
        metrics: Annotated[bool, Query(description="With the history of its steps.")] = False,
        after_step: Annotated[int, Query(ge=0, le=_LARGEST_STEP)] = 0,
        limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
    ) -> JSONResponse:
        """One job, and page by page what was measured at its steps."""
        job = await find_job(session, job_id, token)
        answer: dict[str, Any] = await _answer_of(session, job)
        if metrics:
            points = await session.store.metrics(job.job_id)
            answer |= _history(points, after_step, limit)
        return JSONResponse(answer)


def _add_cancel(api: FastAPI, session: Session) -> None:
    @api.delete(
        JOBS_PATH + "/{job_id}",
        responses=described(403, 404, 409, 422, 502, 503, also={200: JobAnswer, 202: JobAnswer}),
        openapi_extra={"security": [{"bearer": [TokenScope.JOBS_WRITE.value]}]},
    )
    async def cancel_job(
        token: Annotated[StoredToken, _WRITES],
        job_id: JobId,
        reason: Annotated[str, Query(max_length=500)] = "",
    ) -> JSONResponse:
        """Stop a job; 202 while it is being stopped, 200 once it is, however often it is asked."""
        job = await find_job(session, job_id, token)
        _require_open(job)
        job = await job_service.cancel_job(session, job, reason.strip() or _DEFAULT_REASON)
        _require_open(job)
        status = 200 if job.status is JobStatus.CANCELLED else 202
        return JSONResponse(await _answer_of(session, job), status)


def _require_open(job: StoredJob) -> None:
    """Raises ProblemError for a job whose end was another one."""
    if job.status.is_final and job.status is not JobStatus.CANCELLED:
        raise ProblemError(409, f"The job has {job.status} already; there is nothing to cancel.")


async def _answer_of(session: Session, job: StoredJob) -> dict[str, Any]:
    [found] = await job_objects(session, [job])
    return {"success": True, "job": found}


def _history(points: list[MetricsPoint], after_step: int, limit: int) -> dict[str, Any]:
    later = [point for point in points if point.step > after_step]
    page = later[:limit]
    return {
        "metrics_history": [_row(point).model_dump() for point in page],
        "next_after_step": page[-1].step if len(later) > limit else None,
    }


def _row(point: MetricsPoint) -> MetricsRow:
    return MetricsRow(
        step=point.step,
        attempt=point.attempt,
        epoch=point.epoch,
        loss=point.loss,
        learning_rate=point.learning_rate,
        grad_norm=point.grad_norm,
        eval_loss=point.eval_loss,
        recorded_at=point.time.isoformat(),
    )
