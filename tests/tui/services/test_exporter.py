"""The export runs where trainers run, in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from shared.errors import InvalidInput, ProtocolError
from tui.services.exporter import ExportOptions, export_adapter, export_command

ECHO = "import json, sys; print(json.dumps(sys.argv[1:]), file=sys.stderr); {ending}"


def trainer_file(folder: Path, *command: str) -> Path:
    path = folder / "trainer.json"
    path.write_text(json.dumps({"command": command}))
    return path


def options(folder: Path) -> ExportOptions:
    return ExportOptions(folder / "adapter", folder / "merged", base="tiny")


def test_it_runs_with_our_own_python_where_nothing_else_is_named(tmp_path: Path) -> None:
    command = export_command(tmp_path / "trainer.json")
    assert command == [sys.executable, "-P", "-m", "agent.trainer.adapters.export"]


def test_it_runs_with_the_stack_that_trainers_of_this_machine_use(tmp_path: Path) -> None:
    named = trainer_file(tmp_path, "/stack/bin/python", "-P", "-m", "agent.trainer")
    assert export_command(named) == [
        "/stack/bin/python",
        "-P",
        "-m",
        "agent.trainer.adapters.export",
    ]


@pytest.mark.parametrize("content", ['{"command": ["./my-trainer"]}', "{}", "[]", "no json"])
def test_a_trainer_that_is_not_ours_is_not_asked_to_export(tmp_path: Path, content: str) -> None:
    path = tmp_path / "trainer.json"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=r"trainer\.json"):
        export_command(path)


async def test_the_result_is_what_the_process_prints(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = ECHO.format(ending='print(\'{"merged": "there"}\')')
    trainer_file(tmp_path, sys.executable, "-c", script, "agent.trainer")
    exported = await export_adapter(options(tmp_path), tmp_path)
    assert (exported.exit_code, exported.result) == (0, {"merged": "there"})
    arguments = json.loads(capfd.readouterr().err)
    assert arguments == [
        "agent.trainer.adapters.export",
        str(tmp_path / "adapter"),
        *("--merged", str(tmp_path / "merged")),
        *("--models", str(tmp_path / "models")),
        *("--base", "tiny"),
    ]


async def test_a_process_that_refuses_gives_its_exit_code(tmp_path: Path) -> None:
    trainer_file(tmp_path, sys.executable, "-c", ECHO.format(ending="sys.exit(6)"), "agent.trainer")
    exported = await export_adapter(options(tmp_path), tmp_path)
    assert (exported.exit_code, exported.result) == (6, None)


@pytest.mark.parametrize("ending", ["pass", "print('[1]')"])
async def test_a_process_without_a_result_is_an_error(tmp_path: Path, ending: str) -> None:
    trainer_file(tmp_path, sys.executable, "-c", ECHO.format(ending=ending), "agent.trainer")
    with pytest.raises(ProtocolError):
        await export_adapter(options(tmp_path), tmp_path)
