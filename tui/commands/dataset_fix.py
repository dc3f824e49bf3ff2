"""`brightrun dataset fix`: a repaired copy of a training file, with a list of what was repaired."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.text import Text

from shared.clean_text import clean_line
from shared.dataset.repair.log import Repair
from shared.dataset.repair.repair import Repaired, repair
from shared.number_text import many
from tui import exit_codes
from tui.commands.output import print_json, say_line

_WORDS = {
    "encoding": "encoding",
    "trailing_text": "text behind the JSON",
    "literal_newline": "literal \\n",
    "metadata_count": "counts in the metadata",
    "cut_target": "cut targets taken out",
}
"""Kind of repair -> for people."""


def fix_file(path: Path, out: Path, *, exclude_cut: bool, as_json: bool) -> int:
    """Write `out` if there is anything to repair, and list it.

    Raises:
        InvalidInput: the file is broken otherwise, or `out` cannot be written.
    """
    repaired = repair(path, out, exclude_cut=exclude_cut)
    if as_json:
        print_json(
            {
                "file": str(path),
                "written": str(out) if repaired.is_written else None,
                **asdict(repaired),
            }
        )
    else:
        _print(path, out, repaired)
    return exit_codes.OK


def _print(path: Path, out: Path, repaired: Repaired) -> None:
    for each in repaired.repairs:
        say_line(_line(each))
    if unlisted := sum(repaired.counts.values()) - len(repaired.repairs):
        say_line(f"... and {unlisted} more.")
    if repaired.is_written:
        counts = ", ".join(f"{_WORDS[what]}: {count}" for what, count in repaired.counts.items())
        conversations = many(repaired.conversations, "conversation")
        holds = f"{conversations}, {many(repaired.targets, 'target')}"
        say_line(f"{clean_line(str(out))}: {counts}; it holds {holds}.")
    else:
        say_line(f"{clean_line(str(path))}: nothing to repair; nothing was written.")
    if repaired.remaining:
        say_line(
            Text(
                f"Not readable, and left as it was: {many(repaired.remaining, 'place')}; "
                "`brightrun dataset check` shows where.",
                style="yellow",
            )
        )


def _line(each: Repair) -> Text:
    places = f" and {many(each.places - 1, 'more place')}" if each.places > 1 else ""
    return Text.assemble(
        f"{clean_line(each.location)}{places}: {_WORDS[each.what]}: ",
        (f"«{_shown(each.before)}»", "red"),
        " → ",
        (f"«{_shown(each.after)}»", "green"),
    )


def _shown(text: str) -> str:
    """On one line; line breaks, which are what it is about, as arrows."""
    return clean_line(text.replace("\n", " ⏎ "))
