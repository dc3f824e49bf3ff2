"""`brightrun export` prints where the merged model is, and how faithful it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tui.commands.export import export
from tui.services.exporter import ExportOptions

RESULT: dict[str, Any] = {
    "merged": "/out/merged",
    "size_bytes": 141_107_412_992,
    "base": "tiny\x1b[2J",
    "logit_difference": 0.015625,
    "trainer_logit_difference": None,
    "same_tokens": 11,
    "positions": 12,
}


@pytest.fixture
def options(tmp_path: Path) -> ExportOptions:
    return ExportOptions(tmp_path / "adapter", tmp_path / "merged")


def exporter(home: Path, script: str) -> None:
    """A training stack whose export is this script."""
    root = home / "agent"
    root.mkdir(parents=True)
    command = [sys.executable, "-c", script, "agent.trainer"]
    (root / "trainer.json").write_text(json.dumps({"command": command}))


@pytest.mark.parametrize("more", [{}, {"gguf": "/out/m.gguf", "gguf_size_bytes": 2_000}])
async def test_the_result_is_told_in_words(
    home: Path, options: ExportOptions, capsys: pytest.CaptureFixture[str], more: dict[str, Any]
) -> None:
    exporter(home, f"import json; print(json.dumps({RESULT | more!r}))")
    assert await export(options, as_json=False) == 0
    out = capsys.readouterr().out
    assert "/out/merged (141.1 GB)" in out
    assert "0.01562 from base plus adapter in bf16" in out
    assert "11 of 12 tokens" in out
    assert "\x1b[2J" not in out
    assert ("/out/m.gguf (2.0 kB)" in out) == bool(more)


async def test_the_result_can_be_data(
    home: Path, options: ExportOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    exporter(home, f"import json; print(json.dumps({RESULT!r}))")
    assert await export(options, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == RESULT


@pytest.mark.parametrize(("status", "code"), [(2, 2), (6, 6), (1, 1), (139, 1)])
async def test_the_exit_code_says_what_kind_of_trouble_it_was(
    home: Path, options: ExportOptions, status: int, code: int
) -> None:
    exporter(home, f"import sys; sys.exit({status})")
    assert await export(options, as_json=False) == code


async def test_the_real_process_refuses_what_is_no_adapter(
    home: Path, options: ExportOptions, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await export(options, as_json=False) == 2
    said = capfd.readouterr().err.strip()
    assert said == f"{options.adapter}: is no adapter that brightrun fetch brought home."
