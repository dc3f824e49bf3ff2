"""`brightrun webhook verify`: whether a captured message is what a receiver may believe."""

from __future__ import annotations

import json
import math
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from shared.errors import InvalidInput
from shared.signing import PREVIOUS_SECRET_VARIABLE, SECRET_VARIABLE, TOLERANCE_S, verify
from tui import exit_codes
from tui.commands.output import say_line

_LARGEST_BYTES = 1 << 20


async def verify_captured(body: Path, headers: Path, *, any_age: bool, accept_legacy: bool) -> int:
    """Say that it holds.

    Raises:
        WebhookRejected: it does not; says why.
        InvalidInput: a file that cannot be read, or no secret.
    """
    secrets = [
        secret
        for name in (SECRET_VARIABLE, PREVIOUS_SECRET_VARIABLE)
        if (secret := os.environ.get(name, "").strip())
    ]
    verified = verify(
        secrets,
        read_headers(headers),
        _read(body),
        time.time(),
        math.inf if any_age else TOLERANCE_S,
        accept_legacy=accept_legacy,
    )
    if verified.timestamp is None:
        say_line("The signature holds. It says nothing of when it was sent, nor of which message.")
    else:
        sent_at = datetime.fromtimestamp(verified.timestamp, UTC)
        say_line(
            f"The signature holds: {verified.message_id}, sent {sent_at:%Y-%m-%d %H:%M:%S} UTC."
        )
    return exit_codes.OK


def read_headers(path: Path) -> dict[str, str]:
    """From lines of `NAME: VALUE` as curl and servers show them, or from a JSON object.

    Raises:
        InvalidInput: it is neither.
    """
    text = _read(path).decode("utf-8", "replace")
    if text.lstrip().startswith("{"):
        try:
            return {str(name): str(value) for name, value in json.loads(text).items()}
        except ValueError as error:
            raise InvalidInput(f"{path}: is no JSON object: {error}.") from error
    lines = [line.lstrip("> ").partition(":") for line in text.splitlines()]
    found = {name.strip(): value.strip() for name, colon, value in lines if colon}
    if not found:
        raise InvalidInput(f"{path}: has no line of the form NAME: VALUE.")
    return found


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_BYTES)
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror}).") from error
