"""What the user's SSH configuration says about one machine; asyncssh reads the files.

Which options count: User, Port, HostName, HostKeyAlias, IdentityFile, IdentitiesOnly,
IdentityAgent, CertificateFile, ProxyJump, ProxyCommand, UserKnownHostsFile, and what asyncssh takes
from the files by itself (algorithms, AddressFamily, BindAddress, Match, Include).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from shared.errors import InvalidInput, SshRefused
from tui.services.ssh.address import SshAddress, parse_ssh_name
from tui.services.ssh.failures import translated
from tui.services.ssh.host_keys import DEFAULT_PORT, known_name

_DEFAULT_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")


@dataclass(frozen=True, slots=True)
class HostSettings:
    """One machine, as it is to be reached."""

    address: SshAddress
    host: str
    port: int
    user: str
    known_name: str
    """Its name in known_hosts files."""
    name_without_port: str | None
    """Another name under which the user's known_hosts may have the same key."""
    identity_files: tuple[Path, ...]
    are_identities_named: bool
    """False: `identity_files` are only where keys usually lie."""
    identities_only: bool
    agent_socket: str | None
    certificate_files: tuple[Path, ...]
    user_known_hosts: tuple[Path, ...] | None
    """None: the configuration does not say."""
    jumps: tuple[SshAddress, ...]
    proxy_command: str | None

    @property
    def label(self) -> str:
        """For messages: `root@10.0.0.5:2222`, with the name that was typed if it is another."""
        full = SshAddress(self.host, self.user, self.port).name
        typed = self.address.name
        return full if typed in full else f"{typed} ({full})"

    @property
    def place(self) -> tuple[str, str, int]:
        return self.user, self.host, self.port


def host_settings(address: SshAddress, config_paths: Iterable[Path]) -> HostSettings:
    """What the configuration says about the machine; blocks on files and `Match exec`.

    Raises:
        SshRefused: the configuration makes no sense.
    """
    paths = [str(path) for path in config_paths if path.is_file()]
    try:
        with translated(address.label):
            options = asyncssh.SSHClientConnectionOptions(
                host=address.host,
                port=address.port if address.port is not None else (),
                username=address.user if address.user is not None else (),
                config=paths,
                tunnel=None,
                client_keys=None,
                known_hosts=None,
                x509_trusted_certs=None,
                agent_forwarding=False,
            )
            if options.config.has_match_final():
                options.update(host=options.host, reload=True, canonical=False, final=True)
    except ValueError as error:
        # asyncssh's own checks of single values, such as ciphers that it does not know.
        raise SshRefused(f"~/.ssh/config: {error} (for {address.name}).") from error
    return _settings(address, options)


def _settings(address: SshAddress, options: asyncssh.SSHClientConnectionOptions) -> HostSettings:
    get: Any = options.config.get
    named = get("IdentityFile")
    known_hosts = get("UserKnownHostsFile")
    return HostSettings(
        address=address,
        host=options.host,
        port=options.port,
        user=options.username,
        known_name=known_name(options.host, options.port, options.host_key_alias),
        name_without_port=(
            None if options.host_key_alias else known_name(options.host, DEFAULT_PORT, None)
        ),
        identity_files=_paths(named) if named else _usual_identities(),
        are_identities_named=bool(named),
        identities_only=bool(get("IdentitiesOnly")),
        agent_socket=_agent_socket(get("IdentityAgent", "SSH_AUTH_SOCK")),
        certificate_files=_paths(get("CertificateFile") or ()),
        user_known_hosts=None if known_hosts is None else _paths(known_hosts),
        jumps=_jumps(get("ProxyJump"), address),
        proxy_command=get("ProxyCommand"),
    )


def _usual_identities() -> tuple[Path, ...]:
    return tuple(Path.home() / ".ssh" / name for name in _DEFAULT_IDENTITIES)


def _paths(texts: Iterable[str]) -> tuple[Path, ...]:
    return tuple(Path(os.path.expanduser(text)) for text in texts)


def _agent_socket(configured: str | None) -> str | None:
    if configured is None:
        return None
    if configured == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK") or None
    if found := re.fullmatch(r"\$(\w+)", configured):
        return os.environ.get(found[1]) or None
    return os.path.expanduser(configured)


def _jumps(configured: str | None, address: SshAddress) -> tuple[SshAddress, ...]:
    try:
        texts = (configured or "").split(",")
        return tuple(
            parse_ssh_name(text.strip().removeprefix("ssh://")) for text in texts if text.strip()
        )
    except InvalidInput as error:
        raise SshRefused(f"ProxyJump of {address.name} in ~/.ssh/config: {error}") from error
