"""A user's login: tokens in a file of their own (0600), renewed before they expire.

A token's end is judged by the server's clock, which every answer tells, since this machine's may be
wrong. A token that renews the login holds once only, so that processes take turns at it.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from shared.clean_text import clean_line
from shared.errors import SupabaseUnauthorized, SupabaseUnreachable
from shared.manifest import write_atomic
from tui.services.supabase.answers import http_date, retry_after_s
from tui.services.supabase.settings import SupabaseSettings

_MARGIN_S = 60.0
"""A token that expires sooner is renewed first."""
_TURN_TIMEOUT_S = 60.0
_TURN_POLL_S = 0.05

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Login:
    """What is kept of a login; its tokens are never shown."""

    url: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float
    """By the server's clock, in seconds since 1970."""
    clock_offset_s: float
    """What the server's clock was ahead of this machine's."""
    user_id: str
    email: str

    def holds(self, now_s: float) -> bool:
        """True if it does not end soon; `now_s` is this machine's clock."""
        return self.expires_at - (now_s + self.clock_offset_s) > _MARGIN_S


async def log_in(
    http: httpx.AsyncClient,
    settings: SupabaseSettings,
    path: Path,
    email: str,
    password: str,
    *,
    clock: Clock = time.time,
) -> str:
    """Log in and keep the tokens; returns the user's id.

    Raises:
        SupabaseUnauthorized: e-mail and password do not fit.
        SupabaseUnreachable: no answer.
    """
    login = await _ask(http, settings, "password", {"email": email, "password": password}, clock)
    _keep(path, login)
    return login.user_id


async def signed_in(
    http: httpx.AsyncClient,
    settings: SupabaseSettings,
    path: Path,
    *,
    refused_token: str = "",
    clock: Clock = time.time,
) -> tuple[str, str]:
    """(access token, user id) of whoever is logged in; renewed where it is about to expire.

    `refused_token` is one that the server has not accepted, whatever the clocks say.

    Raises:
        SupabaseUnauthorized: nobody is, or the login does not hold any more.
        SupabaseUnreachable: no answer.
    """
    login = read_login(path, settings)
    if not login.holds(clock()) or login.access_token == refused_token:
        used = login.refresh_token
        async with _turn(path):
            login = read_login(path, settings)
            # Somebody may have been quicker. Two access tokens of one second can be the same text.
            is_renewed = login.refresh_token != used and login.holds(clock())
            if not is_renewed:
                grant = {"refresh_token": login.refresh_token}
                login = await _ask(http, settings, "refresh_token", grant, clock)
                _keep(path, login)
    return login.access_token, login.user_id


def log_out(path: Path) -> bool:
    """Forget the tokens; False if there were none."""
    _lock_of(path).unlink(missing_ok=True)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def read_login(path: Path, settings: SupabaseSettings) -> Login:
    """Whoever is logged in to this project.

    Raises:
        SupabaseUnauthorized: nobody.
    """
    try:
        login = Login(**json.loads(path.read_text()))
        if login.url != settings.url:
            raise KeyError("url")
        return login
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SupabaseUnauthorized(
            f"Nobody is logged in to {settings.url}: `brightrun supabase login`."
        ) from error


async def _ask(
    http: httpx.AsyncClient,
    settings: SupabaseSettings,
    grant: str,
    body: dict[str, str],
    clock: Clock,
) -> Login:
    try:
        answer = await http.post(
            f"{settings.url}/auth/v1/token",
            params={"grant_type": grant},
            headers={"apikey": settings.key},
            json=body,
        )
        said = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        why = clean_line(str(error)) or type(error).__name__
        raise SupabaseUnreachable(f"Supabase does not answer: {why}.") from error
    status = answer.status_code
    if status == 429 or status >= 500:
        wait_s = retry_after_s(answer.headers)
        raise SupabaseUnreachable(f"Supabase cannot answer now ({status}).", wait_s)
    try:
        if status == 200:
            return _login_in(said, settings.url, answer.headers.get("date", ""), clock())
    except (KeyError, TypeError, ValueError) as error:
        raise SupabaseUnreachable("Supabase's answer to the login is none.") from error
    raise SupabaseUnauthorized(
        f"Supabase refuses the login: {_reason(said) or status}. "
        "Log in with `brightrun supabase login`."
    )


def _login_in(said: dict[str, Any], url: str, date: str, now_s: float) -> Login:
    moment = http_date(date) or datetime.fromtimestamp(now_s, UTC)
    server_s = moment.timestamp()
    return Login(
        url=url,
        access_token=str(said["access_token"]),
        refresh_token=str(said["refresh_token"]),
        expires_at=server_s + float(said["expires_in"]),
        clock_offset_s=server_s - now_s,
        user_id=str(said["user"]["id"]),
        email=clean_line(str(said["user"].get("email", ""))),
    )


def _reason(said: object) -> str:
    if not isinstance(said, dict):
        return ""
    reason = said.get("error_description") or said.get("msg") or said.get("message") or ""
    return clean_line(str(reason)).rstrip(".")[:200]


def _keep(path: Path, login: Login) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    before = os.umask(0o077)
    try:
        write_atomic(path, json.dumps(asdict(login)))
    finally:
        os.umask(before)


@asynccontextmanager
async def _turn(path: Path) -> AsyncIterator[None]:
    """One at a time, over all processes; the system ends the turn of one that dies."""
    descriptor = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        async with asyncio.timeout(_TURN_TIMEOUT_S):
            while not _locked(descriptor):
                await asyncio.sleep(_TURN_POLL_S)
        yield
    except TimeoutError as error:
        raise SupabaseUnreachable("Another brightrun is renewing the login; try again.") from error
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")
