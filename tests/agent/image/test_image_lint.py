"""The Dockerfile and its scripts by the rules of others, and by a few of our own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.remote.sshd import NO_SSHD, SSHD, make_key

AGENT = Path(__file__).parents[3] / "agent"
DOCKERFILE = AGENT / "Dockerfile"
SCRIPTS = sorted((AGENT / "image").glob("*.sh"))


def linter(name: str) -> str:
    """Beside this Python, or on PATH."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}, which the extra `dev` brings")
    return found


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    command = [linter("hadolint"), "--no-color", "--failure-threshold", "style", str(DOCKERFILE)]
    found = subprocess.run(command, capture_output=True, text=True)
    assert (found.stdout + found.stderr, found.returncode) == ("", 0)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing_in_the_scripts(script: Path) -> None:
    found = subprocess.run([linter("shellcheck"), str(script)], capture_output=True, text=True)
    assert (found.stdout + found.stderr, found.returncode) == ("", 0)


def instructions() -> list[tuple[str, str]]:
    """(instruction, the rest) of each, lines joined."""
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, " ".join(rest.split())) for name, _, rest in (li.partition(" ") for li in lines)]


def all_of(name: str) -> list[str]:
    return [rest for each, rest in instructions() if each == name]


def test_the_base_is_pinned_and_its_digest_can_be() -> None:
    assert all_of("FROM") == ["nvidia/cuda:12.8.1-base-ubuntu24.04${BASE_DIGEST}"]
    assert 'BASE_DIGEST=""' in all_of("ARG")


def test_what_is_installed_comes_from_the_context_alone() -> None:
    assert {name for name, _ in instructions()}.isdisjoint({"ADD", "ENV", "SHELL"})
    copied = [rest.rpartition(" ")[0] for rest in all_of("COPY")]
    assert copied == [
        "image/system.sh",
        "image/environments.sh ${CODE}",
        "--chmod=755 image/start.sh",
    ]


def test_nothing_secret_is_asked_for_while_the_image_is_built() -> None:
    assert [rest.partition("=")[0] for rest in all_of("ARG")] == ["BASE_DIGEST", "CODE", "VERSION"]
    text = "".join(path.read_text() for path in [DOCKERFILE, *SCRIPTS])
    assert not re.search(r"RUNPOD_API_KEY|HF_TOKEN|PASSWORD=|SECRET", text)


def test_tini_is_the_first_process_and_takes_a_machines_own_command() -> None:
    assert all_of("ENTRYPOINT") == ['["/usr/bin/tini", "-g", "--"]']
    assert all_of("CMD") == ['["/start.sh"]']


def test_no_layer_keeps_apts_lists_or_host_keys_that_everybody_would_have() -> None:
    lines = (AGENT / "image" / "system.sh").read_text().splitlines()
    installed = next(at for at, line in enumerate(lines) if "apt-get install" in line)
    for line in ("rm -rf /var/lib/apt/lists/*", "rm -f /etc/ssh/ssh_host_*"):
        assert lines.index(line) > installed
    # One script, one layer: what a later one removes would still be in this one.
    assert all_of("RUN")[0] == "sh /tmp/image/system.sh"


@pytest.mark.skipif(SSHD is None, reason=NO_SSHD)
def test_sshd_takes_keys_and_nothing_else(tmp_path: Path) -> None:
    text = (AGENT / "image" / "system.sh").read_text()
    settings = text.partition("<<'CONFIG'\n")[2].partition("\nCONFIG")[0]
    make_key(tmp_path / "host_key")
    (tmp_path / "sshd_config").write_text(f"{settings}\nHostKey {tmp_path}/host_key\n")
    assert SSHD is not None
    told = subprocess.run(
        [SSHD, "-T", "-f", str(tmp_path / "sshd_config")], capture_output=True, text=True
    )
    assert told.stderr == ""
    for line in (
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "permitrootlogin without-password",
        "pubkeyauthentication yes",
        "allowstreamlocalforwarding yes",
        "x11forwarding no",
    ):
        assert line in told.stdout.splitlines()
