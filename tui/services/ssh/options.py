"""What a connection needs to know; knows nothing of how it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tui.services.ssh.address import SshAddress


def _users_config() -> tuple[Path, ...]:
    return (Path.home() / ".ssh" / "config",)


def _users_known_hosts() -> tuple[Path, ...]:
    return (Path.home() / ".ssh" / "known_hosts",)


@dataclass(frozen=True, slots=True)
class SshOptions:
    """All but the first two have their usual values."""

    address: SshAddress
    known_hosts_path: Path
    """Our own; keys that are accepted here are added to it."""
    accept_host_key: str | None = None
    """Fingerprint of a key to trust without asking: SHA256:..."""
    config_paths: tuple[Path, ...] = field(default_factory=_users_config)
    user_known_hosts_paths: tuple[Path, ...] = field(default_factory=_users_known_hosts)
    """Read only; UserKnownHostsFile of the configuration goes before."""
    connect_timeout_s: float = 15.0
    """Until the machine answers at all; for each machine on the way."""
    login_timeout_s: float = 30.0
    """From there until it has let us in; a line may be slow, and a key may want to be touched."""
    keepalive_interval_s: float = 5.0
    keepalive_count_max: int = 3
    """So many unanswered questions end a connection, after interval * (count + 1) seconds."""
