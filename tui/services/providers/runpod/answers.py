"""What an answer of RunPod's API means: one classification, whoever sent the request.

RunPod says in prose alone whether a machine is sold out or the request breaks a rule. A pod that is
refused for reasons that nobody knows yet counts as sold out: the next candidate is tried, and its
own words are shown. Knows no library and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.clean_text import clean_line
from shared.errors import (
    AmbiguousAnswer,
    InsufficientBalance,
    NoCapacity,
    ProviderError,
    ProviderRefused,
    ProviderUnauthorized,
    ProviderUnreachable,
)

CAPACITY_PHRASES = (
    "no longer any instances",
    "no instances",
    "does not have the resources",
    "could not find any pods",
    "no capacity",
    "insufficient capacity",
    "not available",
    "unavailable",
    "out of stock",
    "try a different machine",
)
"""Of a machine that is sold out. The first four are RunPod's own (mlabonne/llm-autoeval#3,
dstack#1740, skypilot#5600); the others are likely wordings. Looked for before all others."""

BALANCE_PHRASES = ("balance", "insufficient funds", "add funds", "credit", "spend limit")
"""Of an account without money: it is a 402 by the book, and prose in a 400 elsewhere."""

RULE_PHRASES = (
    "must be",
    "must not",
    "mutually exclusive",
    "invalid",
    "is required",
    "not allowed",
    "not supported",
    "malformed",
    "unknown",
    "not found",
    "does not exist",
)
"""Of a request that breaks a rule, as in the 400s that the API's description mentions
(2026-08)."""

LONGEST_DETAIL = 400


class NotThere(ProviderRefused):
    """404: nothing of that id, as far as this answer goes."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, for messages and for judging the answer."""

    method: str
    path: str
    orders_pod: bool = False

    @property
    def changes_something(self) -> bool:
        return self.method != "GET"

    def __str__(self) -> str:
        return f"RunPod, {self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error (RFC 9457), as far as it could be read."""

    status: int
    detail: str = ""
    errors: Sequence[str] = ()
    retry_after_s: float | None = None

    def __str__(self) -> str:
        words = clean_line(" ".join((self.detail, *self.errors)))[:LONGEST_DETAIL]
        return f"{self.status} {words}".rstrip(" .")


def error_of(request: Request, refusal: Refusal) -> ProviderError:
    """What the caller is told."""
    said = f"{request}: {refusal}"
    if refusal.status == 401:
        return ProviderUnauthorized(f"{said}. The API key is wrong or revoked: make a new one.")
    if refusal.status == 403:
        return ProviderUnauthorized(f"{said}. The API key is not allowed to do this.")
    if refusal.status == 402:
        return InsufficientBalance(f"{said}. Add funds in the RunPod console, then try again.")
    if refusal.status == 429:
        return ProviderUnreachable(f"{said}. Too many requests.", refusal.retry_after_s)
    if refusal.status >= 500 or refusal.status in (408, 425):
        return unsure(request, f"{said}.", retry_after_s=refusal.retry_after_s)
    if refusal.status == 400:
        return _bad_request(request, refusal, said)
    if refusal.status == 404:
        return NotThere(f"{said}. It is gone, or not there yet.")
    return ProviderRefused(f"{said}. It will not be accepted as it is.")


def unsure(request: Request, said: str, *, retry_after_s: float | None = None) -> ProviderError:
    """Of a request that was sent, and whose answer says nothing for certain."""
    if request.changes_something:
        return AmbiguousAnswer(f"{said} It may have been done all the same.")
    return ProviderUnreachable(f"{said} Nothing was changed.", retry_after_s)


def never_sent(request: Request, why: str) -> ProviderUnreachable:
    """Of a request for which there was no connection."""
    return ProviderUnreachable(f"{request}: no connection ({clean_line(why)}). Nothing was sent.")


def _bad_request(request: Request, refusal: Refusal, said: str) -> ProviderError:
    prose = clean_line(" ".join((refusal.detail, *refusal.errors))).lower()
    if request.orders_pod and any(phrase in prose for phrase in CAPACITY_PHRASES):
        return NoCapacity(f"{said}.")
    if any(phrase in prose for phrase in BALANCE_PHRASES):
        return InsufficientBalance(f"{said}. Add funds in the RunPod console, then try again.")
    if not request.orders_pod or any(phrase in prose for phrase in RULE_PHRASES):
        return ProviderRefused(f"{said}. It will not be accepted as it is.")
    return NoCapacity(f"{said}.")
