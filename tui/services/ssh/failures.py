"""What can go wrong with SSH, in the words of `shared.errors`: asyncssh's errors end here.

What a later try may mend is a `HostUnreachable`, so a connection that comes back by itself tries
again on that and on nothing else; what somebody has to mend first is an `SshRefused`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import asyncssh

from shared.clean_text import clean_line
from shared.errors import AgentError, HostUnreachable, SshRefused

FOREIGN_ERRORS = (
    OSError,  # with TimeoutError, ConnectionError and gaierror
    asyncssh.Error,
    asyncssh.ChannelListenError,  # not an asyncssh.Error
    asyncssh.ConfigParseError,
    asyncssh.KeyImportError,
    asyncssh.KeyEncryptionError,
)
_LONGEST_REASON = 300
_NETWORK_ERRNOS = frozenset(
    {
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EADDRNOTAVAIL,
        errno.ETIMEDOUT,
        errno.ENOTCONN,
    }
)
_TRANSIENT_CODES = frozenset(
    {
        asyncssh.DISC_CONNECTION_LOST,
        asyncssh.DISC_BY_APPLICATION,
        asyncssh.DISC_TOO_MANY_CONNECTIONS,
        asyncssh.DISC_SERVICE_NOT_AVAILABLE,
        asyncssh.DISC_MAC_ERROR,
        asyncssh.DISC_COMPRESSION_ERROR,
    }
)


@contextmanager
def translated(host: str) -> Iterator[None]:
    """What asyncssh and the network raise inside becomes an `AgentError` that names the host."""
    try:
        yield
    except FOREIGN_ERRORS as error:
        raise translation(error, host) from error


def translation(error: Exception, host: str) -> AgentError:
    """The error of ours that says the same; `host` is what the user will recognise."""
    match error:
        case asyncssh.PermissionDenied():
            return _denied(host)
        case asyncssh.ChannelOpenError():
            return _channel_refused(error, host)
        case asyncssh.SFTPError():
            return _file_refused(error, host)
        case asyncssh.Error():
            return _disconnected(error, host)
        case asyncssh.ChannelListenError():
            return SshRefused(
                f"{host}: the server forwards nothing ({_reason(error)}): "
                "set AllowTcpForwarding and AllowStreamLocalForwarding in its sshd_config."
            )
        case asyncssh.ConfigParseError():
            return SshRefused(f"the SSH configuration cannot be read: {_reason(error)}.")
        case asyncssh.KeyImportError() | asyncssh.KeyEncryptionError():
            return SshRefused(
                f"{host}: a private key cannot be read ({_reason(error)}): "
                "look at the IdentityFile lines of ~/.ssh/config."
            )
        case OSError():
            return _network(error, host)
    raise error


def _denied(host: str) -> SshRefused:
    return SshRefused(
        f"{host}: the server accepts none of your keys for this user. Give it your public key "
        "(ssh-copy-id), or name the user and IdentityFile in ~/.ssh/config."
    )


def _network(error: OSError, host: str) -> AgentError:
    match error:
        case TimeoutError() if error.errno is None:
            return HostUnreachable(
                f"{host}: no answer in time: is the machine on, and the port right?"
            )
        case socket.gaierror():
            return HostUnreachable(
                f"{host}: the name cannot be resolved ({_strerror(error)}): "
                "is it spelt right, and is this computer online?"
            )
        case ConnectionRefusedError():
            return HostUnreachable(
                f"{host}: the connection was refused: does sshd run there, on this port?"
            )
        case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            return HostUnreachable(f"{host}: the connection broke ({_strerror(error)}): try again.")
    if error.errno in _NETWORK_ERRNOS:
        return HostUnreachable(f"{host}: cannot be reached ({_strerror(error)}): try again.")
    # Also asyncio's sum of several addresses that failed in different ways.
    if error.errno is None:
        return HostUnreachable(f"{host}: cannot be reached ({_reason(error)}): try again.")
    where = f"{clean_line(str(error.filename))}: " if error.filename else ""
    return SshRefused(f"{host}: {where}{_strerror(error)}.")


def _disconnected(error: asyncssh.Error, host: str) -> AgentError:
    reason = _reason(error)
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return SshRefused(f"{host}: its host key is not trusted ({reason}).")
        case asyncssh.KeyExchangeFailed():
            return SshRefused(
                f"{host}: no common algorithm ({reason}): "
                "the server is too old, or ~/.ssh/config allows too little."
            )
        case asyncssh.ProtocolError() if "authentication failures" in reason:
            return SshRefused(
                f"{host}: the server was offered too many keys before the right one: "
                "name it by IdentityFile and IdentitiesOnly yes in ~/.ssh/config."
            )
        case asyncssh.ProtocolError() | asyncssh.ProtocolNotSupported():
            return SshRefused(f"{host}: what answers there is no SSH server ({reason}).")
        case asyncssh.IllegalUserName():
            return SshRefused(f"{host}: the server refuses this user name ({reason}).")
        case asyncssh.DisconnectError() if error.code not in _TRANSIENT_CODES:
            return SshRefused(f"{host}: the server ended the connection ({reason}).")
    return HostUnreachable(f"{host}: the connection broke ({reason}): try again.")


def _channel_refused(error: asyncssh.ChannelOpenError, host: str) -> AgentError:
    reason = _reason(error)
    if error.code in (asyncssh.OPEN_CONNECT_FAILED, asyncssh.OPEN_RESOURCE_SHORTAGE):
        return HostUnreachable(f"{host}: cannot be reached from there ({reason}): try again.")
    return SshRefused(
        f"{host}: the server does not allow that ({reason}): look at AllowTcpForwarding, "
        "AllowStreamLocalForwarding and MaxSessions in its sshd_config."
    )


def _file_refused(error: asyncssh.SFTPError, host: str) -> AgentError:
    reason = _reason(error)
    if isinstance(error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection):
        return HostUnreachable(f"{host}: the connection broke ({reason}): try again.")
    return SshRefused(f"{host}: a file could not be written or read there ({reason}).")


def _strerror(error: OSError) -> str:
    return clean_line(error.strerror or "") or _reason(error)


def _reason(error: Exception) -> str:
    """What the error says, which may be the server's own words."""
    text = clean_line(str(error)).rstrip(".")[:_LONGEST_REASON]
    return text or type(error).__name__
