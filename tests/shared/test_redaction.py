from __future__ import annotations

import json
import string
import time
from collections.abc import Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.redaction import REDACTED, redact, says_secret

NOTHING: Mapping[str, str] = {}
_ALPHANUMERIC = string.ascii_letters + string.digits
_TWENTY = "a1B2c3D4e5F6g7H8i9J0"

SHAPES = [
    f"hf_{_TWENTY}",
    f"rpa_{_TWENTY}",
    f"brt_{_TWENTY}-{_TWENTY}_",
    f"sk-{_TWENTY}",
    f"sk-ant-api03-{_TWENTY}-x_y",
    f"sb_secret_{_TWENTY}_x-y",
    f"sbp_{_TWENTY}",
    f"ghp_{_TWENTY}",
    f"github_pat_11ABC_{_TWENTY}",
    "AKIAIOSFODNN7EXAMPLE",
    f"xoxb-123456-{_TWENTY}",
    f"eyJhbGciOiJI.eyJzdWIiOiIx.{_TWENTY}",
    f"eyJhbGciOiJI.eyJzdWIiOiIx.{_TWENTY[:-1]}-",
]

ORDINARY = [
    "tokens=123 tokens_per_s=4512.5 max_tokens=4096 token counts: 12345678",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "job 20261122-180433-blue-heron at /home/sk-user/hf_cache/train.json, learning_rate=0.0002",
    "KeyError: 'key'; primary_key=True; sort_key=name; keyboard: qwertzuiop1",
    "eos_token='</s>' pad_token=\"<pad>\" bos_token=<s> next_token=128001234",
    "invalid token: unexpected; unrecognized token in line 12; the secret is: patience",
    "password=None api_key=None token=True",
    "self._token = read_token(path); token: str = token",
    "task-1234567890-abcdefghij risk-0123456789-0123456789 sk-learn-pipeline-of-the-day",
    "http://127.0.0.1:8000/jobs/1?after=41&limit=10 git@github.com:a/b.git ssh://me@host:22/",
    "https://example.org:8080, mail me@example.org",
    'File "/srv/brightrun/shared/store/store.py", line 12, in open_store',
    "the bearer of this message; Bearer authentication",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "hf_hub 0.36, sk-1, eyJ",
]

FRAGMENTS = [
    *SHAPES,
    *("token=", "password: ", "api_key", "secret='", '"token": "', "Authorization: ", "bearer "),
    *("://u:", "@", "?token=", "&signature=", "eyJ", "sk-", "hf_", "_", "-", "=", ":", " ", "\n"),
    *("\\", '"', "'", "[", "]", REDACTED, "redacted", "a1", "0123456789", "planted-value", "/"),
    *(
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "-----",
        "A_KEY",
        ".",
        "\\n",
        "b",
    ),
]


@pytest.mark.parametrize("secret", SHAPES)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "x={}",
        "'{}'",
        "(see {})",
        "a\n{}\nb",
        r"'line\n{}'",
        "k%3D{}",
        "https://{}@h/x",
        "{},{}",
    ],
)
def test_keys_of_vendors_are_known_by_their_shape(secret: str, around: str) -> None:
    text = redact(around.format(secret, secret), NOTHING)

    assert REDACTED in text
    assert _TWENTY[:12] not in text
    assert "AKIA" not in text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer abc", "Authorization: [redacted]"),
        ("authorization: Basic dTpw", "authorization: [redacted]"),
        ("{'authorization': 'Bearer x y'}", "{'authorization': '[redacted]'}"),
        ("(b'Authorization', b'Bearer x')", "(b'Authorization', b'[redacted]')"),
        ("sent Bearer abc.def-123=", "sent Bearer [redacted]"),
        ("postgresql://me:pa@ss@db:5432/x", "postgresql://me:[redacted]@db:5432/x"),
        ("redis://:hunter2@cache", "redis://:[redacted]@cache"),
        (
            "GET https://s/x?token=a.b&w=1&X-Amz-Signature=ff0 200",
            "GET https://s/x?token=[redacted]&w=1&X-Amz-Signature=[redacted] 200",
        ),
        ("api_key='x y'", "api_key='[redacted]'"),
        ('{"password": "it\'s", "a": 1}', '{"password": "[redacted]", "a": 1}'),
        ('"{\\"token\\": \\"ab c\\"}"', '"{\\"token\\": \\"[redacted]\\"}"'),
        ("host=db password=hunter dbname=x", "host=db password=[redacted] dbname=x"),
        ("RUNPOD_API_KEY=abcd", "RUNPOD_API_KEY=[redacted]"),
        ("WANDB_KEY = 0123456789abcdef", "WANDB_KEY = [redacted]"),
        ("client_secret: abcdefg1", "client_secret: [redacted]"),
        ('token="unclosed', 'token="[redacted]'),
        (
            "a\n-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,E\n\nMIIE+/=\nAB\n"
            "-----END RSA PRIVATE KEY-----\nb",
            "a\n[redacted]\nb",
        ),
        ("'-----BEGIN PRIVATE KEY-----\\nMIIE' (cut)", "'[redacted]' (cut)"),
    ],
)
def test_what_stands_where_a_secret_stands_goes(text: str, left: str) -> None:
    assert redact(text, NOTHING) == left


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text: str) -> None:
    assert (
        redact(text, {"LANG": "en_US.UTF-8", "PWD": "/srv/brightrun", "HF_TOKEN": "short"}) == text
    )


