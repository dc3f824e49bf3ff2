from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from shared.errors import StoreError
from shared.store.schema import HEAD_REVISION
from shared.store.store import open_store
from tests.tui.pty_process import PtyProcess
from tui.config import Config
from tui.services.doctor import console
from tui.services.doctor.console import SETTINGS, ThisConsole

CANARY = "canary-value-of-a-secret"


@pytest.fixture
def this(tmp_path: Path) -> ThisConsole:
    config = Config(tmp_path / "home" / "brightrun", tmp_path / "agent")
    return ThisConsole(config, {}, tmp_path)


@pytest.fixture
def ssh(this: ThisConsole) -> Path:
    this.ssh_directory.mkdir(mode=0o700)
    return this.ssh_directory


def put(path: Path, text: str, mode: int) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


async def test_this_python_is_new_enough(this: ThisConsole) -> None:
    assert (await console.look_at_python(this)).verdict == "ok"


async def test_without_a_terminal_there_is_nothing_to_complain_of(this: ThisConsole) -> None:
    outcome = await console.look_at_terminal(this)
    assert (outcome.verdict, outcome.found) == ("ok", "none: the output goes elsewhere")


@pytest.mark.parametrize(
    ("term", "encoding", "verdict", "words"),
    [
        ("xterm-256color", "utf-8", "ok", "xterm-256color, 100x30, utf-8, colours: "),
        ("dumb", "utf-8", "warning", "Set TERM"),
        ("", "utf-8", "warning", "no TERM"),
        ("xterm", "latin-1", "warning", "C.UTF-8"),
    ],
)
def test_a_terminal_is_told_with_what_it_lacks(
    tmp_path: Path, term: str, encoding: str, verdict: str, words: str
) -> None:
    script = tmp_path / "look.py"
    script.write_text(
        "import asyncio, pathlib, sys\n"
        "from tui.config import Config\n"
        "from tui.services.doctor.console import ThisConsole, look_at_terminal\n"
        "here = pathlib.Path('.')\n"
        "this = ThisConsole(Config(here, here), {'TERM': sys.argv[1]}, here)\n"
        "print(asyncio.run(look_at_terminal(this)), 'that is all')\n"
    )
    with PtyProcess(script, term, PYTHONIOENCODING=encoding) as process:
        process.read_until("that is all")
        assert f"'{verdict}'" in process.output
        assert words in process.output


async def test_a_directory_that_is_not_there_is_not_made(this: ThisConsole) -> None:
    outcome = await console.look_at_directory(this)

    assert (outcome.verdict, "made at the first use" in outcome.found) == ("ok", True)
    assert not (this.config.home.parent).exists()


async def test_a_file_in_the_way_of_the_directory_is_named(this: ThisConsole) -> None:
    this.config.home.parent.write_text("")
    outcome = await console.look_at_directory(this)
    assert (outcome.verdict, "is no directory" in outcome.found) == ("failure", True)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
async def test_a_directory_that_cannot_be_written_is_a_failure(this: ThisConsole) -> None:
    this.config.home.parent.mkdir(mode=0o500)
    outcome = await console.look_at_directory(this)
    assert (outcome.verdict, "cannot be written" in outcome.found) == ("failure", True)


