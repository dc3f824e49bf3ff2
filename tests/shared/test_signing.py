"""Signatures of webhooks, held against the package `standardwebhooks` and against forgeries."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from shared.errors import InvalidInput, WebhookRejected
from shared.signing import VerifiedWebhook, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PLAIN = "a secret as it was typed, with ünicode"
BODY = b'{"job_id":"6f1d2b1e-3c7a-5b8e-9d40-8a3f5e7c2b61","status":"training"}'
NOW = 1_790_000_000


def test_the_old_header_is_the_hex_hmac_of_the_raw_body_with_the_secret_as_given() -> None:
    for secret in (SECRET, PLAIN):
        expected = hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()
        assert sign(secret, "msg_1", NOW, BODY)["X-Webhook-Signature"] == expected


@pytest.mark.parametrize("secret", [SECRET, PLAIN])
def test_the_standard_webhooks_package_takes_what_we_sign(secret: str) -> None:
    now = int(datetime.now(UTC).timestamp())
    theirs = Webhook(secret if secret.startswith("whsec_") else secret.encode())

    theirs.verify(BODY, sign(secret, "msg_1", now, BODY))

    with pytest.raises(WebhookVerificationError):
        theirs.verify(BODY + b" ", sign(secret, "msg_1", now, BODY))


@pytest.mark.parametrize("secret", [SECRET, PLAIN])
def test_we_take_what_the_standard_webhooks_package_signs(secret: str) -> None:
    theirs = Webhook(secret if secret.startswith("whsec_") else secret.encode())
    signature = theirs.sign("msg_1", datetime.fromtimestamp(NOW, UTC), BODY.decode())
    headers = {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(NOW),
        "Webhook-Signature": signature,
    }

    assert verify([secret], headers, BODY, NOW) == VerifiedWebhook("msg_1", NOW)


def test_an_old_message_is_refused_and_so_is_one_from_the_future() -> None:
    headers = sign(SECRET, "msg_1", NOW, BODY)

    verify([SECRET], headers, BODY, NOW + 299)
    verify([SECRET], headers, BODY, NOW - 299)
    with pytest.raises(WebhookRejected, match="600 s old"):
        verify([SECRET], headers, BODY, NOW + 600)
    with pytest.raises(WebhookRejected, match="600 s in the future"):
        verify([SECRET], headers, BODY, NOW - 600)


def test_an_old_message_with_a_new_time_is_refused() -> None:
    headers = sign(SECRET, "msg_1", NOW, BODY) | {"webhook-timestamp": str(NOW + 600)}

    with pytest.raises(WebhookRejected, match="another secret"):
        verify([SECRET], headers, BODY, NOW + 600)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "msg_2"},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,ü"},
    ],
)
def test_a_message_whose_signature_does_not_hold_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(WebhookRejected, match="another secret or of another body"):
        verify([SECRET], sign(SECRET, "msg_1", NOW, BODY) | changed, BODY, NOW)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"webhook-signature": "v1a,AAAA"}, "no signature of the kind v1"),
        ({"webhook-timestamp": "soon"}, "not a number of seconds"),
        ({"webhook-timestamp": "1e9"}, "not a number of seconds"),
        ({"webhook-id": "msg 1"}, "is no id"),
        ({"webhook-id": f"msg_1.{NOW}"}, "is no id"),
        ({"webhook-id": "m" * 121}, "is no id"),
        ({"webhook-id": ""}, "webhook-id is missing"),
    ],
)
def test_headers_that_make_no_sense_are_refused_with_the_reason(
    changed: dict[str, str], reason: str
) -> None:
    with pytest.raises(WebhookRejected, match=reason):
        verify([SECRET], sign(SECRET, "msg_1", NOW, BODY) | changed, BODY, NOW)


def test_another_secret_and_no_secret_are_refused() -> None:
    headers = sign(SECRET, "msg_1", NOW, BODY)

    with pytest.raises(WebhookRejected, match="another secret"):
        verify([PLAIN], headers, BODY, NOW)
    with pytest.raises(WebhookRejected, match="TRAINING_WEBHOOK_SECRET"):
        verify([], headers, BODY, NOW)


def test_an_empty_or_garbled_secret_is_an_error_and_never_a_key() -> None:
    for broken in ("", "whsec_", "whsec_no base64"):
        with pytest.raises(InvalidInput):
            sign(broken, "msg_1", NOW, BODY)
        with pytest.raises(InvalidInput):
            verify([SECRET, broken], sign(SECRET, "msg_1", NOW, BODY), BODY, NOW)


def test_during_rotation_both_secrets_are_taken_and_so_is_either_of_two_signatures() -> None:
    old, new = sign(PLAIN, "msg_1", NOW, BODY), sign(SECRET, "msg_1", NOW, BODY)
    both = old | {"webhook-signature": f"{old['webhook-signature']} {new['webhook-signature']}"}

    assert verify([SECRET, PLAIN], old, BODY, NOW).message_id == "msg_1"
    assert verify([SECRET, PLAIN], new, BODY, NOW).message_id == "msg_1"
    assert verify([SECRET], both, BODY, NOW).message_id == "msg_1"
    assert verify([PLAIN], both, BODY, NOW).message_id == "msg_1"


def test_the_old_header_alone_is_taken_only_where_that_is_asked_for() -> None:
    headers = {"x-webhook-signature": sign(SECRET, "msg_1", NOW, BODY)["X-Webhook-Signature"]}

    with pytest.raises(WebhookRejected, match="carries no time"):
        verify([SECRET], headers, BODY, NOW)
    taken = verify([SECRET], headers, BODY, NOW, accept_legacy=True)
    assert taken == VerifiedWebhook("", None)
    with pytest.raises(WebhookRejected, match="another body"):
        verify([SECRET], headers, BODY + b" ", NOW, accept_legacy=True)


def test_leaving_headers_away_does_not_turn_a_standard_message_into_an_old_one() -> None:
    headers = sign(SECRET, "msg_1", NOW, BODY)
    del headers["webhook-timestamp"]

    with pytest.raises(WebhookRejected, match="webhook-timestamp is missing"):
        verify([SECRET], headers, BODY, NOW, accept_legacy=True)
