"""The agent's HTTP and websocket interface; its bodies are those of `shared.agent_protocol`.

It translates between requests and the supervisor and decides nothing. Whoever speaks to it has the
token; the socket's directory and `agent.access` see to the rest.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse

from agent.access import AccessMiddleware
from agent.artifacts import find_artifact, list_artifacts
from agent.job import Job
from agent.log_window import DEFAULT_LIMIT_BYTES, MAX_LIMIT_BYTES, read_log_window
from agent.machine import Machine
from agent.presence import Presence
from agent.self_end import PodClient
from agent.supervisor import Supervisor
from agent.upload_routes import add_upload_routes
from agent.uploads import Uploads
from agent.webhook_routes import add_webhook_routes
from agent.webhooks import Webhooks
from shared.agent_protocol import (
    CLOSED_COMPLETELY,
    CLOSED_UNKNOWN_JOB,
    ArtifactList,
    CancelRequest,
    Health,
    JobAnswer,
    JobsAnswer,
    LogSlice,
    MachineFacts,
    SelfEndAnswer,
    StartAnswer,
    StartRequest,
)
from shared.errors import (
    BrightRunError,
    IntegrityError,
    InvalidInput,
    JobConflict,
    MachineReplaced,
    NoTrainerRunning,
    UnknownJob,
)

MAX_LINES_PER_FRAME = 200

_STATUS_CODES: tuple[tuple[type[BrightRunError], int], ...] = (
    (UnknownJob, 404),
    (JobConflict, 409),
    (NoTrainerRunning, 409),
    (MachineReplaced, 409),
    (InvalidInput, 422),
    (IntegrityError, 404),
)
"""The first type that fits; any other expected error is a 500."""


def create_app(
    supervisor: Supervisor,
    token: str,
    identity: Health,
    presence: Presence | None = None,
    pod: PodClient | None = None,
    webhooks: Webhooks | None = None,
    uploads: Uploads | None = None,
) -> FastAPI:
    """The application; every request has to carry `token`, and `identity` says who answers.

    `presence` hears of every request that may; `pod` is there on a machine that can end itself.
    """
    app = FastAPI(title="Bright Run agent", version=identity.version)
    app.add_middleware(AccessMiddleware, token=token, presence=presence or Presence())
    app.add_exception_handler(BrightRunError, _answer_expected_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid_request)
    _add_machine_routes(app, Machine(supervisor.root.path), pod)
    _add_job_routes(app, supervisor, identity)
    _add_file_routes(app, supervisor)
    _add_event_stream(app, supervisor)
    add_webhook_routes(app, webhooks or Webhooks(supervisor))
    add_upload_routes(app, supervisor, uploads or Uploads(supervisor))
    return app


def _add_machine_routes(app: FastAPI, this_machine: Machine, pod: PodClient | None) -> None:
    @app.get("/machine")
    async def machine() -> MachineFacts:
        return await this_machine.facts()

    @app.get("/machine/self-end")
    async def self_end() -> SelfEndAnswer:
        if pod is None:
            return SelfEndAnswer(can_end=False, how="", detail="There is no pod to end from here.")
        return await pod.probe()


def _add_job_routes(app: FastAPI, supervisor: Supervisor, identity: Health) -> None:
    @app.get("/health")
    async def health() -> Health:
        jobs = supervisor.jobs.items()
        running = tuple(job_id for job_id, job in jobs if not job.state.status.is_final)
        return identity.model_copy(update={"running": running})

    @app.post("/training/start")
    async def start(request: StartRequest, response: Response) -> StartAnswer:
        created = await supervisor.start(request.job, request.first_attempt, request.limits)
        response.status_code = 202 if created else 200
        return StartAnswer(job_id=request.job.job_id, created=created)

    @app.get("/training/jobs")
    async def jobs() -> JobsAnswer:
        return JobsAnswer(jobs=tuple(_answer(job) for job in supervisor.jobs.values()))

    @app.get("/training/jobs/{job_id}")
    async def job(job_id: str) -> JobAnswer:
        return _answer(supervisor.job(job_id))

    @app.post("/training/jobs/{job_id}/cancel")
    async def cancel(job_id: str, request: CancelRequest, response: Response) -> JobAnswer:
        was_running = await supervisor.cancel(job_id, request.reason)
        response.status_code = 202 if was_running else 200
        return _answer(supervisor.job(job_id))

    @app.post("/training/jobs/{job_id}/checkpoint", status_code=202)
    async def checkpoint(job_id: str) -> JobAnswer:
        supervisor.request_checkpoint(job_id)
        return _answer(supervisor.job(job_id))


def _add_file_routes(app: FastAPI, supervisor: Supervisor) -> None:
    @app.get("/training/jobs/{job_id}/logs")
    def logs(
        job_id: str,
        attempt: Annotated[int | None, Query(ge=1)] = None,
        offset: int = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT_BYTES)] = DEFAULT_LIMIT_BYTES,
    ) -> LogSlice:
        return read_log_window(supervisor.job(job_id).directory, attempt, offset, limit)

    @app.get("/training/jobs/{job_id}/artifacts")
    def artifacts(job_id: str) -> ArtifactList:
        return list_artifacts(supervisor.job(job_id).directory)

    @app.get("/training/jobs/{job_id}/artifacts/{path:path}")
    def artifact(job_id: str, path: str) -> FileResponse:
        return FileResponse(find_artifact(supervisor.job(job_id).directory, path))


def _add_event_stream(app: FastAPI, supervisor: Supervisor) -> None:
    @app.websocket("/training/jobs/{job_id}/events")
    async def events(
        websocket: WebSocket,
        job_id: str,
        attempt: Annotated[int, Query(ge=0)] = 0,
        after: Annotated[int, Query(ge=0)] = 0,
    ) -> None:
        await websocket.accept()
        try:
            job = supervisor.job(job_id)
        except UnknownJob as error:
            await websocket.close(CLOSED_UNKNOWN_JOB, str(error)[:120])
            return
        # A client that goes away is noticed although it never sends anything.
        sending = asyncio.create_task(_send_events(websocket, job, (attempt or 1, after)))
        listening = asyncio.create_task(_until_gone(websocket))
        _, pending = await asyncio.wait({sending, listening}, return_when="FIRST_COMPLETED")
        for task in pending:
            task.cancel()
        for outcome in await asyncio.gather(sending, listening, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, WebSocketDisconnect):
                raise outcome


async def _send_events(websocket: WebSocket, job: Job, cursor: tuple[int, int]) -> None:
    async for lines in job.follow(cursor, MAX_LINES_PER_FRAME):
        await websocket.send_text(b"\n".join(lines).decode())
    await websocket.close(CLOSED_COMPLETELY)


async def _until_gone(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


def _answer(job: Job) -> JobAnswer:
    return JobAnswer(job=job.spec, state=job.state)


async def _answer_expected_error(_request: Request, error: Exception) -> Response:
    code = next((code for kind, code in _STATUS_CODES if isinstance(error, kind)), 500)
    return JSONResponse({"detail": str(error)}, status_code=code)


async def _answer_invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"detail": f"{place}: {first['msg']}."}, status_code=422)
