"""How the web application's API is served: where, to whom, and within which bounds.

Values only, from the command line and the environment; knows nothing of HTTP.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from shared.errors import InvalidInput
from shared.signing import PREVIOUS_SECRET_VARIABLE, SECRET_VARIABLE, sign

DEFAULT_PORT = 8787
DEFAULT_MODEL = "meta-llama/Meta-Llama-3-70B-Instruct"
"""What the product trains; a request may name another model of the hub."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests a second in the long run, and so many at once."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """All that `brightrun serve --api` can be told."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0: any that is free."""
    allow_origins: tuple[str, ...] = ()
    """Web pages that may call it, as `https://app.example.com`; none: no page at all."""
    allow_hosts: tuple[str, ...] = ()
    """Names by which it is asked for beside `host` and this machine's own, as behind a proxy."""
    base_model: str = DEFAULT_MODEL
    """Where a request names none."""
    job_budget_usd: float | None = None
    """The most that one job may be given; None: what its hours cost, within the month's limit."""
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    """The present one, and the one before while the other end may still sign with it."""
    token_rate: Rate = Rate(10.0, 60)
    address_rate: Rate = Rate(20.0, 120)
    body_limit_bytes: int = 2**20
    body_timeout_s: float = 30.0
    requests_at_once: int = 64

    @property
    def is_loopback(self) -> bool:
        """True if nobody but this machine reaches it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def host_names(self) -> frozenset[str]:
        """What the Host header may name, without a port."""
        names = (*LOOPBACK_NAMES, self.host, *self.allow_hosts)
        return frozenset(name.lower() for name in names)


def webhook_secrets(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The secrets that webhooks may be signed with, the present one first.

    Raises:
        InvalidInput: one of them is no secret.
    """
    names = (SECRET_VARIABLE, PREVIOUS_SECRET_VARIABLE)
    found = tuple(value for name in names if (value := environ.get(name, "").strip()))
    for secret in found:
        sign(secret, "msg", 0, b"")
    return found


def checked_origin(origin: str) -> str:
    """As a browser sends it: `https://app.example.com`, or with a port.

    Raises:
        InvalidInput: a browser sends no such thing; that is so of `*` too.
    """
    parts = urlsplit(origin)
    if parts.scheme in ("http", "https") and origin == f"{parts.scheme}://{parts.netloc.lower()}":
        return origin
    raise InvalidInput(
        f"--allow-origin {origin!r}: write the page's scheme and host and nothing else, such as "
        "https://app.example.com; each origin is named, and * is none."
    )
