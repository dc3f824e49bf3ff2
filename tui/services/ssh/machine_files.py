"""What the console keeps of one rented machine to get in: a key of its own, and the way there.

    HOME/machines/NAME/
      id_ed25519  id_ed25519.pub   made for this machine alone
      ssh_config                   where it is now; `ssh -F .../ssh_config NAME` works by hand
      known_hosts                  the host key that its own log has named

Every function blocks on files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from tui.services.ssh.address import SshAddress
from tui.services.ssh.options import SshOptions


@dataclass(frozen=True, slots=True)
class MachineFiles:
    """The directory of one machine."""

    home: Path
    name: str

    @property
    def directory(self) -> Path:
        return self.home / "machines" / self.name

    @property
    def known_hosts_path(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def _key_path(self) -> Path:
        return self.directory / "id_ed25519"

    @property
    def _config_path(self) -> Path:
        return self.directory / "ssh_config"

    def public_key(self) -> str:
        """The line that the machine is told to let in; the key is made at the first call."""
        public = self._key_path.with_suffix(".pub")
        if not public.exists():
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            key = asyncssh.generate_private_key("ssh-ed25519", comment=self.name)
            _write_private(self._key_path, key.export_private_key("openssh"))
            # Last: a key is complete once its public half is there.
            _write_private(public, key.export_public_key("openssh"))
        return public.read_text(encoding="ascii").strip()

    def lead_to(self, host: str, port: int, user: str) -> bool:
        """Note where the machine is; True if that is news: its container began anew."""
        lines = (
            f"Host {self.name}",
            f"  HostName {host}",
            f"  Port {port}",
            f"  User {user}",
            f"  HostKeyAlias {self.name}",
            f'  IdentityFile "{self._key_path}"',
            "  IdentitiesOnly yes",
            f'  UserKnownHostsFile "{self.known_hosts_path}"',
        )
        text = "\n".join(lines) + "\n"
        if self._config_path.exists() and self._config_path.read_text(encoding="utf-8") == text:
            return False
        _write_private(self._config_path, text.encode())
        return True

    @property
    def is_pinned(self) -> bool:
        """True once a host key is trusted."""
        return self.known_hosts_path.exists()

    def forget_host_key(self) -> None:
        """A new container has new host keys; its log will name them."""
        self.known_hosts_path.unlink(missing_ok=True)

    def options(self, fingerprint: str | None) -> SshOptions:
        """How to get in; `fingerprint` is the host key to trust where none is trusted yet."""
        return SshOptions(
            address=SshAddress(self.name),
            known_hosts_path=self.known_hosts_path,
            accept_host_key=fingerprint or "none is named by its log",
            config_paths=(self._config_path,),
            user_known_hosts_paths=(),
        )

    def forget(self) -> None:
        """Remove the private key of a machine that is gone; the rest says how it was reached."""
        self._key_path.unlink(missing_ok=True)


def _write_private(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
