"""A bar for those who wait at a terminal, and for nobody else."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from tui.commands.progress_bar import shown_progress


def shown(*moments: float, is_terminal: bool = True, name: str = "train.json") -> str:
    """What is printed where progress is told at these moments, in seconds."""
    output = StringIO()
    console = Console(file=output, force_terminal=is_terminal, width=100)
    clock = iter([0.0, *moments])
    with shown_progress(name, console=console, clock=lambda: next(clock)) as tell:
        for number, _ in enumerate(moments, start=1):
            tell(number * 1_000_000, 9_000_000)
    return output.getvalue()


def test_a_bar_is_shown_once_it_takes_long() -> None:
    assert "train.json" in shown(0.1, 0.6)
    assert "2.0/9.0 MB" in shown(0.1, 0.6)


def test_what_is_done_soon_needs_no_bar() -> None:
    assert shown(0.1, 0.2, 0.49) == ""


def test_nothing_is_shown_where_nobody_watches() -> None:
    assert shown(0.1, 5.0, is_terminal=False) == ""


def test_a_file_name_cannot_steer_the_terminal() -> None:
    text = shown(1.0, 2.0, name="[red]x[/]\x1b]52;c;aGk=\x07\u202e")

    assert "[red]x[/]" in text
    assert "\x1b]52" not in text and "\u202e" not in text
