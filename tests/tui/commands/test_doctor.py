from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from shared.redaction import SECRET_VARIABLES
from tests.tui.fake_agent import FakeAgent
from tests.tui.pty_process import PtyProcess
from tui import command_line
from tui.cli import run_app
from tui.commands.doctor import run_doctor
from tui.services.doctor import local_host
from tui.services.doctor.console import SETTINGS

CANARY = "canary-of-a-secret"
OTHER_SECRETS = (
    "SUPABASE_SECRET_KEY",
    "RUNPOD_POD_API_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "PIP_PASSWORD",
)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Brightrun = Callable[..., Outcome]


@pytest.fixture
def brightrun(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Brightrun:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RUNPOD_ENDPOINT_URL", raising=False)

    def run(*arguments: str) -> Outcome:
        return Outcome(run_app(command_line.app, list(arguments)), *capsys.readouterr())

    return run


def test_a_machine_that_is_ready_exits_with_0_and_nothing_is_made(
    brightrun: Brightrun, home: Path
) -> None:
    code, out, err = brightrun("doctor")

    assert (code, err) == (0, "")
    assert out.startswith("This console\n✓ Python ")
    assert "\nJobs on local\n" in out
    assert "\nJobs can run there; " in out
    assert not home.exists()


def test_as_json_it_is_data_only(brightrun: Brightrun) -> None:
    code, out, _ = brightrun("doctor", "--json")

    findings = json.loads(out)
    assert code == 0
    assert {"part", "check", "verdict", "found", "fix"} == set(findings[0])
    assert {finding["part"] for finding in findings} == {"console", "local"}


def test_a_failure_comes_with_its_fix_and_exits_with_1(
    brightrun: Brightrun, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    (home / "brightrun.db").write_bytes(b"no database" * 500)
    monkeypatch.setattr(local_host, "_TRAINER_MODULES", ("no_such_module",))

    code, out, _ = brightrun("doctor")

    assert code == 1
    assert "✗ database" in out
    assert "✗ training stack     missing: no_such_module" in out
    assert "› pip install 'brightrun[trainer]'" in out
    assert out.splitlines()[-1].startswith("2 failures, ")


def test_a_host_that_is_none_is_invalid_input(brightrun: Brightrun) -> None:
    code, _, err = brightrun("doctor", "--host", "mars")
    assert (code, "mars" in err) == (2, True)


def test_without_a_host_it_looks_at_where_jobs_run_by_default(
    brightrun: Brightrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNPOD_ENDPOINT_URL", "ssh://root@no-such-machine.invalid:1")
    code, out, _ = brightrun("doctor")
    assert code == 1
    assert "Jobs on ssh:root@no-such-machine.invalid:1" in out
    assert "✗ name" in out
    assert "- port               needs: name" in out


async def test_the_agent_that_runs_here_is_told(
    agent: FakeAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "0.0.1\x1b]52;c;cm0=\x07[red]\u202e"
    agent.health = {"version": evil, "pid": 7, "running": ["job-one"]}
    async with agent.running():
        await run_doctor("local", as_json=False)

    out, err = capsys.readouterr()
    assert "! agent              0.0.1[red] runs (pid 7), 1 job at work" in out
    assert not set(out + err) & {"\x1b", "\x07", "\u202e"}


def test_no_secret_is_shown_by_any_form_of_doctor_or_machines(
    brightrun: Brightrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {*SETTINGS, *SECRET_VARIABLES, *OTHER_SECRETS}:
        monkeypatch.setenv(name, f"{CANARY}-{name}")
    monkeypatch.setenv("PIP_INDEX_URL", f"https://user:{CANARY}@127.0.0.1:1/simple")

    shown = [
        brightrun(command, *arguments, *form)
        for command, *arguments in (["doctor"], ["machines"], ["doctor", "--host", "ssh:x.invalid"])
        for form in ([], ["--json"])
    ]

    assert all("HF_TOKEN" in outcome.out for outcome in (shown[0], shown[1]))
    for outcome in shown:
        assert outcome.out
        assert CANARY not in outcome.out + outcome.err
        assert str(len(f"{CANARY}-HF_TOKEN")) not in outcome.out.partition("secrets")[2][:300]


def test_a_terminal_without_utf8_gets_its_signs_in_ascii(tmp_path: Path, home: Path) -> None:
    script = tmp_path / "doctor.py"
    script.write_text("import sys; sys.argv = ['b', 'doctor']; import tui.cli; tui.cli.main()")
    with PtyProcess(script, PYTHONIOENCODING="ascii", HOME=str(tmp_path)) as process:
        code = process.wait()
        assert code == 0, process.output
        assert "v\x1b[0m Python" in process.output
        assert "\\u" not in process.output


def test_the_full_screen_console_does_not_load_the_doctor() -> None:
    script = "import sys, tui.app, tui.command_line; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "tui.services.doctor" not in done.stdout
    assert "asyncssh" not in done.stdout
