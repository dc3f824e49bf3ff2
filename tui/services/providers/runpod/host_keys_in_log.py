"""Which SSH host keys a machine says it has, read from what its container printed.

The log comes from the provider over TLS, so it vouches for a machine that nobody has seen before.
The images of RunPod print `ssh-keygen -lf` for each host key when they start, before anybody can
log in. Whatever runs later can print such lines too, therefore the first one of each key type
counts, and none after a line that says that the start is over. Knows no network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from shared.clean_text import clean_line

KEY_TYPES = {
    "ED25519": "ssh-ed25519",
    "ECDSA": "ecdsa",
    "RSA": "ssh-rsa",
}
"""As ssh-keygen prints them, and how the key itself names its type; ECDSA keys name a curve too."""

_FINGERPRINT = re.compile(
    r"^(?:(?P<label>[A-Z0-9]+)(?: host)? key(?: fingerprint)?: ?)?"
    r"(?:(?P<bits>\d{3,5}) )?(?P<digest>SHA256:[A-Za-z0-9+/]{43})(?P<rest> .*)?$"
)
_TYPE_AT_END = re.compile(r"\((?P<type>[A-Z0-9]+)\)$")
_TYPE_BEFORE = re.compile(r"^(?P<type>[A-Z0-9]+)(?: host)? key fingerprint:?$")
_START_IS_OVER = re.compile(r"^Start script(\(s\))? finished", re.IGNORECASE)
"""What /start.sh of RunPod's images prints last (github.com/runpod/containers, read 2026-11)."""


def host_key_fingerprints(lines: Iterable[str]) -> dict[str, str]:
    """`SHA256:...` by key type (ED25519, ECDSA, RSA), the first of each; empty if it says none."""
    found: dict[str, str] = {}
    announced: str | None = None
    for raw in lines:
        line = clean_line(raw)
        if _START_IS_OVER.match(line):
            break
        if heading := _TYPE_BEFORE.match(line):
            announced = heading["type"]
            continue
        if match := _FINGERPRINT.match(line):
            key_type = _key_type(match, announced)
            if key_type is not None:
                found.setdefault(key_type, match["digest"])
        announced = None
    return found


def _key_type(match: re.Match[str], announced: str | None) -> str | None:
    """What the line itself says, else the heading above it; None for types that are not used."""
    at_end = _TYPE_AT_END.search(match["rest"] or "")
    stated = (at_end["type"] if at_end else None) or match["label"] or announced
    return stated if stated in KEY_TYPES else None
