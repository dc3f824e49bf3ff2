"""One message to one receiver: what is taken, what is refused, and where nothing goes at all."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.webhook_sending import WebhookSender, is_private, pause_s, seconds_of
from tests.fakes.webhook_receiver import SECRET, WebhookReceiver, serve_webhook_receiver

BODY = '{"job_id":"x","status":"training","step":1}'


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with serve_webhook_receiver() as served:
        yield served


def sender(**changes: Any) -> WebhookSender:
    return WebhookSender(**{"secret": SECRET, "allow_private": True, **changes})


async def test_what_is_signed_right_is_taken(receiver: WebhookReceiver) -> None:
    async with sender() as sending:
        delivery = await sending.send(receiver.url, "msg_1", BODY)

    assert (delivery.taken, delivery.status_code, delivery.detail) == (True, 204, "")
    assert receiver.taken[0].raw == BODY.encode()
    assert receiver.taken[0].headers["content-type"] == "application/json"
    assert delivery.headers["webhook-id"] == receiver.taken[0].headers["webhook-id"] == "msg_1"


async def test_a_wrong_secret_is_refused_by_the_receiver(receiver: WebhookReceiver) -> None:
    async with sender(secret="another secret") as sending:
        delivery = await sending.send(receiver.url, "msg_1", BODY)

    assert (delivery.taken, delivery.status_code) == (False, 401)
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"status": 500}, "500 Internal Server Error as told"),
        ({"reset": True}, "RemoteProtocolError"),
        ({"hang": True}, "no answer within 1 s"),
        ({"delay_s": 30}, "no answer within 1 s"),
    ],
)
async def test_whatever_a_receiver_does_is_told_and_raises_nothing(
    receiver: WebhookReceiver, fault: dict[str, Any], told: str
) -> None:
    receiver.faults.add(**fault)
    begin = time.monotonic()
    async with sender(timeout_s=1) as sending:
        delivery = await sending.send(receiver.url, "msg_1", BODY)

    assert not delivery.taken
    assert delivery.detail.startswith(told)
    assert time.monotonic() - begin < 5


async def test_nobody_there_and_a_name_that_is_none_are_told() -> None:
    async with sender(timeout_s=10) as sending:
        refused = await sending.send("http://127.0.0.1:9/", "msg_1", BODY)
        unknown = await sending.send("http://no-such-name.invalid/", "msg_1", BODY)
        too_long = await sending.send(f"http://{'x' * 70}.example/", "msg_1", BODY)
        no_url = await sending.send("http://example.com:x/", "msg_1", BODY)

    assert "cannot connect to 127.0.0.1" in refused.detail
    assert "no-such-name.invalid: the name is not known" in unknown.detail
    assert "the name is not known" in too_long.detail
    assert "the URL cannot be read" in no_url.detail


async def test_a_redirect_is_a_failure_and_is_not_followed(receiver: WebhookReceiver) -> None:
    with serve_webhook_receiver() as other:
        receiver.redirect_to = other.url
        async with sender() as sending:
            delivery = await sending.send(receiver.url, "msg_1", BODY)

        assert (delivery.taken, delivery.status_code) == (False, 307)
        assert "not followed" in delivery.detail
        assert other.paths == []


async def test_410_and_retry_after_are_told(receiver: WebhookReceiver) -> None:
    receiver.faults.add(status=503, retry_after_s=77)
    receiver.faults.add(status=410)
    async with sender() as sending:
        busy = await sending.send(receiver.url, "msg_1", BODY)
        gone = await sending.send(receiver.url, "msg_1", BODY)

    assert (busy.retry_after_s, busy.is_gone) == (77.0, False)
    assert gone.is_gone


async def test_a_clock_that_is_wrong_is_corrected_by_the_receivers(
    receiver: WebhookReceiver,
) -> None:
    for wrong_s in (-600.0, 600.0):
        async with sender(now=lambda wrong_s=wrong_s: time.time() + wrong_s) as sending:
            first = await sending.send(receiver.url, "msg_1", BODY)
            second = await sending.send(receiver.url, "msg_1", BODY)

        assert (first.status_code, second.status_code) == (401, 204)
        assert sending.clock_offset_s == pytest.approx(-wrong_s, abs=3)
    async with sender() as sending:
        await sending.send(receiver.url, "msg_2", BODY)
    assert sending.clock_offset_s == 0.0


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "2001:0:53aa:64c:0:fbff:80ff:fffe",
    ],
)
def test_addresses_that_are_not_the_public_internets(address: str) -> None:
    assert is_private(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_public_internet(address: str) -> None:
    assert not is_private(ipaddress.ip_address(address))


class Names:
    """A name server that may change its mind; every other name is the real one's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.asked = 0
        real = socket.getaddrinfo

        def look_up(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host != "hooks.example":
                return real(host, port, *args, **kwargs)
            found = answers[min(self.asked, len(answers) - 1)]
            self.asked += 1
            return [entry for ip in found for entry in real(ip, port, *args, **kwargs)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["93.184.216.34", "127.0.0.1"],  # Every one of them is looked at.
        ["::ffff:127.0.0.1"],
        ["169.254.169.254"],
    ],
)
async def test_a_name_of_a_private_address_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, tls: tuple[Path, Path], addresses: list[str]
) -> None:
    Names(monkeypatch, addresses)
    with serve_webhook_receiver(_server_tls(*tls)) as receiver:
        url = receiver.url.replace("127.0.0.1", "hooks.example")
        async with sender(allow_private=False, tls=_client_tls(tls[0]), timeout_s=5) as sending:
            delivery = await sending.send(url, "msg_1", BODY)

        assert "nothing was sent" in delivery.detail
        assert receiver.paths == []


