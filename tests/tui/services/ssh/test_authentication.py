"""Against a real OpenSSH server and a real ssh-agent: which key opens it, and who is asked."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest

from shared.errors import PassphraseNeeded, SshRefused
from tests.remote.sshd import OpenSshServer
from tests.tui.services.ssh.conftest import USER, Person, SshHome, needs_sshd
from tui.services.ssh.asker import Asker
from tui.services.ssh.authentication import KeyRing
from tui.services.ssh.connection import connect

pytestmark = needs_sshd

AddToAgent = Callable[[Path], None]
SECRET = "correct horse"


@pytest.fixture(autouse=True)
def _known(ssh_home: SshHome, sshd: OpenSshServer) -> None:
    public = sshd.host_key.with_name("host_key.pub").read_text()
    (ssh_home.ssh / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {public}")


async def log_in(home: SshHome, sshd: OpenSshServer, asker: Asker | None = None) -> None:
    connection = await connect(home.options(f"{USER}@127.0.0.1:{sshd.port}"), asker)
    connection.close()
    await connection.wait_closed()


async def test_a_key_in_its_usual_place_opens_the_machine(
    ssh_home: SshHome, sshd: OpenSshServer
) -> None:
    sshd.authorize(USER, ssh_home.key())
    await log_in(ssh_home, sshd)


async def test_a_key_that_the_server_does_not_know_is_refused_and_says_what_to_do(
    ssh_home: SshHome, sshd: OpenSshServer
) -> None:
    ssh_home.key()
    with pytest.raises(SshRefused, match="accepts none of your keys") as raised:
        await log_in(ssh_home, sshd)
    assert "PRIVATE" not in str(raised.value)


async def test_having_no_key_at_all_is_said(ssh_home: SshHome, sshd: OpenSshServer) -> None:
    with pytest.raises(SshRefused, match="no key to log in with"):
        await log_in(ssh_home, sshd)


async def test_files_that_are_no_keys_do_not_hide_those_that_are(
    ssh_home: SshHome, sshd: OpenSshServer
) -> None:
    sshd.authorize(USER, ssh_home.key("good"))
    (ssh_home.ssh / "text").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nnonsense\n")
    (ssh_home.ssh / "directory").mkdir()
    ssh_home.configure(
        "Host *\n  IdentityFile ~/.ssh/missing\n  IdentityFile ~/.ssh/text\n"
        "  IdentityFile ~/.ssh/directory\n  IdentityFile ~/.ssh/good\n"
    )
    await log_in(ssh_home, sshd)


async def test_a_key_that_only_the_ssh_agent_holds_opens_the_machine(
    ssh_home: SshHome, sshd: OpenSshServer, ssh_agent: AddToAgent
) -> None:
    sshd.authorize(USER, ssh_home.key("elsewhere"))
    ssh_agent(ssh_home.ssh / "elsewhere")
    (ssh_home.ssh / "elsewhere").unlink()
    await log_in(ssh_home, sshd)


async def test_an_ssh_agent_that_is_gone_is_no_obstacle(
    ssh_home: SshHome, sshd: OpenSshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(ssh_home.path / "gone"))
    sshd.authorize(USER, ssh_home.key())
    await log_in(ssh_home, sshd)


async def test_the_agent_that_the_configuration_names_is_asked(
    ssh_home: SshHome,
    sshd: OpenSshServer,
    ssh_agent: AddToAgent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sshd.authorize(USER, ssh_home.key("elsewhere"))
    ssh_agent(ssh_home.ssh / "elsewhere")
    ssh_home.configure(f"Host *\n  IdentityAgent {os.environ['SSH_AUTH_SOCK']}\n")
    monkeypatch.delenv("SSH_AUTH_SOCK")
    await log_in(ssh_home, sshd)
    ssh_home.configure("Host *\n  IdentityAgent none\n")
    with pytest.raises(SshRefused, match="no key"):
        await log_in(ssh_home, sshd)


async def test_with_identities_only_nothing_else_of_the_agent_is_offered(
    ssh_home: SshHome, sshd: OpenSshServer, ssh_agent: AddToAgent
) -> None:
    sshd.authorize(USER, ssh_home.key("agents"))
    ssh_home.key("named")
    ssh_agent(ssh_home.ssh / "agents")
    rule = "Host *\n  IdentityFile ~/.ssh/named\n"
    ssh_home.configure(f"{rule}  IdentitiesOnly yes\n")
    with pytest.raises(SshRefused, match="accepts none"):
        await log_in(ssh_home, sshd)
    ssh_home.configure(rule)
    await log_in(ssh_home, sshd)


async def test_a_public_half_names_the_key_of_the_agent(
    ssh_home: SshHome, sshd: OpenSshServer, ssh_agent: AddToAgent
) -> None:
    sshd.authorize(USER, ssh_home.key("agents"))
    ssh_agent(ssh_home.ssh / "agents")
    (ssh_home.ssh / "agents").unlink()
    ssh_home.configure("Host *\n  IdentitiesOnly yes\n  IdentityFile ~/.ssh/agents.pub\n")
    await log_in(ssh_home, sshd)


async def test_a_crowded_agent_is_too_much_unless_the_right_key_is_named(
    ssh_home: SshHome, sshd: OpenSshServer, ssh_agent: AddToAgent
) -> None:
    sshd.authorize(USER, ssh_home.key("right"))
    for number in range(7):  # MaxAuthTries is 6
        ssh_home.key(f"wrong{number}")
        ssh_agent(ssh_home.ssh / f"wrong{number}")
    ssh_agent(ssh_home.ssh / "right")
    with pytest.raises(SshRefused, match=r"too many keys.*IdentitiesOnly"):
        await log_in(ssh_home, sshd)
    ssh_home.configure("Host *\n  IdentityFile ~/.ssh/right\n")
    await log_in(ssh_home, sshd)


async def test_an_encrypted_key_says_how_to_unlock_it_where_nobody_can_be_asked(
    ssh_home: SshHome, sshd: OpenSshServer
) -> None:
    sshd.authorize(USER, ssh_home.key(passphrase=SECRET))
    key = str(ssh_home.ssh / "id_ed25519")
    with pytest.raises(PassphraseNeeded, match="ssh-add") as raised:
        await log_in(ssh_home, sshd)
    assert raised.value.key_path == key
    assert key in str(raised.value)


async def test_an_encrypted_key_is_asked_for_once_and_never_written(
    ssh_home: SshHome, sshd: OpenSshServer, caplog: pytest.LogCaptureFixture
) -> None:
    sshd.authorize(USER, ssh_home.key(passphrase=SECRET))
    before = {path: path.read_bytes() for path in ssh_home.path.rglob("*") if path.is_file()}
    person = Person(passphrases=[SECRET])
    with caplog.at_level("DEBUG"):
        await log_in(ssh_home, sshd, person)
    assert person.asked == [str(ssh_home.ssh / "id_ed25519")]
    await log_in(ssh_home, sshd)  # a connection that comes back: nobody is there
    assert {path: path.read_bytes() for path in before} == before
    assert SECRET not in caplog.text


@pytest.mark.parametrize("form", ["with its public half beside", "alone"])
async def test_an_encrypted_key_of_openssh_needs_no_public_half_beside(
    ssh_home: SshHome, sshd: OpenSshServer, form: str
) -> None:
    sshd.authorize(USER, ssh_home.key(passphrase=SECRET))
    if form == "alone":
        (ssh_home.ssh / "id_ed25519.pub").unlink()
    await log_in(ssh_home, sshd, Person(passphrases=[SECRET]))
    # Offered first, and asked for when the server had said that it would take it.
    assert "Postponed publickey" in sshd.log


async def test_an_encrypted_key_in_another_format_is_asked_for_when_nothing_else_fits(
    ssh_home: SshHome, sshd: OpenSshServer
) -> None:
    key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    sshd.authorize(USER, key.export_public_key().decode())
    path = ssh_home.ssh / "id_ecdsa"
    path.write_bytes(key.export_private_key("pkcs8-pem", passphrase=SECRET))
    ssh_home.key()
    person = Person(passphrases=[SECRET])
    await log_in(ssh_home, sshd, person)
    assert person.asked == [str(path)]


async def test_an_encrypted_key_is_not_asked_for_while_another_opens_the_machine(
    ssh_home: SshHome, sshd: OpenSshServer
) -> None:
    ssh_home.key("id_ed25519", SECRET)
    sshd.authorize(USER, ssh_home.key("id_ecdsa"))
    person = Person()
    await log_in(ssh_home, sshd, person)
    assert person.asked == []


async def test_an_encrypted_key_that_the_agent_holds_is_not_asked_for(
    ssh_home: SshHome, sshd: OpenSshServer, ssh_agent: AddToAgent
) -> None:
    public = ssh_home.key("plain")
    sshd.authorize(USER, public)
    ssh_agent(ssh_home.ssh / "plain")
    locked = ssh_home.ssh / "plain"
    command = ["ssh-keygen", "-q", "-p", "-N", SECRET, "-f", str(locked)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    ssh_home.configure("Host *\n  IdentityFile ~/.ssh/plain\n  IdentitiesOnly yes\n")
    person = Person()
    await log_in(ssh_home, sshd, person)
    assert person.asked == []


async def test_an_encrypted_key_that_the_server_does_not_take_is_not_asked_for(
    ssh_home: SshHome, sshd: OpenSshServer
) -> None:
    ssh_home.key(passphrase=SECRET)
    person = Person()
    with pytest.raises(SshRefused, match="accepts none"):
        await log_in(ssh_home, sshd, person)
    assert person.asked == []


async def test_a_mistyped_passphrase_is_asked_for_again(
    ssh_home: SshHome, sshd: OpenSshServer
) -> None:
    sshd.authorize(USER, ssh_home.key(passphrase=SECRET))
    person = Person(passphrases=["", "wrong", SECRET])
    await log_in(ssh_home, sshd, person)
    assert len(person.asked) == 3


async def test_a_third_wrong_passphrase_is_the_last_and_none_is_repeated(
    ssh_home: SshHome, sshd: OpenSshServer
) -> None:
    sshd.authorize(USER, ssh_home.key(passphrase=SECRET))
    person = Person(passphrases=["wrong-one", "wrong-two", "wrong-three", SECRET])
    with pytest.raises(PassphraseNeeded, match="ssh-add") as raised:
        await log_in(ssh_home, sshd, person)
    assert len(person.asked) == 3
    assert "wrong-" not in str(raised.value)


async def test_a_person_may_keep_the_passphrase(ssh_home: SshHome, sshd: OpenSshServer) -> None:
    sshd.authorize(USER, ssh_home.key(passphrase=SECRET))
    person = Person(passphrases=[None, SECRET])
    with pytest.raises(PassphraseNeeded):
        await log_in(ssh_home, sshd, person)
    assert len(person.asked) == 1


async def test_two_connections_that_need_one_key_ask_once(ssh_home: SshHome) -> None:
    ssh_home.key(passphrase=SECRET)
    path, ring = ssh_home.ssh / "id_ed25519", KeyRing()

    async def think() -> None:
        await asyncio.sleep(0)

    person = Person(passphrases=[SECRET], before_answering=think)
    await asyncio.gather(ring.unlock(path, person), ring.unlock(path, person))
    assert len(person.asked) == 1
    assert ring.unlocked(path.read_bytes()) is not None


async def test_a_key_whose_file_was_changed_is_asked_for_again(ssh_home: SshHome) -> None:
    ssh_home.key(passphrase=SECRET)
    path, ring = ssh_home.ssh / "id_ed25519", KeyRing()
    await ring.unlock(path, Person(passphrases=[SECRET]))
    path.unlink()
    ssh_home.key(passphrase="other")
    assert ring.unlocked(path.read_bytes()) is None


async def test_unlocked_keys_do_not_show_in_what_is_printed(ssh_home: SshHome) -> None:
    ssh_home.key(passphrase=SECRET)
    ring = KeyRing()
    await ring.unlock(ssh_home.ssh / "id_ed25519", Person(passphrases=[SECRET]))
    assert repr(ring) == "KeyRing()"


async def test_a_certificate_beside_the_key_is_offered(
    ssh_home: SshHome, sshd: OpenSshServer
) -> None:
    public = ssh_home.key()
    ssh_home.key("authority")
    command = ["ssh-keygen", "-q", "-s", str(ssh_home.ssh / "authority"), "-I", "me", "-n", USER]
    subprocess.run([*command, str(ssh_home.ssh / "id_ed25519.pub")], check=True)
    authority = (ssh_home.ssh / "authority.pub").read_text()
    sshd.authorize(USER, f"cert-authority {authority}")
    await log_in(ssh_home, sshd)
    assert public.split()[1] not in (sshd.directory / "authorized_keys" / USER).read_text()