@pytest.mark.parametrize(("free", "verdict"), [(99_000_000, "failure"), (900_000_000, "warning")])
async def test_too_little_space_is_told(
    this: ThisConsole, monkeypatch: pytest.MonkeyPatch, free: int, verdict: str
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    assert (await console.look_at_directory(this)).verdict == verdict


async def test_a_database_is_looked_at_and_left_as_it_is(this: ThisConsole) -> None:
    assert (await console.look_at_database(this)).found == "none yet; made at the first use"
    assert not this.config.home.exists()
    async with open_store(this.config.database_path):
        pass
    before = sorted(this.config.home.iterdir())

    outcome = await console.look_at_database(this)

    assert (outcome.verdict, f"schema {HEAD_REVISION}" in outcome.found) == ("ok", True)
    assert sorted(this.config.home.iterdir()) == before


async def test_a_database_can_be_looked_at_while_another_console_writes(this: ThisConsole) -> None:
    async with open_store(this.config.database_path):
        raw = sqlite3.connect(this.config.database_path, isolation_level=None)
        raw.execute("BEGIN IMMEDIATE")
        assert (await console.look_at_database(this)).verdict == "ok"
        raw.close()


@pytest.mark.parametrize(
    ("revision", "verdict", "words"),
    [("0001", "ok", "brought up to date"), ("9999", "failure", "newer brightrun")],
)
async def test_another_schema_is_named(
    this: ThisConsole, revision: str, verdict: str, words: str
) -> None:
    async with open_store(this.config.database_path):
        pass
    with sqlite3.connect(this.config.database_path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    raw.close()

    outcome = await console.look_at_database(this)

    assert outcome.verdict == verdict
    assert words in outcome.found


async def test_a_damaged_database_is_told_with_the_next_step(this: ThisConsole) -> None:
    this.config.home.mkdir(parents=True)
    this.config.database_path.write_bytes(b"no database" * 500)
    with pytest.raises(StoreError, match="Move it aside"):
        await console.look_at_database(this)


async def test_the_installed_packages_are_compared_with_the_tested_ones(
    this: ThisConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "read_constraints", lambda: "httpx==0.0.1\n# rich==9\n")
    outcome = await console.look_at_packages(this)
    assert outcome.verdict == "warning"
    assert "(tested: 0.0.1)" in outcome.found


async def test_secrets_are_names_only(this: ThisConsole) -> None:
    set_names = ("HF_TOKEN", "RUNPOD_API_KEY")
    this = ThisConsole(this.config, dict.fromkeys(set_names, CANARY), this.user_home)

    outcome = await console.look_at_secrets(this)

    assert outcome.verdict == "ok"
    assert outcome.found.startswith("set: RUNPOD_API_KEY, HF_TOKEN; not set: TRAINING_WEBHOOK")
    assert CANARY not in outcome.found
    assert str(len(CANARY)) not in outcome.found
    everything = ThisConsole(this.config, dict.fromkeys(SETTINGS, CANARY), this.user_home)
    assert "not set" not in (await console.look_at_secrets(everything)).found


async def test_no_ssh_files_are_fine(this: ThisConsole) -> None:
    outcome = await console.look_at_ssh_files(this)
    assert outcome.found == "no ~/.ssh/config, 0 key files, no ssh-agent"


async def test_private_keys_are_counted_and_their_halves_are_not(
    this: ThisConsole, ssh: Path
) -> None:
    put(ssh / "id_ed25519", CANARY, 0o600)
    put(ssh / "id_ed25519.pub", "", 0o644)
    put(ssh / "work", CANARY, 0o600)
    put(ssh / "config", "Host a\n  IdentityFile ~/.ssh/work\n", 0o644)

    outcome = await console.look_at_ssh_files(this)

    assert (outcome.verdict, outcome.found) == ("ok", "~/.ssh/config, 2 key files, no ssh-agent")


@pytest.mark.parametrize("name", ["id_rsa", "elsewhere"])
async def test_a_private_key_that_others_can_read_is_named_with_the_fix(
    this: ThisConsole, ssh: Path, name: str
) -> None:
    put(ssh / "config", 'Host a\n  identityfile = "~/.ssh/elsewhere"\n', 0o600)
    put(ssh / name, CANARY, 0o640)

    outcome = await console.look_at_ssh_files(this)

    assert outcome.verdict == "warning"
    assert f"chmod 600 {ssh / name}" in outcome.fix
    assert CANARY not in json.dumps([outcome.found, outcome.fix])


async def test_a_configuration_that_others_can_write_is_told(this: ThisConsole, ssh: Path) -> None:
    put(ssh / "config", "Host a\n", 0o666)
    assert (await console.look_at_ssh_files(this)).verdict == "warning"
