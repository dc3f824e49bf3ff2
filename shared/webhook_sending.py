"""Sends one signed message to one receiver, and says what became of it; never raises for that.

A receiver's address may be chosen by a stranger. So its name is looked up once, every address that
it has is looked at, and the connection goes to an address that was looked at: a name that means
something else a moment later reaches nothing. Redirects are not followed, and no proxy is asked.
It keeps no queue and knows no job.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Self

import httpx

from shared.clean_text import clean_line
from shared.redaction import redact
from shared.signing import sign

TIMEOUT_S = 30.0
_CONNECT_TIMEOUT_S = 10.0
LONGEST_PAUSE_S = 300.0
LONGEST_RETRY_AFTER_S = 3600.0
"""A receiver that asks for more is asked again after this all the same."""
GIVE_UP_AFTER_S = 24 * 3600.0
"""What could not be delivered for so long is given up; the web application polls beside."""
_CLOCK_DOUBT_S = 30.0
"""A clock that differs from the receiver's by more is taken to be wrong: ours, since the receiver
would refuse everything that we sign."""
_LONGEST_DETAIL = 300

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one try."""

    taken: bool
    status_code: int | None
    """None where there was no answer."""
    detail: str
    """Why it was not taken; "" if it was."""
    seconds: float
    is_gone: bool = False
    """The receiver wants nothing of this any more (410)."""
    retry_after_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """What was signed; not sent where no connection came about."""


class WebhookSender:
    """Signs and sends; a context manager."""

    def __init__(
        self,
        secret: str,
        *,
        allow_private: bool = False,
        timeout_s: float = TIMEOUT_S,
        now: Callable[[], float] = time.time,
        executor: Executor | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`executor` looks names up, which may hang; None is the loop's own."""
        self._secret = secret
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._now = now
        self._executor = executor
        self._tls = tls
        self._client: httpx.AsyncClient | None = None
        self.clock_offset_s = 0.0
        """What the receiver's clock is ahead of ours, where ours is taken to be wrong."""

    def __repr__(self) -> str:
        return "WebhookSender(...)"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def send(self, url: str, message_id: str, body: str) -> Delivery:
        """One try."""
        begin, content = time.monotonic(), body.encode()
        timestamp = int(self._now() + self.clock_offset_s)
        signed = sign(self._secret, message_id, timestamp, content)
        try:
            async with asyncio.timeout(self._timeout_s):
                taken, code, detail, retry_after_s = await self._post(url, signed, content)
        except TimeoutError:
            taken, code, retry_after_s = False, None, None
            detail = f"no answer within {self._timeout_s:.0f} s"
        return Delivery(
            taken,
            code,
            clean_line(redact(detail))[:_LONGEST_DETAIL],
            time.monotonic() - begin,
            is_gone=code == 410,
            retry_after_s=retry_after_s,
            headers=signed,
        )

    async def _post(
        self, url: str, signed: Mapping[str, str], content: bytes
    ) -> tuple[bool, int | None, str, float | None]:
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL as error:
            return False, None, f"the URL cannot be read: {error}", None
        if target.scheme != "https" and not self._allow_private:
            return False, None, f"{target.scheme} is not allowed, only https is", None
        try:
            addresses = await self._addresses(target)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return False, None, f"{target.host}: the name is not known ({reason})", None
        if not self._allow_private and (bad := next(filter(is_private, addresses), None)):
            told = (
                f"{target.host} is at {bad}, an address of this machine, of a private network or "
                "of none; nothing was sent, since such addresses are not allowed for this webhook"
            )
            return False, None, told, None
        failure = "no address"
        for address in addresses:
            try:
                return await self._post_to(target, address, signed, content)
            except httpx.ConnectError as error:
                failure = f"cannot connect to {target.host} at {address}: {error}"
            except httpx.HTTPError as error:
                return False, None, f"{type(error).__name__} {error}".strip(), None
        return False, None, failure, None

    async def _post_to(
        self, target: httpx.URL, address: IpAddress, signed: Mapping[str, str], content: bytes
    ) -> tuple[bool, int | None, str, float | None]:
        headers = {
            **signed,
            "Host": target.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "User-Agent": "brightrun-webhooks",
        }
        request = httpx.Request(
            "POST",
            target.copy_with(host=str(address)),
            headers=headers,
            content=content,
            # The certificate has to be the name's, whatever the address.
            extensions={
                "sni_hostname": target.raw_host.decode("ascii"),
                "timeout": httpx.Timeout(self._timeout_s, connect=_CONNECT_TIMEOUT_S).as_dict(),
            },
        )
        client = await self._open_client()
        response = await client.send(request, stream=True)
        try:
            self._look_at_clock(response.headers.get("date"))
            if response.is_success:
                return True, response.status_code, "", None
            told = await _beginning(response)
        finally:
            await response.aclose()
        detail = f"{response.status_code} {response.reason_phrase}"
        if response.is_redirect:
            detail += ": redirects are not followed, give the address that is meant"
        retry_after_s = seconds_of(response.headers.get("retry-after"), self._now())
        return False, response.status_code, f"{detail} {told}".strip(), retry_after_s

    async def _open_client(self) -> httpx.AsyncClient:
        if self._client is None:
            loop = asyncio.get_running_loop()
            # Reading all certificates takes tens of milliseconds.
            tls = self._tls
            if tls is None:
                tls = await loop.run_in_executor(self._executor, httpx.create_ssl_context)
            if self._client is None:
                self._client = httpx.AsyncClient(
                    verify=tls, trust_env=False, follow_redirects=False
                )
        return self._client

    async def _addresses(self, target: httpx.URL) -> list[IpAddress]:
        port = target.port or (443 if target.scheme == "https" else 80)

        def look_up() -> list[str]:
            found = socket.getaddrinfo(
                target.raw_host.decode("ascii"), port, type=socket.SOCK_STREAM
            )
            return [str(entry[4][0]).partition("%")[0] for entry in found]

        loop = asyncio.get_running_loop()
        texts = await loop.run_in_executor(self._executor, look_up)
        return [ipaddress.ip_address(text) for text in dict.fromkeys(texts)]

    def _look_at_clock(self, date: str | None) -> None:
        theirs = _moment(date)
        if theirs is not None:
            offset_s = theirs.timestamp() - self._now()
            self.clock_offset_s = offset_s if abs(offset_s) > _CLOCK_DOUBT_S else 0.0


def is_private(address: IpAddress) -> bool:
    """True for what is not the public internet's, however it is wrapped."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_private(inner)
        if address.teredo is not None or address.is_site_local:
            return True
    return not address.is_global or address.is_multicast or address.is_reserved


def pause_s(
    failures: int,
    retry_after_s: float | None = None,
    chance: Callable[[float, float], float] = random.uniform,
) -> float:
    """Before the next try after so many in a row that failed; grows, and is shortened by chance."""
    pause = min(LONGEST_PAUSE_S, 2.0 ** min(failures, 20)) * chance(0.5, 1.0)
    return max(pause, min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))


def seconds_of(retry_after: str | None, now: float) -> float | None:
    """A `Retry-After` as seconds from now; None where it is missing or makes no sense."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    moment = _moment(retry_after)
    return None if moment is None else max(0.0, moment.timestamp() - now)


def _moment(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    if moment is not None and moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment


async def _beginning(response: httpx.Response) -> str:
    """What a receiver says of its refusal, as far as it came at once."""
    async for chunk in response.aiter_bytes(_LONGEST_DETAIL):
        return chunk.decode("utf-8", "replace")
    return ""
