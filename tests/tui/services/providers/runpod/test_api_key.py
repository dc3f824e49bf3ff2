"""The key to the account: where it is looked for, and what is never done with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import InvalidMachineRequest, ProviderUnauthorized
from tui.services.providers.runpod.api_key import DEFAULT_BASE_URL, api_key_from, base_url_from

CANARY = "rpa_CANARY123"


def _write_key(home: Path, text: str, mode: int = 0o600) -> Path:
    path = home / "runpod.key"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    _write_key(tmp_path, "from-the-file")

    assert api_key_from({"RUNPOD_API_KEY": f" {CANARY}\n"}, tmp_path) == CANARY


def test_a_private_file_holds_the_key(tmp_path: Path) -> None:
    _write_key(tmp_path, f"{CANARY}\n")

    assert api_key_from({}, tmp_path) == CANARY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = _write_key(tmp_path, CANARY, mode)

    with pytest.raises(ProviderUnauthorized, match=f"chmod 600 {path}") as caught:
        api_key_from({}, tmp_path)

    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("environ", [{}, {"RUNPOD_API_KEY": ""}, {"RUNPOD_API_KEY": "  "}])
def test_a_missing_key_says_where_to_make_one_and_how_to_give_it(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with pytest.raises(ProviderUnauthorized) as caught:
        api_key_from(environ, tmp_path)

    for part in ("https://console.runpod.io", "RUNPOD_API_KEY", str(tmp_path / "runpod.key")):
        assert part in str(caught.value)


@pytest.mark.parametrize("key", [f"{CANARY}\nInjected: header", f"{CANARY}é", f"{CANARY} x"])
def test_a_key_that_cannot_be_one_is_refused_unseen(tmp_path: Path, key: str) -> None:
    with pytest.raises(ProviderUnauthorized) as caught:
        api_key_from({"RUNPOD_API_KEY": key}, tmp_path)

    assert CANARY not in str(caught.value)


def test_a_directory_in_place_of_the_file_is_an_answer_too(tmp_path: Path) -> None:
    (tmp_path / "runpod.key").mkdir(mode=0o700)

    with pytest.raises(ProviderUnauthorized, match="cannot be read"):
        api_key_from({}, tmp_path)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("", DEFAULT_BASE_URL),
        ("https://api.runpod.io/v2", "https://api.runpod.io"),
        ("https://api.runpod.io/v2/", "https://api.runpod.io"),
        ("https://proxy.example/runpod/", "https://proxy.example/runpod"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_both_spellings_of_the_address_are_understood(given: str, used: str) -> None:
    assert base_url_from({"RUNPOD_API_BASE_URL": given}) == used


@pytest.mark.parametrize(
    "address", ["http://api.runpod.io", "ftp://x", "api.runpod.io", "https://"]
)
def test_the_key_never_travels_in_the_clear(address: str) -> None:
    with pytest.raises(InvalidMachineRequest, match="https"):
        base_url_from({"RUNPOD_API_BASE_URL": address})
