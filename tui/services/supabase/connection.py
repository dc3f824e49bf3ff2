"""One connection to a Supabase project: rows through the official client, on our own HTTP client.

The only module, with its neighbours in this room, that knows `supabase`; the import costs 0.3 s and
51 MB, so it waits for the first use. Every failure leaves here as one of ours.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from shared.clean_text import clean_line
from shared.errors import (
    InvalidInput,
    SupabaseError,
    SupabaseRefused,
    SupabaseUnauthorized,
    SupabaseUnreachable,
)
from tui.services.supabase.answers import of_rows, of_storage
from tui.services.supabase.login import signed_in
from tui.services.supabase.settings import SupabaseSettings

if TYPE_CHECKING:
    from supabase import AsyncClient

__all__ = ["Supabase", "connected", "of_storage", "supabase_errors"]

TIMEOUT = httpx.Timeout(20.0, connect=10.0)

_Send = Callable[[httpx.Request], Awaitable[httpx.Response]]


class _Gate:
    """Puts the token of now into requests that carry one, and judges what the tables' API says.

    The official client knows neither an answer's status nor its headers, so it is judged before.
    """

    def __init__(
        self, rows_path: str, token: str, renew: Callable[[str], Awaitable[str]] | None
    ) -> None:
        self._rows_path = rows_path
        self.token = token
        self._renew = renew

    async def send(self, request: httpx.Request, send: _Send) -> httpx.Response:
        """The answer; one that the token had ended for is asked for again, once.

        Raises:
            SupabaseError: the tables' API says no.
        """
        renew = self._renew if "Authorization" in request.headers else None
        if renew is not None:
            await self._put_token(request, renew, "")
        answer = await send(request)
        error = await self._judged(answer)
        is_repeatable = isinstance(request.stream, httpx.ByteStream)
        if renew is not None and is_repeatable and isinstance(error, SupabaseUnauthorized):
            await self._put_token(request, renew, self.token)
            answer = await send(request)
            error = await self._judged(answer)
        if error is not None and self._is_of_rows(request):
            raise error
        return answer

    async def _put_token(
        self, request: httpx.Request, renew: Callable[[str], Awaitable[str]], refused: str
    ) -> None:
        self.token = await renew(refused)
        request.headers["Authorization"] = f"Bearer {self.token}"

    async def _judged(self, answer: httpx.Response) -> SupabaseError | None:
        """None for an answer that is well, or that others have to judge."""
        if answer.status_code < 400:
            return None
        if answer.status_code != 401 and not self._is_of_rows(answer.request):
            return None
        await answer.aread()
        return of_rows(answer.status_code, answer.content, answer.headers)

    def _is_of_rows(self, request: httpx.Request) -> bool:
        return request.url.path.startswith(self._rows_path)


class _GatedClient(httpx.AsyncClient):
    """Everything that goes out passes the gate; the official client's requests as well."""

    gate: _Gate | None = None

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        send: _Send = partial(httpx.AsyncClient.send, self, **options)
        return await (send(request) if self.gate is None else self.gate.send(request, send))


@dataclass(frozen=True, slots=True)
class Supabase:
    """An open connection; `client` speaks to the tables, `http` to everything else."""

    settings: SupabaseSettings
    client: AsyncClient
    http: httpx.AsyncClient
    user_id: str | None
    """Whose rows are written; None for a service key that names nobody."""
    _gate: _Gate

    @property
    def access_token(self) -> str:
        """What `Authorization: Bearer` carries: the user's, or the service key."""
        return self._gate.token

    def table(self, name: str) -> Any:
        """A query builder of the official client, in the schema of the settings."""
        return self.client.table(name)

    @property
    def headers(self) -> dict[str, str]:
        """What every request to the project carries; a token in it is renewed on the way."""
        return {"apikey": self.settings.key, "Authorization": f"Bearer {self.access_token}"}


@asynccontextmanager
async def connected(settings: SupabaseSettings, session_path: Path) -> AsyncIterator[Supabase]:
    """Connect; `session_path` holds the user's login where the key is not a service key.

    Raises:
        InvalidInput: the client is not installed.
        SupabaseUnauthorized: nobody is logged in, or the login does not hold any more.
        SupabaseUnreachable: no answer.
    """
    await asyncio.to_thread(require_client)
    # HTTP/2, the client's own default, ends in RemoteProtocolError now and then (supabase-py#1064).
    async with _GatedClient(http2=False, timeout=TIMEOUT) as http:
        token, user_id, renew = settings.key, settings.created_by, None
        if not settings.is_service:
            token, user_id = await signed_in(http, settings, session_path)
            renew = _renewal(http, settings, session_path)
        rows_path = urlsplit(settings.url).path + "/rest/v1"
        http.gate = gate = _Gate(rows_path, token, renew)
        with supabase_errors():
            client = await _client(settings, token, http)
        yield Supabase(settings, client, http, user_id, gate)


def _renewal(
    http: httpx.AsyncClient, settings: SupabaseSettings, path: Path
) -> Callable[[str], Awaitable[str]]:
    async def renew(refused_token: str) -> str:
        token, _ = await signed_in(http, settings, path, refused_token=refused_token)
        return token

    return renew


def require_client() -> None:
    """Import the official client; takes 0.3 s the first time.

    Raises:
        InvalidInput: it is not installed.
    """
    try:
        importlib.import_module("supabase")
    except ImportError as error:
        raise InvalidInput(
            'Supabase needs a package that is not installed: pip install "brightrun[supabase]".'
        ) from error


async def _client(settings: SupabaseSettings, token: str, http: httpx.AsyncClient) -> AsyncClient:
    from supabase import AsyncClientOptions, acreate_client

    options = AsyncClientOptions(
        schema=settings.schema,
        headers={"Authorization": f"Bearer {token}"},
        auto_refresh_token=False,
        persist_session=False,
        # When to try again is decided by whoever asks.
        postgrest_client_retry=False,
        httpx_client=http,
    )
    return await acreate_client(settings.url, settings.key, options)


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
        why = clean_line(str(error)) or type(error).__name__
        raise SupabaseUnreachable(f"Supabase does not answer: {why}.") from error
    except APIError as error:
        said = clean_line(error.message or "no reason given")
        raise SupabaseRefused(
            f"Supabase refuses: {said} ({error.code}).", str(error.code)
        ) from error
    except StorageApiError as error:
        raise of_storage(str(error.status), error.message) from error
