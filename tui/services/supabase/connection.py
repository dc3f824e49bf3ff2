"""One connection to a Supabase project: rows through the official client, on our own HTTP client.

The only module, with its neighbours in this room, that knows `supabase`; the import costs 0.3 s and
51 MB, so it waits for the first use. Every failure leaves here as one of ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from shared.errors import SupabaseError, SupabaseRefused, SupabaseUnauthorized, SupabaseUnreachable
from tui.services.supabase.login import signed_in
from tui.services.supabase.settings import SupabaseSettings

if TYPE_CHECKING:
    from supabase import AsyncClient

TIMEOUT = httpx.Timeout(20.0, connect=10.0)


@dataclass(frozen=True, slots=True)
class Supabase:
    """An open connection; `client` speaks to the tables, `http` to everything else."""

    settings: SupabaseSettings
    client: AsyncClient
    http: httpx.AsyncClient
    access_token: str
    """What `Authorization: Bearer` carries: the user's, or the service key."""
    user_id: str | None
    """Whose rows are written; None for a service key that names nobody."""

    def table(self, name: str) -> Any:
        """A query builder of the official client, in the schema of the settings."""
        return self.client.table(name)

    @property
    def headers(self) -> dict[str, str]:
        """What every request to the project carries."""
        return {"apikey": self.settings.key, "Authorization": f"Bearer {self.access_token}"}


@asynccontextmanager
async def connected(settings: SupabaseSettings, session_path: Path) -> AsyncIterator[Supabase]:
    """Connect; `session_path` holds the user's login where the key is not a service key.

    Raises:
        SupabaseUnauthorized: nobody is logged in, or the login does not hold any more.
        SupabaseUnreachable: no answer.
    """
    from supabase import AsyncClientOptions, acreate_client

    # HTTP/2, the client's own default, ends in RemoteProtocolError now and then (supabase-py#1064).
    async with httpx.AsyncClient(http2=False, timeout=TIMEOUT) as http:
        token, user_id = settings.key, settings.created_by
        if not settings.is_service:
            token, user_id = await signed_in(http, settings, session_path)
        options = AsyncClientOptions(
            schema=settings.schema,
            headers={"Authorization": f"Bearer {token}"},
            auto_refresh_token=False,
            persist_session=False,
            httpx_client=http,
        )
        with supabase_errors():
            client = await acreate_client(settings.url, settings.key, options)
        yield Supabase(settings, client, http, token, user_id)


@contextmanager
def supabase_errors() -> Iterator[None]:
    """Whatever the client or the network raises inside becomes a `SupabaseError`."""
    from postgrest.exceptions import APIError
    from storage3.exceptions import StorageApiError

    try:
        yield
    except SupabaseError:
        raise
    except httpx.HTTPError as error:
        raise SupabaseUnreachable(
            f"Supabase does not answer: {error or type(error).__name__}."
        ) from error
    except APIError as error:
        raise _of_database(error.code or "", error.message or str(error)) from error
    except StorageApiError as error:
        raise of_storage(str(error.status), error.message) from error


def _of_database(code: str, message: str) -> SupabaseError:
    """By PostgreSQL's SQLSTATE, or PostgREST's own code."""
    if code in ("PGRST301", "PGRST302", "PGRST303", "401", "403"):
        return SupabaseUnauthorized(f"Supabase does not accept the key or login: {message}.")
    if code.startswith(("08", "53", "57", "PGRST00")) or code in (
        "429",
        "500",
        "502",
        "503",
        "504",
    ):
        return SupabaseUnreachable(f"Supabase cannot answer now: {message}.")
    return SupabaseRefused(f"Supabase refuses: {message} ({code}).")


def of_storage(status: str, message: str) -> SupabaseError:
    """By the status in the body of a storage answer; its HTTP status is mostly 400."""
    if status == "401" or "claim timestamp" in message or "JWT" in message or "jwt" in message:
        return SupabaseUnauthorized(f"Supabase Storage does not accept the login: {message}.")
    if status in ("429", "500", "502", "503", "504"):
        return SupabaseUnreachable(f"Supabase Storage cannot answer now: {message}.")
    return SupabaseRefused(f"Supabase Storage refuses: {message} ({status}).")
