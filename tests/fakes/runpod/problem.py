"""Refusals, as RFC 9457 problems."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

NO_CAPACITY = (
    "There are no longer any instances available with the requested specifications. "
    "Please refresh and try again."
)


class Refusal(Exception):
    """The call is answered with this problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[str] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after_s = retry_after_s
        self.body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
        if errors:
            self.body["errors"] = list(errors)
