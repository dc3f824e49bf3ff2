"""Puts the API together: its routes, and what stands before them, from the outside in.

Gate            Host, Origin, headers of safety
CORS            only where an origin is allowed
Failures        whatever is raised becomes a problem
Bounds          requests a second, and the body
Authentication  a token, but for webhooks
FastAPI         routes, scopes, checks of values
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match
from starlette.types import ASGIApp

from shared.errors import BrightRunError
from tui.services.session import Session
from tui.services.web_api.authentication import Authentication
from tui.services.web_api.bodies import WebhookBody
from tui.services.web_api.bounds import Bounds
from tui.services.web_api.failures import Failures
from tui.services.web_api.follower import Follower
from tui.services.web_api.gate import Gate
from tui.services.web_api.job_routes import add_job_routes
from tui.services.web_api.problems import (
    Problem,
    ProblemError,
    problem,
    problem_of,
    problem_of_request,
)
from tui.services.web_api.routes import OPENAPI_PATH
from tui.services.web_api.settings import ApiSettings
from tui.services.web_api.starting import JobStart
from tui.services.web_api.webhook_routes import add_webhook_route

_LONGEST_PREFLIGHT_S = 600

_SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "As `brightrun serve token create` printed it; each route names its scope.",
    },
    "webhookSignature": {"type": "apiKey", "in": "header", "name": "webhook-signature"},
    "webhookId": {"type": "apiKey", "in": "header", "name": "webhook-id"},
    "webhookTimestamp": {"type": "apiKey", "in": "header", "name": "webhook-timestamp"},
}
"""The last three together, as Standard Webhooks has them."""


def create_application(
    session: Session, settings: ApiSettings, starting: JobStart, follower: Follower
) -> ASGIApp:
    """All of it, ready to be served."""
    api = _routes(session, settings, starting, follower)
    app: ASGIApp = Authentication(api, session.store, settings.token_rate)
    app = Failures(Bounds(app, settings))
    if settings.allow_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.allow_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key"],
            expose_headers=["Location", "Retry-After"],
            max_age=_LONGEST_PREFLIGHT_S,
        )
    return Gate(app, settings)


def _routes(
    session: Session, settings: ApiSettings, starting: JobStart, follower: Follower
) -> FastAPI:
    api = FastAPI(
        title="Bright Run training API",
        version=importlib.metadata.version("brightrun"),
        openapi_url=OPENAPI_PATH,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    add_job_routes(api, session, starting)
    add_webhook_route(api, session, settings, follower)
    api.add_exception_handler(ProblemError, _tell_problem)
    api.add_exception_handler(BrightRunError, _tell_expected)
    api.add_exception_handler(RequestValidationError, _tell_invalid)
    api.add_exception_handler(HTTPException, _tell_http)
    api.add_exception_handler(Exception, _tell_defect)
    api.openapi = lambda: _document(api)  # type: ignore[method-assign]
    return api


async def _tell_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return error.response()


async def _tell_expected(_request: Request, error: Exception) -> Response:
    assert isinstance(error, BrightRunError)
    return problem_of(error).response()


async def _tell_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_of_request(error).response()


async def _tell_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods_at(request))
    return problem(error.status_code, f"{error.detail}.", headers=headers)


async def _tell_defect(_request: Request, _error: Exception) -> Response:
    return problem(500, "A defect of this server; its log says more.")  # Raised again, and logged.


def _methods_at(request: Request) -> list[str]:
    """What this path knows, over all of its routes."""
    routes = [route for route in request.app.routes if isinstance(route, APIRoute)]
    there = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for route in there for method in route.methods or ()})


def _document(api: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with what FastAPI cannot know."""
    if api.openapi_schema is None:
        document = get_openapi(
            title=api.title,
            version=api.version,
            routes=api.routes,
            description="Start, follow and cancel training jobs; take signed webhooks.",
        )
        components = document.setdefault("components", {})
        components["securitySchemes"] = _SECURITY
        schemas = components.setdefault("schemas", {})
        for model in (Problem, WebhookBody):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        api.openapi_schema = document
    return api.openapi_schema
