"""Whose hand something was done by, for records that outlive the moment.

The e-mail of the login to the web application where there is one, else this machine's user.
"""

from __future__ import annotations

import getpass
import os
import socket

from shared.clean_text import clean_line
from shared.errors import BrightRunError
from tui.config import Config
from tui.services.supabase.settings import load_settings

_LONGEST = 200


def who_acts(config: Config) -> str:
    """`elena@example.org`, or `elena@workstation` as the system knows them; never empty."""
    return clean_line(_email(config) or f"{_user()}@{socket.gethostname()}")[:_LONGEST]


def _email(config: Config) -> str:
    """Of the login that is kept; whether it still holds matters to the server alone."""
    from tui.services.supabase.login import read_login

    try:
        settings = load_settings()
        if settings is None or settings.is_service:
            return ""
        return read_login(config.supabase_session_path, settings).email
    except BrightRunError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # No name for this user id, as in some containers.
        return f"uid {os.getuid()}"
