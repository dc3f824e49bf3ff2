"""A user's login: tokens in a file of their own (0600), renewed before they expire."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import httpx

from shared.errors import SupabaseUnauthorized, SupabaseUnreachable
from shared.manifest import write_atomic
from tui.services.supabase.settings import SupabaseSettings

_MARGIN_S = 60.0
"""A token that expires sooner is renewed first."""


async def log_in(
    http: httpx.AsyncClient, settings: SupabaseSettings, path: Path, email: str, password: str
) -> str:
    """Log in and keep the tokens; returns the user's id.

    Raises:
        SupabaseUnauthorized: e-mail and password do not fit.
        SupabaseUnreachable: no answer.
    """
    body = {"email": email, "password": password}
    session = await _ask(http, settings, "password", body)
    _keep(path, settings, session)
    return str(session["user"]["id"])


async def signed_in(
    http: httpx.AsyncClient, settings: SupabaseSettings, path: Path
) -> tuple[str, str]:
    """(access token, user id) of whoever is logged in; renewed where it is about to expire.

    Raises:
        SupabaseUnauthorized: nobody is, or the login does not hold any more.
        SupabaseUnreachable: no answer.
    """
    session = _read(path, settings)
    if float(session["expires_at"]) - time.time() < _MARGIN_S:
        session = await _ask(
            http, settings, "refresh_token", {"refresh_token": session["refresh_token"]}
        )
        _keep(path, settings, session)
    return str(session["access_token"]), str(session["user"]["id"])


def log_out(path: Path) -> bool:
    """Forget the tokens; False if there were none."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


async def _ask(
    http: httpx.AsyncClient, settings: SupabaseSettings, grant: str, body: dict[str, str]
) -> dict[str, Any]:
    try:
        answer = await http.post(
            f"{settings.url}/auth/v1/token",
            params={"grant_type": grant},
            headers={"apikey": settings.key},
            json=body,
        )
        session = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise SupabaseUnreachable(f"Supabase does not answer: {error}.") from error
    if answer.status_code == 429 or answer.status_code >= 500:
        raise SupabaseUnreachable(f"Supabase cannot answer now ({answer.status_code}).")
    if answer.status_code != 200 or "access_token" not in session:
        said = session.get("error_description") or session.get("msg") or answer.status_code
        raise SupabaseUnauthorized(
            f"Supabase refuses the login: {said}. Log in with `brightrun supabase login`."
        )
    return dict(session)


def _keep(path: Path, settings: SupabaseSettings, session: dict[str, Any]) -> None:
    kept = {
        "url": settings.url,
        "access_token": session["access_token"],
        "refresh_token": session["refresh_token"],
        "expires_at": time.time() + float(session["expires_in"]),
        "user": {"id": session["user"]["id"], "email": session["user"].get("email", "")},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    before = os.umask(0o077)
    try:
        write_atomic(path, json.dumps(kept))
    finally:
        os.umask(before)


def _read(path: Path, settings: SupabaseSettings) -> dict[str, Any]:
    try:
        session = json.loads(path.read_text())
        if session["url"] != settings.url:
            raise KeyError("url")
        return dict(session)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SupabaseUnauthorized(
            f"Nobody is logged in to {settings.url}: `brightrun supabase login`."
        ) from error
