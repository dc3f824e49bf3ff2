"""`brightrun notify`, with a real receiver on loopback."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes.notice_receiver import NoticeReceiver, serving
from tests.tui.local_console import Console, until

pytest.importorskip("apprise", reason='needs the extra "notify"')
SECRET = "canary-secret-path"


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path)


@pytest.fixture
def http() -> Iterator[NoticeReceiver]:
    server = NoticeReceiver()
    with serving(server):
        yield server


def add(console: Console, url: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{url}\n"))
    return console.run("notify", "add")


def test_a_receiver_is_added_shown_tested_and_removed_and_its_address_never_printed(
    console: Console, http: NoticeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "nobody outside is told" in console.run("notify")[2]
    url = f"json://127.0.0.1:{http.port}/{SECRET}"
    printed = [add(console, url, monkeypatch), add(console, url, monkeypatch)]
    printed.append(console.run("notify"))
    code, out, err = console.run("notify", "test")
    assert (code, out, err) == (0, "json://127.0.0.1: taken\n", "")
    assert http.titles == ["brightrun: test"]

    http.answers = [500]
    printed.append(console.run("notify", "test", "1"))
    assert printed[-1][0] == 1
    assert "500" in printed[-1][1]
    printed.append(console.run("notify", "--json"))
    assert json.loads(printed[-1][1])["receivers"] == [
        {"receiver": "json://127.0.0.1", "is_from_environment": False}
    ]
    printed.append(console.run("notify", "remove", "1"))
    assert json.loads(console.run("notify", "--json")[1])["receivers"] == []
    assert SECRET not in str(printed)


@pytest.mark.parametrize("url", ["nosuchservice://TokenAAAA", "slack://", "no address", ""])
def test_an_address_that_is_not_understood_is_refused_and_not_repeated(
    url: str, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = add(console, url, monkeypatch)
    assert (code, out) == (2, "")
    assert "address" in err
    assert "TokenAAAA" not in err


def test_an_address_is_never_an_argument(console: Console) -> None:
    assert console.run("notify", "add", f"json://127.0.0.1/{SECRET}")[0] == 2


def test_kinds_quiet_hours_and_the_terminal_are_chosen(console: Console) -> None:
    assert "usual" in console.run("notify", "kinds")[2]
    assert "completed, failed" in console.run("notify", "kinds", "failed", "completed")[1]
    assert console.run("notify", "kinds", "everything")[0] == 2
    out = console.run("notify", "quiet", "22:00-07:00", "--zone", "Europe/Berlin")[1]
    assert "22:00-07:00 Europe/Berlin" in out
    assert console.run("notify", "quiet", "late")[0] == 2
    assert console.run("notify", "terminal", "bell")[0] == 0
    assert json.loads(console.run("notify", "--json")[1]) == {
        "receivers": [],
        "kinds": ["completed", "failed"],
        "quiet_hours": "22:00-07:00 Europe/Berlin",
        "terminal": "bell",
    }
    assert "quiet hours   none" in console.run("notify", "quiet", "off")[1]
    assert "told of       nothing" in console.run("notify", "kinds", "none")[1]


def test_a_missing_receiver_is_named(console: Console) -> None:
    code, _, err = console.run("notify", "test")
    assert code == 2
    assert "brightrun notify add" in err
    assert console.run("notify", "remove", "1")[0] == 2
    assert "nothing yet" in console.run("notify", "history")[2]


def test_the_history_says_what_became_of_each(console: Console, http: NoticeReceiver) -> None:
    """A `serve` of its own tells of a job that ends while it runs."""
    console.environment["BRIGHTRUN_NOTIFY_URLS"] = f"json://127.0.0.1:{http.port}/{SECRET}"
    console.start_agent()
    served = console.popen("serve")
    try:
        until(lambda: worker_has_looked(console))
        console.start("job-one", "steps=2", "--name", "night run")
        assert console.run("watch", "job-one")[0] == 0
        until(lambda: bool(http.posts))
    finally:
        served.terminate()
        out, err = served.communicate(timeout=20)
        console.kill_agent()

    assert http.titles == ["brightrun: night run: completed"]
    events = json.loads(console.run("notify", "history", "--json")[1])
    assert {event["kind"]: event["state"] for event in events} == {
        "queued": "silent",
        "started": "silent",
        "completed": "sent",
    }
    assert "night run: completed" in console.run("notify", "history")[1]
    assert SECRET not in out + err
    assert served.returncode == 0
    database = b"".join(path.read_bytes() for path in console.home.glob("brightrun.db*"))
    assert SECRET.encode() not in database


def worker_has_looked(console: Console) -> bool:
    try:
        with closing(sqlite3.connect(console.home / "brightrun.db")) as connection:
            found = connection.execute("select name from store_settings").fetchall()
    except sqlite3.Error:  # It is being made.
        return False
    return ("notify_looked_at",) in found