async def test_a_name_that_means_something_else_a_moment_later_reaches_nothing(
    monkeypatch: pytest.MonkeyPatch, receiver: WebhookReceiver
) -> None:
    # The address that was looked at is documentation's own (TEST-NET-2): no connection comes about.
    names = Names(monkeypatch, ["198.51.100.1"], ["127.0.0.1"])
    monkeypatch.setattr("shared.webhook_sending.is_private", lambda ip: str(ip) == "127.0.0.1")
    monkeypatch.setattr("shared.webhook_sending._CONNECT_TIMEOUT_S", 0.5)
    url = receiver.url.replace("http://127.0.0.1", "https://hooks.example")
    async with sender(allow_private=False, timeout_s=2) as sending:
        delivery = await sending.send(url, "msg_1", BODY)

    assert names.asked == 1
    assert not delivery.taken
    assert receiver.paths == []


async def test_without_leave_only_https_is_spoken(receiver: WebhookReceiver) -> None:
    async with sender(allow_private=False) as sending:
        delivery = await sending.send(receiver.url, "msg_1", BODY)

    assert "only https" in delivery.detail
    assert receiver.paths == []


async def test_the_certificate_is_checked_by_the_name_and_not_by_the_address(
    monkeypatch: pytest.MonkeyPatch, tls: tuple[Path, Path]
) -> None:
    Names(monkeypatch, ["127.0.0.1"])
    with serve_webhook_receiver(_server_tls(*tls)) as receiver:
        url = receiver.url.replace("127.0.0.1", "hooks.example")
        async with sender(tls=_client_tls(tls[0])) as sending:
            taken = await sending.send(url, "msg_1", BODY)
            by_address = await sending.send(receiver.url, "msg_2", BODY)
        async with sender() as sending:
            unknown = await sending.send(url, "msg_3", BODY)

    assert taken.taken
    assert receiver.taken[0].headers["host"] == url.split("/")[2]
    for refused in (by_address, unknown):
        assert "CERTIFICATE_VERIFY_FAILED" in refused.detail


def test_no_proxy_of_the_environment_is_asked(
    monkeypatch: pytest.MonkeyPatch, receiver: WebhookReceiver
) -> None:
    import asyncio

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def send() -> bool:
        async with sender() as sending:
            return (await sending.send(receiver.url, "msg_1", BODY)).taken

    assert asyncio.run(send())


def test_pauses_grow_to_five_minutes_and_obey_the_receiver() -> None:
    def whole(_low: float, high: float) -> float:
        return high

    assert [pause_s(n, chance=whole) for n in (1, 2, 3, 8, 9, 1000)] == [2, 4, 8, 256, 300, 300]
    assert pause_s(3, chance=lambda low, high: low) == 4.0
    assert pause_s(1, 120.0) == 120.0
    assert pause_s(1, 10**9) == 3600.0
    assert len({pause_s(5) for _ in range(20)}) > 10


def test_retry_after_is_seconds_or_a_date() -> None:
    assert seconds_of("30", 0.0) == 30.0
    assert seconds_of("Thu, 01 Jan 1970 00:02:00 GMT", 100.0) == 20.0
    assert seconds_of("Thu, 01 Jan 1970 00:02:00 GMT", 500.0) == 0.0
    assert seconds_of("soon", 0.0) is None
    assert seconds_of(None, 0.0) is None


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for hooks.example that signs itself, and its key."""
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subject = ["-nodes", "-days", "2", "-subj", "/CN=hooks.example"]
    names = ["-addext", "subjectAltName=DNS:hooks.example"]
    where = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *subject, *names, *where], check=True, capture_output=True)
    return certificate, key


def _server_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _client_tls(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))