@pytest.mark.parametrize(
    "name",
    [
        *("RUNPOD_API_KEY", "TRAINING_WEBHOOK_SECRET", "SUPABASE_SERVICE_ROLE_KEY", "HF_TOKEN"),
        *("OPENAI_APIKEY", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "PGPASSWORD", "MYSQL_PWD"),
        *("DB_PASS", "key_2", "GITHUBTOKEN", "GOOGLE_CREDENTIALS"),
    ],
)
def test_variables_whose_name_says_secret(name: str) -> None:
    assert says_secret(name)
    assert redact("it was 'plain value'.", {name: "plain value"}) == "it was '[redacted]'."


@pytest.mark.parametrize(
    "name",
    [
        *("PWD", "OLDPWD", "HOME", "TOKENIZERS_PARALLELISM", "XKB_KEYMAP", "MONKEY", "COMPASS"),
        *("HF_TOKEN_PATH", "SSH_KEY_FILE", "SSH_AUTH_SOCK"),
    ],
)
def test_variables_whose_name_does_not(name: str) -> None:
    assert not says_secret(name)


def test_a_value_goes_in_every_spelling_and_line() -> None:
    value = 'first "line" of a kéy\nsecond line of a key'
    environ = {"SIGNING_KEY": value, "OTHER_KEY": "first "}
    for spelled in (value, repr(value), json.dumps(value), *value.splitlines()):
        text = redact(f"<{spelled}>", environ)
        assert REDACTED in text
        assert "line" not in text


def test_the_longer_of_two_values_goes_whole() -> None:
    environ = {"A_KEY": "abcdefgh", "B_KEY": "abcdefgh-ijklm"}
    assert redact("abcdefgh-ijklm", environ) == REDACTED


_secrets = st.one_of(
    st.sampled_from(
        ["hf_", "rpa_", "sbp_", "ghp_", "sb_secret_", "github_pat_", "sk-proj-9"]
    ).flatmap(lambda prefix: st.text(_ALPHANUMERIC, min_size=24, max_size=60).map(prefix.__add__)),
    st.text(string.ascii_uppercase + string.digits, min_size=16, max_size=16).map("AKIA".__add__),
    st.lists(st.text(_ALPHANUMERIC + "-_", min_size=12, max_size=30), min_size=2, max_size=2).map(
        lambda parts: "eyJ" + ".".join(parts)
    ),
)
_prose = st.text(st.characters(codec="utf-8"), max_size=60)


@given(_prose, _secrets, st.sampled_from([" ", "\n", '"', "'", "=", ":", "(", ",", "/"]), _prose)
def test_no_planted_key_survives(before: str, secret: str, edge: str, after: str) -> None:
    assert secret not in redact(f"{before}{edge}{secret}{edge}{after}", NOTHING)


@given(_prose, st.text(st.characters(codec="utf-8"), min_size=8, max_size=40), _prose)
def test_no_value_of_a_secret_variable_survives(before: str, value: str, after: str) -> None:
    value = value.strip()
    assume(len(value) >= 8 and value not in REDACTED)
    text = redact(before + value + after, {"TRAINING_WEBHOOK_SECRET": value})
    assert value not in text


@given(
    st.sampled_from(
        [
            *('password="{}"', "token='{}'", '{{"api_key": "{}"}}', "secret={} x", "HF_TOKEN={}"),
            *("?signature={}&a=1", "Authorization: Bearer {}", "https://me:{}@host/x"),
        ]
    ),
    st.text(_ALPHANUMERIC + "-_.~+", min_size=6, max_size=60).filter(
        lambda secret: secret not in REDACTED
    ),
)
def test_nothing_survives_where_a_secret_stands(place: str, secret: str) -> None:
    text = redact(place.format(secret), NOTHING)
    assert secret not in text.removeprefix(place.partition("{}")[0])


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join))
def test_redacting_again_changes_nothing(text: str) -> None:
    environ = {"A_TOKEN": "planted-value", "B_TOKEN": "redacted", "C_KEY": "0123456789"}
    once = redact(text, environ)
    assert redact(once, environ) == once


@pytest.mark.parametrize("fragment", [fragment for fragment in FRAGMENTS if len(fragment) < 30])
def test_hostile_text_takes_no_longer_than_its_length(fragment: str) -> None:
    def seconds(size: int) -> float:
        text = fragment * (size // len(fragment))
        started = time.process_time()
        redact(text, {"A_KEY": "0123456789"})
        return time.process_time() - started

    # Quadratic time would be a factor of 64, and minutes.
    assert seconds(80_000) < 24 * seconds(10_000) + 0.2
