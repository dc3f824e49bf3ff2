from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from tui.services.ssh.address import SshAddress, config_hosts, parse_ssh_name


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("gpu", SshAddress("gpu")),
        ("gpu-1.example.com", SshAddress("gpu-1.example.com")),
        ("root@10.0.0.5", SshAddress("10.0.0.5", "root")),
        ("root@10.0.0.5:2222", SshAddress("10.0.0.5", "root", 2222)),
        ("10.0.0.5:22", SshAddress("10.0.0.5", None, 22)),
        ("[::1]:2222", SshAddress("::1", None, 2222)),
        ("root@[2001:db8::1]:22", SshAddress("2001:db8::1", "root", 22)),
        ("::1", SshAddress("::1")),
        ("[::1]", SshAddress("::1")),
        ("fe80::1%eth0", SshAddress("fe80::1%eth0")),
        ("me@corp@bastion", SshAddress("bastion", "me@corp")),
        ("büro", SshAddress("büro")),
    ],
)
def test_a_name_is_taken_apart_as_ssh_does(name: str, address: SshAddress) -> None:
    assert parse_ssh_name(name) == address
    assert parse_ssh_name(address.name) == address


@pytest.mark.parametrize(
    "name",
    [
        "",
        "@host",
        "user@",
        "user@:22",
        ":22",
        "host:",
        "host:0",
        "host:65536",
        "host:٢٢",
        "host:22:22",
        "-oProxyCommand=touch /tmp/x",
        "-l@host",
        "user@-host",
        "a host",
        "host\n",
        "ho\x1b[31mst",
        "us er@host",
        "$(id)@host",
        "`id`",
        "host;id",
        "host|id",
        "*",
        "gpu?",
        "!gpu",
        "#gpu",
        "a,b",
        "host/path",
        "[::1",
        "[::1]x",
        "[gpu]:22",
        "::zz",
        "fe80::1%$(id)",
    ],
)
def test_what_no_machine_is_called_is_refused_with_an_example_of_what_is(name: str) -> None:
    with pytest.raises(InvalidInput, match="user@host:port") as refused:
        parse_ssh_name(name)
    assert "\x1b" not in str(refused.value)


def test_the_label_is_the_name_that_the_store_keeps() -> None:
    assert parse_ssh_name("root@[::1]:22").label == "ssh:root@[::1]:22"
    assert parse_ssh_name("[::1]").label == "ssh:::1"


def test_the_machines_of_a_configuration_are_those_without_patterns(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.conf").write_text("Host included\n  Include config\n")
    (tmp_path / "config").write_text(
        "# Host commented\n"
        "Host gpu gpu-2 *.example.com !gpu-3\n"
        "  HostName 10.0.0.5\n"
        "HOST=equals\n"
        "Host gpu\n"
        'Host "quoted"\n'
        'Host "unclosed\n'
        "Host -option\n"
        "Match host matched\n"
        "Include more/*.conf missing.conf\n"
    )
    assert config_hosts(tmp_path / "config") == ["gpu", "gpu-2", "equals", "quoted", "included"]


def test_a_configuration_that_is_missing_or_not_text_names_no_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_hosts() == []
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_bytes(b"\xff\xfe\x00Host\x00\nHost good\n")
    assert config_hosts() == ["good"]
    assert config_hosts(tmp_path) == []


def test_names_are_read_without_loading_ssh() -> None:
    script = (
        "import sys, tui.services.ssh.address, tui.services.ssh.asker\n"
        "sys.exit('asyncssh' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
