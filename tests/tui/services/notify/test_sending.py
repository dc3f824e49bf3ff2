"""Messages to real receivers on loopback, through apprise."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator

import pytest

from shared.errors import InvalidInput
from tests.fakes.notice_receiver import MailReceiver, NoticeReceiver, serving
from tui.services.notify.receivers import Receiver
from tui.services.notify.sending import is_understood, send, without_address

pytest.importorskip("apprise", reason='needs the extra "notify"')

SECRET = "path-that-is-a-secret"


@pytest.fixture
def http() -> Iterator[NoticeReceiver]:
    server = NoticeReceiver()
    with serving(server):
        yield server


def at(server: NoticeReceiver) -> Receiver:
    return Receiver(f"json://127.0.0.1:{server.port}/{SECRET}")


async def test_a_message_arrives(http: NoticeReceiver) -> None:
    assert await send(at(http), "brightrun: a job", "It took\n0:01:00.") == ""

    [(path, post)] = http.posts
    assert path == f"/{SECRET}"
    assert (post["title"], post["message"]) == ("brightrun: a job", "It took\n0:01:00.")


async def test_a_message_arrives_at_ntfy(http: NoticeReceiver) -> None:
    ntfy = Receiver(f"ntfy://127.0.0.1:{http.port}/training")
    assert await send(ntfy, "brightrun: a job", "done") == ""
    [(_, post)] = http.posts
    assert (post["topic"], post["title"], post["message"]) == (
        "training",
        "brightrun: a job",
        "done",
    )


async def test_a_message_arrives_by_mail() -> None:
    server = MailReceiver()
    with serving(server):
        url = f"mailto://127.0.0.1:{server.port}?from=job@example.org&to=me@example.org"
        assert await send(Receiver(url), "brightrun: a job\r\nBcc: all@example.org", "done") == ""

    [mail] = server.mails
    headers = mail.partition("\r\n\r\n")[0].lower()
    assert "to: me@example.org" in headers
    assert "\nbcc:" not in headers, "a name cannot bring headers along"


@pytest.mark.parametrize("status", [500, 404, 307])
async def test_a_refusal_is_told_without_the_address_and_a_redirect_is_one(
    http: NoticeReceiver, status: int
) -> None:
    http.answers = [status]

    reason = await send(at(http), "title", "body")

    assert str(status) in reason
    assert SECRET not in reason
    assert http.posts == []


async def test_nobody_there_is_told_without_the_address(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    caplog.set_level(logging.DEBUG)

    reason = await send(Receiver(f"json://127.0.0.1:{port}/{SECRET}"), "title", "body")

    assert reason
    assert SECRET not in reason
    assert SECRET not in caplog.text


async def test_a_receiver_that_hangs_keeps_nobody_waiting(http: NoticeReceiver) -> None:
    http.hang_s = 3.0
    began = time.monotonic()

    reason = await send(at(http), "title", "body", timeout_s=0.2)

    assert "no answer" in reason
    assert time.monotonic() - began < 2


async def test_many_receivers_are_told_at_once_and_each_has_its_own_reason(
    http: NoticeReceiver,
) -> None:
    other = NoticeReceiver()
    other.answers = [503]
    with serving(other):
        reasons = await asyncio.gather(
            *(send(each, "title", "body") for each in (at(http), at(other)))
        )
    assert reasons[0] == ""
    assert "503" in reasons[1]


async def test_a_secret_never_leaves(http: NoticeReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "canary-5f2b9c71d0"
    monkeypatch.setenv("RUNPOD_API_KEY", canary)

    await send(at(http), f"job {canary}", f"failed: Authorization: Bearer {canary} \x1b[31mred")

    [(_, post)] = http.posts
    assert canary not in str(post)
    assert "\x1b" not in post["message"]


def test_an_address_of_no_service_is_not_understood() -> None:
    assert is_understood(Receiver("json://127.0.0.1/x"))
    assert not is_understood(Receiver("nosuchservice://127.0.0.1/x"))
    assert not is_understood(Receiver("slack://"))


def test_without_the_extra_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"pip install \"brightrun\[notify\]\""):
        is_understood(Receiver("json://127.0.0.1/x"))


def test_no_part_of_an_address_is_in_a_reason_however_it_is_spelled() -> None:
    url = "slack://TokenAAAAA/Token%20BBBB/?key=TokenCCCC#training"
    reason = "TokenAAAAA failed: Token BBBB, Token%20BBBB; POST /TokenCCCC to #training, error=403."
    said = without_address(reason, url)
    assert not any(piece in said for piece in ("Token", "BBBB", "training"))
    assert "error=403" in said
