"""Which Supabase project, and with what right: from the environment, where secrets may stand.

Knows nothing of the network. Two kinds of right: a user's own login under row level security, with
the publishable key; or, headless on a trusted server, the secret key, which no rule holds back.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from shared.errors import InvalidInput

BUCKET = "model-artifacts"
_URL_VARIABLES = ("SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL")
_SECRET_VARIABLES = ("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY")
_PUBLIC_VARIABLES = (
    "SUPABASE_PUBLISHABLE_KEY",
    "NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY",
    "SUPABASE_ANON_KEY",
    "NEXT_PUBLIC_SUPABASE_ANON_KEY",
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class SupabaseSettings:
    """One project; `key` is never shown."""

    url: str
    """Without a slash at its end."""
    key: str = field(repr=False)
    is_service: bool
    """True: the key passes row level security. False: a login is needed beside it."""
    schema: str = "public"
    created_by: str | None = None
    """With a service key: the user to whom the rows belong; None: to nobody, so that only
    service keys read them."""

    @property
    def target(self) -> str:
        """Names the place where rows go; no secret."""
        return f"{self.url}#{self.schema}"


def is_named(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a project is named at all; whether the rest holds together is not looked at."""
    return bool(_first(environ, _URL_VARIABLES)[1])


def load_settings(environ: Mapping[str, str] = os.environ) -> SupabaseSettings | None:
    """None where no project is named.

    `SUPABASE_URL` (or `NEXT_PUBLIC_SUPABASE_URL`), with `SUPABASE_SECRET_KEY` or
    `SUPABASE_SERVICE_ROLE_KEY`, or else one of the publishable keys. `BRIGHTRUN_SUPABASE_SCHEMA` is
    the schema of our tables, `BRIGHTRUN_SUPABASE_USER` whose rows a service key writes.

    Raises:
        InvalidInput: a URL without a key, or one that cannot be right.
    """
    name, url = _first(environ, _URL_VARIABLES)
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise InvalidInput(f"{name}: is no URL such as https://PROJECT.supabase.co.")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise InvalidInput(f"{name}: must begin with https://, or the key would travel in clear.")
    schema = environ.get("BRIGHTRUN_SUPABASE_SCHEMA") or "public"
    if _SCHEMA.fullmatch(schema) is None:
        raise InvalidInput(f"BRIGHTRUN_SUPABASE_SCHEMA = {schema!r}: is no name of a schema.")
    secret_name, secret = _first(environ, _SECRET_VARIABLES)
    public_name, public = _first(environ, _PUBLIC_VARIABLES)
    if not secret and not public:
        raise InvalidInput(
            f"{name} is set, but no key: set SUPABASE_PUBLISHABLE_KEY and log in with "
            "`brightrun supabase login`, or, on a trusted server, SUPABASE_SECRET_KEY."
        )
    if secret and _is_public(secret):
        raise InvalidInput(f"{secret_name}: is a publishable key; the secret one is needed there.")
    if public and not secret and _is_secret(public):
        raise InvalidInput(f"{public_name}: is a secret key; it belongs into SUPABASE_SECRET_KEY.")
    return SupabaseSettings(
        url.rstrip("/"),
        secret or public,
        is_service=bool(secret),
        schema=schema,
        created_by=environ.get("BRIGHTRUN_SUPABASE_USER") or None,
    )


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    for name in names:
        if value := environ.get(name, "").strip():
            return name, value
    return names[0], ""


def _is_public(key: str) -> bool:
    return key.startswith("sb_publishable_") or _role(key) == "anon"


def _is_secret(key: str) -> bool:
    return key.startswith("sb_secret_") or _role(key) == "service_role"


def _role(key: str) -> str:
    """Of a key of the older kind, which is a JSON Web Token; "" for any other."""
    parts = key.split(".")
    if len(parts) != 3:
        return ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        return ""
    return str(claims.get("role", "")) if isinstance(claims, dict) else ""
