"""Addresses of receivers, which are secrets."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from tui.services.notify.receivers import (
    FILE_NAME,
    Receiver,
    add_receiver,
    receivers,
    remove_receiver,
)

SLACK = "slack://TokenAAAAA/TokenBBBBB/TokenCCCCC/#training"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (SLACK, "slack://…"),
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", "tgram://…"),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "discord://…"),
        ("https://hooks.slack.com/services/T1/B2/secret", "https://hooks.slack.com"),
        ("mailtos://someone:pa55word@example.org?to=a@b.org,c@d.org", "mailtos://example.org"),
        ("ntfy://my-secret-topic", "ntfy://…"),
        ("ntfys://ntfy.example.org/topic", "ntfys://ntfy.example.org"),
        ("jsons://[::broken", "jsons://…"),
        ("https://ex\x1bample.org/x", "https://exmple.org"),
    ],
)
def test_what_is_shown_of_an_address_is_no_secret(url: str, shown: str) -> None:
    assert Receiver(url).shown == shown
    assert url not in repr(Receiver(url))
    assert Receiver(url).mark not in url


def test_addresses_of_the_environment_come_first_and_keep_their_own_commas(tmp_path: Path) -> None:
    mail = "mailtos://u:p@example.org?to=a@b.org,c@d.org"
    add_receiver(tmp_path, "json://127.0.0.1/x")
    add_receiver(tmp_path, SLACK)

    found = receivers(tmp_path, {"BRIGHTRUN_NOTIFY_URLS": f"{mail},{SLACK}\n"})

    assert [(each.url, each.is_from_environment) for each in found] == [
        (mail, True),
        (SLACK, True),
        ("json://127.0.0.1/x", False),
    ]


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    add_receiver(tmp_path / "home", SLACK)
    add_receiver(tmp_path / "home", f" {SLACK}\n")
    path = tmp_path / "home" / FILE_NAME

    assert path.read_text() == f"{SLACK}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    add_receiver(tmp_path, SLACK)
    (tmp_path / FILE_NAME).chmod(0o640)

    with pytest.raises(InvalidInput, match="chmod 600") as raised:
        receivers(tmp_path, {})

    assert "Token" not in str(raised.value)


def test_an_address_is_removed_by_its_number_and_not_out_of_the_environment(tmp_path: Path) -> None:
    add_receiver(tmp_path, "json://127.0.0.1/one")
    add_receiver(tmp_path, "json://127.0.0.1/two")

    assert remove_receiver(tmp_path, 1).url == "json://127.0.0.1/one"
    assert [each.url for each in receivers(tmp_path, {})] == ["json://127.0.0.1/two"]
    with pytest.raises(InvalidInput, match="has 1"):
        remove_receiver(tmp_path, 2)


def test_one_of_the_environment_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIGHTRUN_NOTIFY_URLS", SLACK)
    with pytest.raises(InvalidInput, match="BRIGHTRUN_NOTIFY_URLS"):
        remove_receiver(tmp_path, 1)


@pytest.mark.parametrize("text", ["", "no address", "//host/path", "json://a b"])
def test_what_is_no_address_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no address"):
        add_receiver(tmp_path, text)
