"""Which host keys are trusted: our own file, and the user's known_hosts, which is only read.

Ours has the first word: where it names a machine, the user's file is not asked. Nothing here
connects; every function blocks on files, so call them from a thread.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from shared.clean_text import clean_line
from shared.errors import SshRefused

DEFAULT_PORT = 22
_TYPES_BY_PREFERENCE = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""OpenSSH's order (myproposal.h, 2026-11), so that it shows the same fingerprint as we do."""
_SHA1_SIGNATURES = "ssh-rsa"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """One line of a known_hosts file that is about the machine."""

    key: asyncssh.SSHKey
    path: Path
    line_number: int


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Everything that the files say about one machine."""

    keys: tuple[TrustedKey, ...] = ()
    authorities: tuple[asyncssh.SSHKey, ...] = ()
    """Keys that sign host certificates."""
    revoked: tuple[asyncssh.SSHKey, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.keys or self.authorities)

    def __contains__(self, key: asyncssh.SSHKey) -> bool:
        return key in [trusted.key for trusted in self.keys]

    @property
    def known_hosts(self) -> tuple[list[asyncssh.SSHKey], ...]:
        """What asyncssh takes for known_hosts: these keys, and no other."""
        keys = [trusted.key for trusted in self.keys]
        return keys, list(self.authorities), list(self.revoked)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """How the server may prove itself, best first; empty leaves it to asyncssh.

        With a key of one type trusted, a server that has several shows that one. A server that has
        it no more shows another, so that a changed key is told from a server that is too old.
        """
        if self.authorities:
            return ()
        trusted = [n.decode() for one in self.keys for n in one.key.sig_algorithms]
        names = dict.fromkeys([*trusted, *_TYPES_BY_PREFERENCE])
        return tuple(name for name in names if name != _SHA1_SIGNATURES)

    def nearest(self, key: asyncssh.SSHKey) -> TrustedKey:
        """The trusted key that `key` stands for: of the same type, if there is one."""
        same = [trusted for trusted in self.keys if trusted.key.algorithm == key.algorithm]
        return (same or list(self.keys))[0]


def known_name(host: str, port: int, alias: str | None) -> str:
    """The machine's name in known_hosts files, as OpenSSH writes it.

    Raises:
        SshRefused: a name that the file's format cannot hold.
    """
    name = (alias or (host if port == DEFAULT_PORT else f"[{host}]:{port}")).lower()
    if re.search(r"[\s,*?!]", name) or name.startswith(("#", "@", "|")) or not name.isprintable():
        raise SshRefused(
            f"{clean_line(name)!r} cannot stand in a known_hosts file: "
            "look at HostName and HostKeyAlias in ~/.ssh/config."
        )
    return name


def trusted_keys(name: str, ours: Path | None, users: Iterable[Path]) -> TrustedKeys:
    """What the files say about the machine of that name; files that are not there say nothing."""
    own = _from_files(name, [ours] if ours is not None else [])
    others = _from_files(name, users)
    revoked = own.revoked + others.revoked
    chosen = own if own else others
    return TrustedKeys(chosen.keys, chosen.authorities, revoked)


def trust(name: str, key: asyncssh.SSHKey, ours: Path) -> None:
    """Add the key to our file, unless the file names the machine already; it may have meanwhile."""
    with _locked(ours):
        if _from_files(name, [ours]).keys:
            return
        try:
            before = ours.read_text("utf-8", "surrogateescape")
        except FileNotFoundError:
            before = ""
        if before and not before.endswith("\n"):
            before += "\n"
        _replace(ours, f"{before}{name} {public_line(key)}\n")


def fingerprint(key: asyncssh.SSHKey) -> str:
    """As `ssh-keygen -l` prints it: SHA256:..."""
    return key.get_fingerprint()


def key_type(key: asyncssh.SSHKey) -> str:
    """As in a public key's line: ssh-ed25519 ..."""
    return key.algorithm.decode("ascii")


def public_line(key: asyncssh.SSHKey) -> str:
    """Type and key, without a comment."""
    return " ".join(key.export_public_key("openssh").decode("ascii").split()[:2])


def _from_files(name: str, paths: Iterable[Path]) -> TrustedKeys:
    keys: list[TrustedKey] = []
    authorities: list[asyncssh.SSHKey] = []
    revoked: list[asyncssh.SSHKey] = []
    for path in paths:
        for number, line in _lines_about(name, path):
            # Line by line: one that makes no sense must not hide the others.
            try:
                found = asyncssh.import_known_hosts(line).match(name, "", None)
            except ValueError:
                continue
            keys += [TrustedKey(key, path, number) for key in found[0]]
            authorities += found[1]
            revoked += found[2]
    return TrustedKeys(tuple(keys), tuple(authorities), tuple(revoked))


def _lines_about(name: str, path: Path) -> Iterator[tuple[int, str]]:
    """The lines that may be about the machine: with its name, with patterns, or hashed."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split(maxsplit=2)
        names = words[1] if line.startswith("@") and len(words) > 1 else "".join(words[:1])
        if name in names.split(",") or any(sign in names for sign in "|*?!"):
            yield number, line.strip()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time, in this process or another."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _replace(path: Path, text: str) -> None:
    """Write the file anew, complete or not at all; mode 0600."""
    descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
