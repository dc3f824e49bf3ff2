"""Which keys are offered to a server, in which order, and what unlocks those that are encrypted.

Keys that need no question come first; a person is asked for a passphrase only when the server says
that it would take that very key. What was unlocked stays in memory until the process ends, and is
never written.
"""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from shared.errors import PassphraseNeeded
from tui.services.ssh.asker import Asker
from tui.services.ssh.ssh_config import HostSettings

_AGENT_TIMEOUT_S = 5.0
_MOST_TRIES = 3
"""How often a person may mistype a passphrase; as NumberOfPasswordPrompts of OpenSSH."""
_LARGEST_KEY_BYTES = 2**20
_OPENSSH_MAGIC = b"openssh-key-v1\0"


class KeyLocked(Exception):
    """The server would take this key, if it were not encrypted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(str(path))


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What IdentityFile names: a private key, or the public half of one that an agent holds."""

    path: Path
    public_data: bytes | None
    """The key in SSH's own encoding; None where only the passphrase would tell."""
    key: asyncssh.SSHKey | None
    """The private key, if it can be used as it is."""
    is_encrypted: bool


class _LockedPair(asyncssh.SSHKeyPair):
    """Offered by its public half; the server wants a signature only of a key that it takes."""

    def __init__(self, file: KeyFile) -> None:
        public = _public_key(file.public_data or b"")
        algorithms = public.sig_algorithms
        super().__init__(
            public.algorithm, public.algorithm, algorithms, algorithms, public.public_data, None
        )
        self._path = file.path

    def sign(self, data: bytes) -> bytes:
        raise KeyLocked(self._path)


@dataclass(frozen=True, slots=True)
class Offer:
    """What one server will be offered, in this order."""

    keys: list[asyncssh.SSHKeyPair]
    opaque: tuple[Path, ...]
    """Encrypted keys that cannot even be offered before they are unlocked."""


@dataclass
class KeyRing:
    """The keys that were unlocked in this process, by what their files hold."""

    _keys: dict[bytes, asyncssh.SSHKey] = field(default_factory=dict, repr=False)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    def unlocked(self, content: bytes) -> asyncssh.SSHKey | None:
        """The key of a file with this content, if it was unlocked before."""
        return self._keys.get(_digest(content))

    async def unlock(self, path: Path, asker: Asker | None) -> None:
        """Ask for the passphrase until it fits.

        Raises:
            PassphraseNeeded: nobody can or will say it, or it did not fit three times.
        """
        if asker is None:
            raise PassphraseNeeded(str(path))
        # One question at a time: the second connection may find the key unlocked by the first.
        async with self._asking:
            content = await asyncio.to_thread(path.read_bytes)
            if self.unlocked(content) is not None:
                return
            for _ in range(_MOST_TRIES):
                passphrase = await asker.passphrase(str(path))
                if passphrase is None:
                    raise PassphraseNeeded(str(path), "stays locked")
                try:
                    # Slow on purpose (bcrypt), so not on the event loop.
                    key = await asyncio.to_thread(asyncssh.import_private_key, content, passphrase)
                except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
                    continue
                self._keys[_digest(content)] = key
                return
        raise PassphraseNeeded(str(path), f"was not unlocked by {_MOST_TRIES} passphrases")


@asynccontextmanager
async def offer(settings: HostSettings, ring: KeyRing) -> AsyncIterator[Offer]:
    """The keys for one machine; those of the ssh-agent are good for as long as this is open."""
    files = await asyncio.to_thread(_read_all, settings.identity_files, ring)
    async with _agent(settings.agent_socket) as agent:
        held = await _held(agent)
        yield _in_order(settings, files, held)


def _in_order(
    settings: HostSettings, files: list[KeyFile], held: list[asyncssh.SSHKeyPair]
) -> Offer:
    """The configured keys, then whatever else the agent holds, then the encrypted ones.

    Servers hang up after a few keys (MaxAuthTries), so those that the user named go first.
    """
    by_data = {pair.key_public_data: pair for pair in held}
    configured: list[asyncssh.SSHKeyPair] = []
    locked: list[asyncssh.SSHKeyPair] = []
    opaque: list[Path] = []
    for file in files:
        if file.public_data in by_data:
            configured.append(by_data.pop(file.public_data))
        elif file.key is not None:
            plain = asyncssh.load_keypairs([file.key])
            twice = asyncssh.load_keypairs([file.key])
            configured += [*_with_certificates(twice, settings, file), *plain]
        elif file.is_encrypted and file.public_data is None:
            opaque.append(file.path)
        elif file.is_encrypted:
            twice = [_LockedPair(file), _LockedPair(file)]
            locked += [*_with_certificates(twice[:1], settings, file), twice[1]]
    rest = [] if settings.identities_only else list(by_data.values())
    first = configured + rest if settings.are_identities_named else rest + configured
    return Offer(first + locked, tuple(opaque))


