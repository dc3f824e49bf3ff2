"""Signatures of webhooks: written by whoever sends one, checked by whoever takes one.

Two kinds go out together. `X-Webhook-Signature` is the hex HMAC-SHA256 of the raw body. The three
headers of Standard Webhooks (https://www.standardwebhooks.com, spec 1.0.0, read 2026-11) sign the
message's id and time as well, so that an old message cannot be sent again. Pure: knows no clock,
no network and no environment.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.errors import InvalidInput, WebhookRejected

SECRET_VARIABLE = "TRAINING_WEBHOOK_SECRET"
PREVIOUS_SECRET_VARIABLE = "TRAINING_WEBHOOK_SECRET_PREVIOUS"
"""What was the secret before; taken too while the other end may still sign with it."""

TOLERANCE_S = 300
"""How far a message's time may be from now; as Standard Webhooks and Stripe have it, 2026-11."""

LEGACY_HEADER = "X-Webhook-Signature"
ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

_SECRET_PREFIX = "whsec_"
_VERSION = "v1"
_MAX_SIGNATURES = 20
"""A header with more is not read to its end: each costs an HMAC of the whole body."""
# A full stop separates id, time and body in what is signed: one more would make it ambiguous.
_MESSAGE_ID = re.compile(r"[^\s.]{1,120}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class VerifiedWebhook:
    """A message whose signature holds."""

    message_id: str
    """The same for every delivery of the message; "" where only the old header was there."""
    timestamp: int | None
    """Unix seconds, as signed; None where only the old header was there."""


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The four headers for `body`, sent at `timestamp` (Unix seconds).

    Raises:
        InvalidInput: the secret is empty, or begins with `whsec_` and is not base64 after it.
    """
    return {
        LEGACY_HEADER: _legacy_signature(secret, body),
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: f"{_VERSION},{_signature(secret, message_id, timestamp, body)}",
    }


def verify(
    secrets: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    tolerance_s: float = TOLERANCE_S,
    *,
    accept_legacy: bool = False,
) -> VerifiedWebhook:
    """Who has one of `secrets` has sent `body`, within `tolerance_s` of `now` (Unix seconds).

    With `accept_legacy` a message with `X-Webhook-Signature` alone passes too. It carries no time
    and no id, so whoever has seen one can send it again for ever.

    Raises:
        WebhookRejected: says why.
        InvalidInput: one of `secrets` is empty or no secret; none may be left out in silence.
    """
    for secret in secrets:
        _key(secret)
    if not secrets:
        raise WebhookRejected(f"there is no secret to check it with: set {SECRET_VARIABLE}")
    found = {name.lower(): value for name, value in headers.items()}
    standard = (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)
    missing = [name for name in standard if not found.get(name)]
    if not missing:
        return _verify_standard(secrets, found, body, now, tolerance_s)
    legacy = found.get(LEGACY_HEADER.lower())
    if len(missing) < len(standard) or not legacy:
        raise WebhookRejected(f"the header {' and '.join(missing)} is missing")
    if not accept_legacy:
        raise WebhookRejected(
            f"it has {LEGACY_HEADER} alone, which carries no time: it may be an old message that "
            f"was sent again. Send the headers {', '.join(standard)} too"
        )
    _verify_legacy(secrets, legacy, body)
    return VerifiedWebhook("", None)


def _verify_standard(
    secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float, tolerance_s: float
) -> VerifiedWebhook:
    message_id, told = headers[ID_HEADER], headers[TIMESTAMP_HEADER]
    if not _MESSAGE_ID.fullmatch(message_id):
        raise WebhookRejected(f"{ID_HEADER} is no id: 1 to 120 characters, no blank, no full stop")
    if not _TIMESTAMP.fullmatch(told):
        raise WebhookRejected(f"{TIMESTAMP_HEADER} is not a number of seconds")
    timestamp = int(told)
    offered = [
        signature.encode(errors="replace")
        for entry in headers[SIGNATURE_HEADER].split()[:_MAX_SIGNATURES]
        for version, comma, signature in (entry.partition(","),)
        if comma and version == _VERSION
    ]
    if not offered:
        raise WebhookRejected(f"{SIGNATURE_HEADER} has no signature of the kind {_VERSION}")
    wanted = [_signature(secret, message_id, timestamp, body).encode() for secret in secrets]
    if not _any_equal(wanted, offered):
        raise WebhookRejected(
            f"the signature is of another secret or of another body: compare {SECRET_VARIABLE} at "
            "both ends, and check the body byte for byte as it came"
        )
    # After the signature: a stranger learns nothing of this machine's clock.
    if abs(age_s := now - timestamp) > tolerance_s:
        when = "old" if age_s > 0 else "in the future"
        raise WebhookRejected(
            f"its time is {abs(age_s):.0f} s {when}, more than {tolerance_s:.0f} s: "
            "an old message sent again, or a clock that is wrong"
        )
    return VerifiedWebhook(message_id, timestamp)


def _verify_legacy(secrets: Sequence[str], offered: str, body: bytes) -> None:
    wanted = [_legacy_signature(secret, body).encode() for secret in secrets]
    if not _any_equal(wanted, [offered.strip().lower().encode(errors="replace")]):
        raise WebhookRejected(f"{LEGACY_HEADER} is of another secret or of another body")


def _any_equal(wanted: Sequence[bytes], offered: Sequence[bytes]) -> bool:
    """Takes the same time wherever they differ, and whichever of them fits."""
    fits = [hmac.compare_digest(one, other) for one in wanted for other in offered]
    return any(fits)


def _signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def _legacy_signature(secret: str, body: bytes) -> str:
    _key(secret)
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _key(secret: str) -> bytes:
    """`whsec_` says that base64 follows; any other text is the key itself."""
    key = secret.encode()
    if secret.startswith(_SECRET_PREFIX):
        encoded = secret.removeprefix(_SECRET_PREFIX)
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidInput(
                f"a webhook secret begins with {_SECRET_PREFIX} and is not base64 after it: copy "
                f"it again into {SECRET_VARIABLE}."
            ) from error
    if not key:
        raise InvalidInput(f"a webhook secret is empty: set {SECRET_VARIABLE}, or leave it unset.")
    return key
