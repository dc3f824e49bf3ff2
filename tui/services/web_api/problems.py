"""Errors as the API tells them: problem details by RFC 9457, with the status that fits.

The one table of errors and statuses. A problem never holds a traceback, a token or a secret.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from shared.clean_text import clean_line
from shared.errors import (
    AgentError,
    AgentUnreachable,
    BrightRunError,
    DownloadFailed,
    IntegrityError,
    InvalidInput,
    NoCapacity,
    ProtocolError,
    ProviderError,
    ProviderUnreachable,
    StoreError,
    SupabaseError,
    SupabaseUnreachable,
    UnknownJob,
    WebhookRejected,
)
from shared.hyperparameters import Hyperparameters, allowed_range, help_line
from shared.redaction import redact

MEDIA_TYPE = "application/problem+json"

_STATUSES: tuple[tuple[type[BrightRunError], int], ...] = (
    (UnknownJob, 404),
    (WebhookRejected, 401),
    (InvalidInput, 422),
    (AgentUnreachable, 503),
    (ProviderUnreachable, 503),
    (NoCapacity, 503),
    (SupabaseUnreachable, 503),
    (DownloadFailed, 503),
    (StoreError, 503),
    (AgentError, 502),
    (ProtocolError, 502),
    (ProviderError, 502),
    (SupabaseError, 502),
    (IntegrityError, 502),
)
"""The first type that fits; any other expected error is a 500."""

_RETRY_AFTER_S = 15
"""Of what a 503 says is away: agents are revived and pods are looked at in about that time."""
_MOST_PROBLEMS = 20
_LONGEST_DETAIL = 2000


class FieldProblem(BaseModel):
    """What is wrong with one field of the request."""

    field: str
    message: str


class Problem(BaseModel):
    """Any answer that is no success."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    success: bool = False
    errors: list[FieldProblem] = []


class ProblemError(Exception):
    """Ends a request with this problem; never leaves the API."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        super().__init__(detail)

    def response(self) -> JSONResponse:
        """As it goes out."""
        return problem(self.status, self.detail, errors=self.errors, headers=self.headers)


def problem(
    status: int,
    detail: str,
    *,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The response for a status, in words for a person."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=clean_line(redact(detail))[:_LONGEST_DETAIL],
        errors=list(errors),
    )
    exclude = set() if errors else {"errors"}
    return JSONResponse(
        body.model_dump(exclude=exclude), status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def too_often(wait_s: float) -> ProblemError:
    """429, with when to come again."""
    seconds = str(max(math.ceil(wait_s), 1))
    return ProblemError(
        429, f"Too many requests: wait {seconds} s.", headers={"Retry-After": seconds}
    )


def problem_of(error: BrightRunError) -> ProblemError:
    """An expected error, with the status that fits."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    headers = {"Retry-After": str(_RETRY_AFTER_S)} if status == 503 else {}
    return ProblemError(status, str(error), headers=headers)


def problem_of_request(error: RequestValidationError) -> ProblemError:
    """A body or a query that is not what the route takes: each field that is wrong, by name."""
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return ProblemError(400, "The body is no JSON.")
    errors = [_field_problem(each) for each in found[:_MOST_PROBLEMS]]
    told = "; ".join(f"{each.field}: {each.message}" for each in errors[:3])
    return ProblemError(422, told, errors=errors)


def _field_problem(found: Mapping[str, Any]) -> FieldProblem:
    place = [str(part) for part in found["loc"]]
    names = place[1:] if place[0] in ("body", "query", "path", "header") else place
    field = clean_line(".".join(names))[:200] or place[0]
    if found["type"] == "extra_forbidden":
        return FieldProblem(field=field, message="there is no such field; nothing was started.")
    name = names[1] if len(names) > 1 and names[0] == "hyperparameters" else ""
    if name in Hyperparameters.model_fields:
        words = f"must be {allowed_range(name)}. {help_line(name)}"
        return FieldProblem(field=field, message=words)
    return FieldProblem(field=field, message=clean_line(str(found["msg"])))
