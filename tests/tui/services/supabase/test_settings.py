from __future__ import annotations

import base64
import json

import pytest

from shared.errors import InvalidInput
from tui.services.supabase.settings import load_settings

URL = "https://project.supabase.co"


def jwt_of(role: str) -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, {"iss": "supabase", "role": role})
    head, claims = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
    )
    return f"{head}.{claims}.c2lnbmF0dXJlLW9mLXRoZS1rZXk"


def test_without_a_project_there_are_no_settings() -> None:
    assert load_settings({"SUPABASE_SECRET_KEY": "sb_secret_1"}) is None


@pytest.mark.parametrize("url_name", ["SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL"])
@pytest.mark.parametrize(
    ("name", "key", "is_service"),
    [
        ("SUPABASE_SECRET_KEY", "sb_secret_123", True),
        ("SUPABASE_SERVICE_ROLE_KEY", jwt_of("service_role"), True),
        ("SUPABASE_SERVICE_ROLE_KEY", "sb_secret_123", True),
        ("SUPABASE_PUBLISHABLE_KEY", "sb_publishable_123", False),
        ("NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY", "sb_publishable_123", False),
        ("SUPABASE_ANON_KEY", jwt_of("anon"), False),
        ("NEXT_PUBLIC_SUPABASE_ANON_KEY", jwt_of("anon"), False),
    ],
)
def test_old_and_new_keys_are_taken(url_name: str, name: str, key: str, is_service: bool) -> None:
    settings = load_settings({url_name: URL + "/", name: f" {key} "})
    assert settings is not None
    assert (settings.url, settings.key, settings.is_service) == (URL, key, is_service)
    assert settings.target == f"{URL}#public"


def test_a_secret_key_goes_before_a_publishable_one() -> None:
    environ = {
        "SUPABASE_URL": URL,
        "SUPABASE_SECRET_KEY": "sb_secret_1",
        "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_1",
    }
    settings = load_settings(environ)
    assert settings is not None
    assert settings.is_service


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"SUPABASE_URL": URL}, "no key"),
        ({"SUPABASE_URL": "project", "SUPABASE_ANON_KEY": "x"}, "no URL"),
        ({"SUPABASE_URL": "http://project.example", "SUPABASE_ANON_KEY": "x"}, "https://"),
        ({"SUPABASE_URL": URL, "SUPABASE_SECRET_KEY": "sb_publishable_1"}, "publishable"),
        ({"SUPABASE_URL": URL, "SUPABASE_SERVICE_ROLE_KEY": jwt_of("anon")}, "publishable"),
        ({"SUPABASE_URL": URL, "SUPABASE_ANON_KEY": "sb_secret_1"}, "secret key"),
        ({"SUPABASE_URL": URL, "SUPABASE_ANON_KEY": jwt_of("service_role")}, "secret key"),
        (
            {
                "SUPABASE_URL": URL,
                "SUPABASE_ANON_KEY": "x",
                "BRIGHTRUN_SUPABASE_SCHEMA": 'a"; drop',
            },
            "name of a schema",
        ),
    ],
)
def test_what_cannot_be_right_is_said_without_the_value(
    environ: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_settings(environ)
    assert words in str(caught.value)
    for name, value in environ.items():
        if "KEY" in name and len(value) > 5:
            assert value not in str(caught.value)


def test_a_key_is_never_shown() -> None:
    settings = load_settings({"SUPABASE_URL": URL, "SUPABASE_SECRET_KEY": "sb_secret_very"})
    assert "very" not in repr(settings)
