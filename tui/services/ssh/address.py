"""How a machine is named for SSH, and which names the user's SSH configuration knows.

Knows nothing of connections, and imports nothing heavy: pickers use it before the first paint.
"""

from __future__ import annotations

import glob
import ipaddress
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.clean_text import clean_line
from shared.errors import InvalidInput

_ODD = re.compile(r"[\s\x00-\x1f\x7f-\x9f'\"`$\\;&<>|(){}*?!#,/%\[\]@]")
"""What no host may contain: a shell of a ProxyCommand, a pattern or known_hosts would read it."""
_ODD_IN_USER = re.compile(r"[\s\x00-\x1f\x7f-\x9f'\"`$\\;&<>|(){}]")
_EQUALS = re.compile(r"^(\s*\w+)\s*=\s*")
_DEEPEST_INCLUDE = 16
"""As in OpenSSH's readconf.c (READCONF_MAX_DEPTH), 2026-11."""


@dataclass(frozen=True, slots=True)
class SshAddress:
    """A machine as the user names it; what is None is left to the SSH configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def name(self) -> str:
        """As it would be typed: `gpu`, `root@10.0.0.5:2222`, `[::1]:22`."""
        user = f"{self.user}@" if self.user is not None else ""
        if self.port is None:
            return user + self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{user}{host}:{self.port}"

    @property
    def label(self) -> str:
        """As the store and the screens have it."""
        return f"ssh:{self.name}"


def parse_ssh_name(name: str) -> SshAddress:
    """What stands after `ssh:`: an alias, host, user@host, user@host:port, [v6]:port.

    Raises:
        InvalidInput: it is none of these.
    """
    user, at, rest = name.rpartition("@")
    host, port = _split_port(name, rest)
    if not host or (at and not user):
        raise _nonsense(name, "user or host is missing")
    if host.startswith("-") or user.startswith("-"):
        raise _nonsense(name, "a name that begins with - would be an option")
    if _ODD_IN_USER.search(user) or (_ODD.search(host) and not _is_ipv6(host)):
        raise _nonsense(name, "it has characters that no name of a machine has")
    if ":" in host and not _is_ipv6(host):
        raise _nonsense(name, "the address is no IPv6 address")
    return SshAddress(host, user if at else None, port)


def config_hosts(path: Path | None = None) -> list[str]:
    """The machines that an SSH configuration names, without patterns, in its order.

    None is the user's own. Whatever cannot be read is left out: this is for pickers only.
    """
    path = path if path is not None else Path.home() / ".ssh" / "config"
    names = {name: None for name in _host_names(path, path.parent, 0) if _is_concrete(name)}
    return list(names)


def _split_port(name: str, text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        if not bracket or not _is_ipv6(host) or (after and not after.startswith(":")):
            raise _nonsense(name, "brackets are for IPv6 addresses, as in [::1]:22")
        return host, _port(name, after[1:]) if after else None
    if text.count(":") != 1:
        return text, None
    host, _, port = text.partition(":")
    return host, _port(name, port)


def _port(name: str, text: str) -> int:
    if re.fullmatch(r"[0-9]{1,5}", text) and 0 < int(text) < 65536:
        return int(text)
    raise _nonsense(name, "a port is a number from 1 to 65535")


def _is_ipv6(host: str) -> bool:
    address, percent, zone = host.partition("%")
    if percent and not re.fullmatch(r"[A-Za-z0-9_.-]+", zone):
        return False
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return True


def _nonsense(name: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"{clean_line(name)!r} is no SSH address: {why}. Write a name of your ~/.ssh/config, "
        "host, user@host or user@host:port."
    )


def _host_names(path: Path, directory: Path, depth: int) -> Iterator[str]:
    """`directory` is where relative includes begin."""
    if depth > _DEEPEST_INCLUDE:
        return
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        keyword, values = _words(line)
        if keyword == "host":
            yield from values
        elif keyword == "include":
            for pattern in values:
                absolute = os.path.join(directory, os.path.expanduser(pattern))
                for included in sorted(glob.glob(absolute)):
                    yield from _host_names(Path(included), directory, depth + 1)


def _words(line: str) -> tuple[str, list[str]]:
    try:
        words = shlex.split(_EQUALS.sub(r"\1 ", line), comments=True)
    except ValueError:
        return "", []
    return (words[0].lower(), words[1:]) if words else ("", [])


def _is_concrete(name: str) -> bool:
    try:
        return parse_ssh_name(name).host == name
    except InvalidInput:
        return False
