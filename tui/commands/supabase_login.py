"""`brightrun supabase login` and `logout`: a user's tokens, kept in a file of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from getpass import getpass

import httpx

from shared.clean_text import clean_line
from shared.errors import InvalidInput, SupabaseError
from tui import exit_codes
from tui.commands.output import say_line
from tui.commands.terminal_session import interruptible
from tui.config import load_config
from tui.services.supabase.connection import TIMEOUT
from tui.services.supabase.login import log_in, log_out, signed_in
from tui.services.supabase.settings import SupabaseSettings, load_settings

EMAIL_VARIABLE = "SUPABASE_EMAIL"
PASSWORD_VARIABLE = "SUPABASE_PASSWORD"


async def log_user_in(email: str | None, environ: Mapping[str, str] = os.environ) -> int:
    """Ask for what is missing, and keep the tokens.

    Raises:
        InvalidInput: no project is named, a secret key is set, or nobody is there to ask.
        SupabaseError: e-mail and password do not fit, or no answer.
    """
    config, settings = load_config(), _settings(environ)
    email = email or environ.get(EMAIL_VARIABLE, "").strip() or _asked(f"E-mail at {settings.url}")
    password = environ.get(PASSWORD_VARIABLE, "") or _asked("Password", is_secret=True)
    async with httpx.AsyncClient(http2=False, timeout=TIMEOUT) as http:
        await log_in(http, settings, config.supabase_session_path, email, password)
    say_line(f"Logged in to {settings.url} as {clean_line(email)}.")
    return exit_codes.OK


async def log_user_out(environ: Mapping[str, str] = os.environ) -> int:
    """Forget the tokens here in any case; at the project, if it answers.

    Raises:
        InvalidInput: the settings of the project cannot be right.
    """
    path = load_config().supabase_session_path
    if not path.exists():
        say_line("Nobody was logged in.")
        return exit_codes.OK
    settings = load_settings(environ)
    ended = settings is not None and await _end_there(settings)
    log_out(path)
    if ended:
        say_line("Logged out.")
    else:
        say_line("Logged out here. The project did not hear of it: that login ends by itself.")
    return exit_codes.OK


async def _end_there(settings: SupabaseSettings) -> bool:
    try:
        async with httpx.AsyncClient(http2=False, timeout=TIMEOUT) as http:
            token, _ = await signed_in(http, settings, load_config().supabase_session_path)
            answer = await http.post(
                f"{settings.url}/auth/v1/logout",
                params={"scope": "local"},
                headers={"apikey": settings.key, "Authorization": f"Bearer {token}"},
            )
    except (SupabaseError, httpx.HTTPError):
        return False
    return answer.status_code < 300


def _settings(environ: Mapping[str, str]) -> SupabaseSettings:
    settings = load_settings(environ)
    if settings is None:
        raise InvalidInput(
            "No Supabase project is named: set SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY."
        )
    if settings.is_service:
        raise InvalidInput(
            "A secret key is set, which needs no login. To work as a user, under the project's "
            "rules, take SUPABASE_SECRET_KEY away and set SUPABASE_PUBLISHABLE_KEY."
        )
    return settings


def _asked(what: str, *, is_secret: bool = False) -> str:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidInput(f"Nobody is here to ask: set {EMAIL_VARIABLE} and {PASSWORD_VARIABLE}.")
    prompt = f"{what}: "
    if is_secret:
        return interruptible(lambda: getpass(prompt, stream=sys.stderr))
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return interruptible(input).strip()
