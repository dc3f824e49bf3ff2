"""Paths of the API, and how their answers stand in its OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from tui.services.web_api.problems import MEDIA_TYPE, Problem

START_PATH = "/api/training/start-job"
JOBS_PATH = "/api/training/jobs"
WEBHOOK_PATH = "/api/training/webhook"
OPENAPI_PATH = "/openapi.json"

_ALWAYS = (401, 429, 500)
"""Any route may answer so."""


def described(
    *problems: int, also: Mapping[int, type[BaseModel]] | None = None
) -> dict[int | str, dict[str, Any]]:
    """The answers of a route: problems by their status, and other models by theirs."""
    answers: dict[int | str, dict[str, Any]] = {
        status: {"model": model, "description": HTTPStatus(status).phrase}
        for status, model in (also or {}).items()
    }
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    for status in sorted({*problems, *_ALWAYS}):
        answers[status] = {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
    return answers
