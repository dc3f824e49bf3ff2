from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest

from shared.errors import SshRefused
from tests.remote.sshd import make_key
from tui.services.ssh.host_keys import fingerprint, known_name, public_line, trust, trusted_keys


def new_key(algorithm: str = "ssh-ed25519") -> asyncssh.SSHKey:
    return asyncssh.generate_private_key(algorithm).convert_to_public()


def found(name: str, ours: Path, *users: Path) -> list[asyncssh.SSHKey]:
    return [trusted.key for trusted in trusted_keys(name, ours, users).keys]


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return tmp_path / "console" / "known_hosts"


def test_a_trusted_key_is_found_again_under_its_name_alone(ours: Path) -> None:
    key = new_key()
    trust("[10.0.0.5]:2222", key, ours)
    assert found("[10.0.0.5]:2222", ours) == [key]
    assert found("10.0.0.5", ours) == found("[10.0.0.5]:22", ours) == []
    assert stat.S_IMODE(ours.stat().st_mode) == 0o600


def test_openssh_reads_our_file(ours: Path) -> None:
    key = new_key()
    trust("[gpu.example.com]:2222", key, ours)
    command = ["ssh-keygen", "-l", "-f", str(ours), "-F", "[gpu.example.com]:2222"]
    assert fingerprint(key) in subprocess.run(command, capture_output=True, text=True).stdout


def test_the_fingerprint_is_the_one_that_openssh_prints(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    printed = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(tmp_path / "key.pub")], capture_output=True, text=True
    ).stdout
    assert fingerprint(asyncssh.read_public_key(tmp_path / "key.pub")) == printed.split()[1]


def test_a_name_that_is_trusted_already_gets_no_second_key(ours: Path) -> None:
    first = new_key()
    trust("gpu", first, ours)
    trust("gpu", new_key(), ours)
    assert found("gpu", ours) == [first]


def test_what_else_is_in_our_file_stays(ours: Path) -> None:
    ours.parent.mkdir()
    ours.write_bytes(b"# mine\nbroken line\n\xff\xfe odd\nlast ssh-ed25519")
    trust("gpu", new_key(), ours)
    lines = ours.read_bytes().splitlines()
    assert lines[:4] == [b"# mine", b"broken line", b"\xff\xfe odd", b"last ssh-ed25519"]
    assert len(lines) == 5


def test_two_consoles_that_add_at_once_lose_nothing(ours: Path) -> None:
    script = (
        "import sys, asyncssh; from pathlib import Path\n"
        "from tui.services.ssh.host_keys import trust\n"
        "key = asyncssh.generate_private_key('ssh-ed25519').convert_to_public()\n"
        "[trust(f'{sys.argv[2]}-{n}', key, Path(sys.argv[1])) for n in range(20)]\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(ours), name]) for name in "abc"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    names = {line.split()[0] for line in ours.read_text().splitlines()}
    assert names == {f"{name}-{n}" for name in "abc" for n in range(20)}
    assert {path.name for path in ours.parent.iterdir()} == {"known_hosts", "known_hosts.lock"}


def test_the_users_own_file_counts_where_ours_says_nothing(ours: Path, tmp_path: Path) -> None:
    users, mine, theirs = tmp_path / "known_hosts", new_key(), new_key()
    users.write_text(f"gpu,10.0.0.5 {public_line(theirs)}\n")
    assert found("gpu", ours, users) == found("10.0.0.5", ours, users) == [theirs]
    trust("gpu", mine, ours)
    assert found("gpu", ours, users) == [mine]
    assert found("10.0.0.5", ours, users) == [theirs]


def test_hashed_and_wildcard_names_are_found(ours: Path, tmp_path: Path) -> None:
    users, hashed, wild = tmp_path / "known_hosts", new_key(), new_key()
    users.write_text(f"[gpu]:2222 {public_line(hashed)}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(users)], check=True, capture_output=True)
    assert "gpu" not in users.read_text()
    with users.open("a") as file:
        file.write(f"*.example.com,!bad.example.com {public_line(wild)}\n")
    assert found("[gpu]:2222", ours, users) == [hashed]
    assert found("a.example.com", ours, users) == [wild]
    assert found("bad.example.com", ours, users) == []


def test_a_line_that_makes_no_sense_hides_no_other(ours: Path, tmp_path: Path) -> None:
    users, key = tmp_path / "known_hosts", new_key()
    users.write_text(
        f"|1|bad|hash ssh-ed25519 AAAA\ngpu\n@odd gpu x\x0cgpu\ngpu ssh-ed25519 !!\n"
        f"gpu {public_line(key)} comment\n"
    )
    [trusted] = trusted_keys("gpu", ours, [users]).keys
    assert (trusted.key, trusted.path, trusted.line_number) == (key, users, 5)


def test_revoked_keys_and_authorities_of_the_users_file_are_kept_apart(
    ours: Path, tmp_path: Path
) -> None:
    users, authority, revoked = tmp_path / "known_hosts", new_key(), new_key()
    users.write_text(
        f"@cert-authority *.example.com {public_line(authority)}\n"
        f"@revoked * {public_line(revoked)}\n"
    )
    trusted = trusted_keys("gpu.example.com", ours, [users])
    assert (trusted.keys, trusted.authorities, trusted.revoked) == ((), (authority,), (revoked,))


def test_a_server_is_asked_first_for_a_key_of_the_type_that_is_trusted(ours: Path) -> None:
    trust("gpu", new_key("ssh-rsa"), ours)
    algorithms = trusted_keys("gpu", ours, []).algorithms
    assert set(algorithms[:2]) == {"rsa-sha2-256", "rsa-sha2-512"}
    assert "ssh-ed25519" in algorithms
    assert "ssh-rsa" not in algorithms  # signs with SHA-1
    assert trusted_keys("other", ours, []).algorithms[0] == "ssh-ed25519"


@pytest.mark.parametrize(
    ("host", "port", "alias", "name"),
    [
        ("gpu", 22, None, "gpu"),
        ("GPU.example.com", 22, None, "gpu.example.com"),
        ("gpu", 2222, None, "[gpu]:2222"),
        ("::1", 2222, None, "[::1]:2222"),
        ("gpu", 2222, "pod-1", "pod-1"),
    ],
)
def test_a_machine_is_called_as_openssh_calls_it(
    host: str, port: int, alias: str | None, name: str
) -> None:
    assert known_name(host, port, alias) == name


@pytest.mark.parametrize(
    "alias", ["two words", "a,b", "*", "#x", "@cert-authority", "|1|x", "a\nb"]
)
def test_a_name_that_would_mean_something_else_in_the_file_is_refused(alias: str) -> None:
    with pytest.raises(SshRefused, match="HostKeyAlias"):
        known_name("gpu", 22, alias)
