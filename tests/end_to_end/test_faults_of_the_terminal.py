"""Terminals that are tiny, know only ASCII, and send more than anybody types."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.terminal import Terminal
from tests.tui.local_console import Console

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
CTRL_Q = "\x11"
PASTE_BEGINS, PASTE_ENDS = "\x1b[200~", "\x1b[201~"
BOMB = "\x1b]52;c;QQ==\x07[red]‮" + "x" * 300_000


@pytest.mark.parametrize("encoding", [{}, ASCII], ids=["utf-8", "ascii"])
def test_a_tiny_terminal_and_a_paste_bomb_are_survived(
    tmp_path: Path, encoding: dict[str, str]
) -> None:
    console = Console(tmp_path)
    environ = {**console.environment, **encoding}
    with Terminal(environ, columns=100, lines=30) as terminal:
        terminal.until_seen("brightrun", "No jobs yet")
        terminal.resize(20, 5)
        terminal.press("n")
        terminal.until_seen("dataset")
        terminal.press(PASTE_BEGINS + BOMB + PASTE_ENDS)
        terminal.resize(100, 30)
        terminal.until_seen("New job", "were not pasted")
        terminal.resize(1, 1)
        terminal.resize(20, 5)
        terminal.press(CTRL_Q)
        assert terminal.until_gone() == 0
    assert b"\x1b]52" not in terminal.bytes
    if encoding:
        assert terminal.bytes.isascii()
