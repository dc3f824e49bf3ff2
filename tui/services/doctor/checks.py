"""What a check is, and the order in which checks are made; knows nothing of what they look at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from shared.clean_text import clean_line
from shared.errors import BrightRunError

TIMEOUT_S = 60.0

ContextT = TypeVar("ContextT")


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """A job can run; something is slower, scarcer or less safe than it should be."""
    FAILURE = "failure"
    """A job cannot run."""
    SKIPPED = "skipped"
    """It depends on a check that failed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one look has shown, and what mends it."""

    verdict: Verdict
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; its text is clean."""

    part: str
    """Whose check it is: `console`, or the host's name."""
    check: str
    verdict: Verdict
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Check(Generic[ContextT]):
    """One thing that a job will need."""

    name: str
    look: Callable[[ContextT], Awaitable[Outcome]]
    needs: tuple[str, ...] = ()
    """Checks that must not have failed for this one to make sense."""
    timeout_s: float = TIMEOUT_S


def ok(found: str) -> Outcome:
    """All is well."""
    return Outcome(Verdict.OK, found)


def warning(found: str, fix: str) -> Outcome:
    """A job can run all the same."""
    return Outcome(Verdict.WARNING, found, fix)


def failure(found: str, fix: str) -> Outcome:
    """No job can run before it is mended."""
    return Outcome(Verdict.FAILURE, found, fix)


async def run_checks(
    part: str, checks: Sequence[Check[ContextT]], context: ContextT
) -> AsyncGenerator[Finding]:
    """One finding for each check, in order, as soon as it is there."""
    missing: set[str] = set()
    for check in checks:
        blocking = [name for name in check.needs if name in missing]
        if blocking:
            outcome = Outcome(Verdict.SKIPPED, f"needs: {', '.join(blocking)}")
        else:
            outcome = await _look(check, context)
        if outcome.verdict in (Verdict.FAILURE, Verdict.SKIPPED):
            missing.add(check.name)
        found, fix = clean_line(outcome.found), clean_line(outcome.fix)
        yield Finding(part, check.name, outcome.verdict, found, fix)


async def _look(check: Check[ContextT], context: ContextT) -> Outcome:
    try:
        async with asyncio.timeout(check.timeout_s):
            return await check.look(context)
    except TimeoutError:
        return failure(
            f"no answer within {check.timeout_s:g} s", "Try again; see whether it hangs."
        )
    except BrightRunError as error:
        return failure(str(error), "")  # It says what to do by itself.
