"""Lets a transaction come to its end although the task that asked for it is cancelled.

SQLAlchemy closes the connection of a cancelled aiosqlite operation in a task that nobody awaits;
when the loop ends meanwhile, that task may wait for ever (sqlalchemy 2.1.9, aiosqlite 0.22.1, seen
2026-11), and the process with it. A transaction takes milliseconds, so cancelling waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class HasTransactions(Protocol):
    """What has uninterrupted methods."""

    transactions: set[asyncio.Future[Any]]
    """Those at work now."""


Owner = TypeVar("Owner", bound=HasTransactions)
Method = Callable[Concatenate[Owner, Parameters], Coroutine[Any, Any, Result]]


def uninterrupted(
    method: Method[Owner, Parameters, Result],
) -> Method[Owner, Parameters, Result]:
    """The method as one that ends before its cancellation is raised."""

    @wraps(method)
    async def to_the_end(
        self: Owner, /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        transaction = asyncio.create_task(method(self, *args, **kwargs))
        self.transactions.add(transaction)
        transaction.add_done_callback(self.transactions.discard)
        try:
            return await asyncio.shield(transaction)
        except asyncio.CancelledError:
            await ended({transaction})
            raise

    return to_the_end


async def ended(transactions: set[asyncio.Future[Any]]) -> None:
    """Wait for all of them, whoever cancels the waiting."""
    while pending := {item for item in transactions if not item.done()}:
        with suppress(asyncio.CancelledError):
            await asyncio.wait(pending)
