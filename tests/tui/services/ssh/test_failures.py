"""Every way in which SSH fails: what is raised is ours, says where and what next, and is retryable
exactly if a later try may help."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncssh
import pytest

from shared.errors import AgentError, AgentUnreachable, HostUnreachable, SshRefused, UnknownHostKey
from tests.remote.sshd import free_port
from tests.tui.services.ssh.conftest import Person, SshHome
from tui.services.ssh.connection import connect, scan
from tui.services.ssh.failures import translated, translation

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def plain_server(serve: Serve) -> AsyncIterator[int]:
    """Whatever it is, on a free port; it has ended with all its connections at the end."""
    serving: set[asyncio.Task[None]] = set()

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await serve(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(serve_and_close(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*serving)


class Open(asyncssh.SSHServer):
    """Lets everybody in."""

    def begin_auth(self, username: str) -> bool:
        return False

    def unix_connection_requested(self, dest_path: str) -> bool:
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "not here")


@asynccontextmanager
async def ssh_server(
    factory: Callable[[], asyncssh.SSHServer] = Open, **more: object
) -> AsyncIterator[int]:
    """A server in this process."""
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[host_key], server_factory=factory, **more
    )
    try:
        yield server.get_port()
    finally:
        server.close()
        await server.wait_closed()


def saying(words: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(words)
        await writer.drain()

    return serve


async def failure(home: SshHome, name: str, **more: object) -> AgentError:
    with pytest.raises(AgentError) as raised:
        await connect(home.options(name, **more), Person())
    return raised.value


class Picky(asyncssh.SSHServer):
    """Wants a key, and takes none."""

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return False


async def test_a_port_where_nobody_listens_is_worth_another_try(ssh_home: SshHome) -> None:
    port = free_port()
    error = await failure(ssh_home, f"root@127.0.0.1:{port}")
    assert isinstance(error, HostUnreachable)
    assert f"root@127.0.0.1:{port}: the connection was refused" in str(error)


async def test_a_name_that_does_not_resolve_is_worth_another_try(
    ssh_home: SshHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = await failure(ssh_home, "gpu.invalid")
    assert isinstance(error, HostUnreachable)
    assert "gpu.invalid:22: the name cannot be resolved" in str(error)


@pytest.mark.parametrize("name", ["a..b", "x" * 70 + ".example"])
async def test_a_name_that_dns_cannot_hold_is_not(ssh_home: SshHome, name: str) -> None:
    assert isinstance(await failure(ssh_home, name), SshRefused)


async def test_a_reset_is_worth_another_try(ssh_home: SshHome) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        linger = b"\x01\0\0\0\0\0\0\0"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with plain_server(reset) as port:
        error = await failure(ssh_home, f"127.0.0.1:{port}")
    assert isinstance(error, HostUnreachable)
    assert "the connection broke" in str(error)


async def test_a_server_that_says_nothing_is_given_up_in_time(ssh_home: SshHome) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client gives up

    async with plain_server(silent) as port:
        error = await failure(ssh_home, f"127.0.0.1:{port}", login_timeout_s=0.2)
    assert isinstance(error, HostUnreachable)
    assert "SSH did not get through within 0 s: is the port right?" in str(error)


async def test_a_network_that_swallows_everything_is_given_up_in_time(ssh_home: SshHome) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        queued = [socket.socket() for _ in range(3)]
        for waiting in queued:
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        error = await failure(ssh_home, f"127.0.0.1:{port}", connect_timeout_s=0.2)
        for waiting in queued:
            waiting.close()
    assert isinstance(error, HostUnreachable)
    assert "no answer in time" in str(error)


@pytest.mark.parametrize(
    "words",
    [
        b"SSH-1.0-old\r\n",
        b"\x00\x01" * 10_000,
        b"SSH-2.0-x\r\n\xff\xff\xff\xff" + b"\xff" * 500,
        b"SSH-2.0-\xff\xfe\r\n",
    ],
    ids=["SSH 1", "noise", "noise after the version", "a version that is no ASCII"],
)
async def test_what_is_no_ssh_server_is_not_asked_again(ssh_home: SshHome, words: bytes) -> None:
    async with plain_server(saying(words)) as port:
        error = await failure(ssh_home, f"127.0.0.1:{port}")
    assert isinstance(error, SshRefused), error
    assert f"127.0.0.1:{port}: what answers there is no SSH server" in str(error)


@pytest.mark.parametrize(
    "words",
    [b"Exceeded MaxStartups\r\n", b"Not allowed at this time\r\n", b"HTTP/1.1 503 Busy\r\n\r\n"],
)
async def test_a_server_that_is_too_busy_is_worth_another_try(
    ssh_home: SshHome, words: bytes
) -> None:
    async with plain_server(saying(words)) as port:
        assert isinstance(await failure(ssh_home, f"127.0.0.1:{port}"), HostUnreachable)


async def test_a_server_that_takes_none_of_our_keys_is_not_asked_again(ssh_home: SshHome) -> None:
    ssh_home.key()
    async with ssh_server(Picky) as port:
        error = await failure(ssh_home, f"somebody@127.0.0.1:{port}")
    assert isinstance(error, SshRefused)
    assert f"somebody@127.0.0.1:{port}: the server accepts none of your keys" in str(error)
    assert "ssh-copy-id" in str(error)


async def test_a_server_without_a_common_cipher_is_not_asked_again(ssh_home: SshHome) -> None:
    ssh_home.configure("Host *\n  Ciphers aes128-ctr\n")
    async with ssh_server(encryption_algs=["aes256-ctr"]) as port:
        error = await failure(ssh_home, f"127.0.0.1:{port}")
    assert isinstance(error, SshRefused)
    assert "no common algorithm" in str(error)


async def test_a_channel_that_the_server_refuses_says_what_to_allow(ssh_home: SshHome) -> None:
    async with ssh_server() as port:
        connection = await connect(ssh_home.options(f"127.0.0.1:{port}"), Person())
        with pytest.raises(SshRefused, match="AllowStreamLocalForwarding"), translated("gpu"):
            await connection.open_unix_connection("/nowhere")
        connection.abort()
        await connection.wait_closed()


async def test_a_forward_that_the_server_refuses_is_translated_though_it_is_no_asyncssh_error(
    ssh_home: SshHome,
) -> None:
    assert not issubclass(asyncssh.ChannelListenError, asyncssh.Error)
    async with ssh_server() as port:
        connection = await connect(ssh_home.options(f"127.0.0.1:{port}"), Person())
        with pytest.raises(SshRefused, match="AllowTcpForwarding"), translated("gpu"):
            await connection.forward_remote_path("/tmp/nowhere", "/tmp/nothing")
        connection.abort()
        await connection.wait_closed()


RETRYABLE: list[Exception] = [
    TimeoutError(),
    TimeoutError(errno.ETIMEDOUT, "Connection timed out"),
    BrokenPipeError(errno.EPIPE, "Broken pipe"),
    OSError(errno.EHOSTUNREACH, "No route to host"),
    OSError(errno.ENETUNREACH, "Network is unreachable"),
    OSError("Multiple exceptions: ..."),
    asyncssh.ConnectionLost("Server not responding to keepalive"),
    asyncssh.MACError("MAC verification failed"),
    asyncssh.CompressionError("Decompression failed"),
    asyncssh.DisconnectError(asyncssh.DISC_TOO_MANY_CONNECTIONS, "busy"),
    asyncssh.DisconnectError(asyncssh.DISC_BY_APPLICATION, "shutting down"),
    asyncssh.ServiceNotAvailable("later"),
    asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "refused"),
    asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, "no more"),
    asyncssh.SFTPConnectionLost("gone"),
]
FINAL: list[Exception] = [
    OSError(errno.ENOSPC, "No space left on device", "/home/me/known_hosts"),
    asyncssh.PermissionDenied("no"),
    asyncssh.ProtocolError("Too many authentication failures"),
    asyncssh.ProtocolNotSupported("SSH 1"),
    asyncssh.IllegalUserName("no"),
    asyncssh.HostKeyNotVerifiable("Host key is revoked"),
    asyncssh.KeyExchangeFailed("nothing in common"),
    asyncssh.DisconnectError(asyncssh.DISC_HOST_NOT_ALLOWED_TO_CONNECT, "go away"),
    asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "no"),
    asyncssh.ChannelListenError("no"),
    asyncssh.SFTPNoSpaceOnFilesystem("full"),
    asyncssh.ConfigParseError("line 3: odd"),
    asyncssh.KeyImportError("Passphrase must be specified"),
    asyncssh.KeyEncryptionError("Incorrect passphrase"),
]


@pytest.mark.parametrize("error", RETRYABLE, ids=repr)
def test_what_a_later_try_may_mend_is_unreachable(error: Exception) -> None:
    assert type(translation(error, "gpu")) is HostUnreachable
    assert issubclass(HostUnreachable, AgentUnreachable)


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_what_somebody_has_to_mend_first_is_refused(error: Exception) -> None:
    assert type(translation(error, "gpu")) is SshRefused
    assert not issubclass(SshRefused, AgentUnreachable)


def test_every_error_of_asyncssh_is_translated_and_names_the_host() -> None:
    def below(kind: type[Exception]) -> list[type[Exception]]:
        return [kind, *(deeper for child in kind.__subclasses__() for deeper in below(child))]

    for kind in below(asyncssh.Error):
        error = kind.__new__(kind)
        Exception.__init__(error, "words of the server")
        error.__dict__.update(code=2, reason="words of the server")
        translated_error = translation(error, "root@gpu:22")
        assert str(translated_error).startswith("root@gpu:22: "), kind


def test_what_a_server_says_cannot_write_on_the_screen() -> None:
    hostile = asyncssh.DisconnectError(
        2, "\x1b]52;c;aGk=\x07 red \x1b[31m\nline\u202e " + "x" * 9_999
    )
    text = str(translation(hostile, "gpu"))
    assert "red line" in text
    assert text.isprintable()
    assert len(text) < 500


def test_an_error_of_ours_passes_untouched() -> None:
    ours = UnknownHostKey("gpu", "ssh-ed25519", "SHA256:x", "ssh-ed25519 AAAA")
    with pytest.raises(UnknownHostKey) as raised, translated("other"):
        raise ours
    assert raised.value is ours


async def test_a_configuration_that_cannot_be_read_says_which_line(ssh_home: SshHome) -> None:
    ssh_home.configure("Host gpu\n  Port many\n")
    error = await failure(ssh_home, "gpu")
    assert isinstance(error, SshRefused)
    assert "line 2" in str(error)


@pytest.mark.parametrize(
    "configuration",
    [b"Host \xff\xfe\n", b"Host gpu\n  ProxyJump -oX=y\n", b"Host gpu\n  HostKeyAlias 'a b'\n"],
)
async def test_a_configuration_that_makes_no_sense_is_named(
    ssh_home: SshHome, configuration: bytes
) -> None:
    (ssh_home.ssh / "config").write_bytes(configuration)
    error = await failure(ssh_home, "gpu")
    assert isinstance(error, SshRefused)
    assert "~/.ssh/config" in str(error)


async def test_a_console_without_any_ssh_directory_connects_all_the_same(
    ssh_home: SshHome, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "bare"))
    async with ssh_server() as port:
        shown = await scan(ssh_home.options(f"127.0.0.1:{port}"))
        connection = await connect(ssh_home.options(f"127.0.0.1:{port}"), Person())
        connection.close()
        await connection.wait_closed()
    assert not shown.is_trusted