def _with_certificates(
    pairs: Iterable[asyncssh.SSHKeyPair], settings: HostSettings, file: KeyFile
) -> list[asyncssh.SSHKeyPair]:
    """Those of the pairs that a certificate of the user signs, which is offered in their place."""
    beside = file.path.with_name(file.path.name + "-cert.pub")
    certificates = [str(p) for p in (*settings.certificate_files, beside) if p.is_file()]
    if not certificates:
        return []
    return [p for p in asyncssh.load_keypairs(list(pairs), None, certificates) if p.has_cert]


@asynccontextmanager
async def _agent(socket: str | None) -> AsyncIterator[asyncssh.SSHAgentClient | None]:
    if socket is None:
        yield None
        return
    try:
        async with asyncio.timeout(_AGENT_TIMEOUT_S):
            agent = await asyncssh.connect_agent(socket)
    except OSError:  # with TimeoutError; an agent that is gone is no agent
        yield None
        return
    async with agent:
        yield agent


async def _held(agent: asyncssh.SSHAgentClient | None) -> list[asyncssh.SSHKeyPair]:
    if agent is None:
        return []
    try:
        async with asyncio.timeout(_AGENT_TIMEOUT_S):
            return list(await agent.get_keys())
    except (OSError, ValueError):
        return []


def _read_all(paths: Iterable[Path], ring: KeyRing) -> list[KeyFile]:
    return [file for path in paths if (file := _read(path, ring)) is not None]


def _read(path: Path, ring: KeyRing) -> KeyFile | None:
    """None where there is nothing that could be used, which is what OpenSSH ignores as well."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_KEY_BYTES:
            return _only_public(path)
        content = path.read_bytes()
    except OSError:
        return None
    key = ring.unlocked(content)
    is_encrypted = False
    if key is None:
        try:
            key = asyncssh.import_private_key(content)
        except asyncssh.KeyEncryptionError:
            is_encrypted = True
        except asyncssh.KeyImportError as error:
            is_encrypted = str(error).startswith("Passphrase")
    if key is None and not is_encrypted:
        return _only_public(path)
    data = key.public_data if key is not None else _public_half(path, content)
    return KeyFile(path, data, key, is_encrypted)


def _only_public(path: Path) -> KeyFile | None:
    """For a key that an agent holds: IdentityFile may name the .pub, or a file that is not here."""
    for candidate in (path, path.with_name(path.name + ".pub")):
        try:
            return KeyFile(path, asyncssh.read_public_key(candidate).public_data, None, False)
        except (OSError, asyncssh.KeyImportError):
            continue
    return None


def _public_half(path: Path, content: bytes) -> bytes | None:
    """Of an encrypted key: OpenSSH's format has it in the clear, others only in the .pub beside."""
    try:
        body = b"".join(content.strip().splitlines()[1:-1])
        return _public_part(binascii.a2b_base64(body))
    except (ValueError, struct.error):
        beside = _only_public(path)
        return beside.public_data if beside is not None else None


def _public_part(body: bytes) -> bytes:
    """See PROTOCOL.key of OpenSSH: cipher, kdf, kdf options, number of keys, public key."""
    if not body.startswith(_OPENSSH_MAGIC):
        raise ValueError("not OpenSSH's own format")
    position = len(_OPENSSH_MAGIC)
    for _ in range(3):
        position += 4 + _uint32(body, position)
    position += 4
    size = _uint32(body, position)
    return body[position + 4 : position + 4 + size]


def _uint32(body: bytes, position: int) -> int:
    value: int = struct.unpack_from(">I", body, position)[0]
    return value


def _public_key(data: bytes) -> asyncssh.SSHKey:
    size = _uint32(data, 0)
    line = data[4 : 4 + size] + b" " + binascii.b2a_base64(data, newline=False)
    return asyncssh.import_public_key(line)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
