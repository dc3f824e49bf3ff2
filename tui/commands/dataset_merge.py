"""`brightrun dataset merge`: several training files as one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shared.clean_text import clean_line
from shared.dataset.merge import Merged, Place, merge
from shared.dataset.reader import open_training_file
from shared.number_text import many
from tui import exit_codes
from tui.commands.dataset_convert import print_notes
from tui.commands.output import print_json, say_line

_MOST_LINES = 20


def merge_files(paths: list[Path], out: Path, *, as_json: bool) -> int:
    """Write `out`, and say what was left out and what has another id now.

    Raises:
        InvalidInput: a file cannot be read, or `out` cannot be written.
    """
    merged = merge([open_training_file(path) for path in paths], out)
    if as_json:
        print_json({"files": [str(path) for path in paths], "written": str(out), **_json(merged)})
    else:
        _print(out, merged)
    return exit_codes.OK


def _print(out: Path, merged: Merged) -> None:
    say_line(
        f"{clean_line(str(out))}: {many(merged.conversations, 'conversation')}, "
        f"{many(merged.targets, 'target')}, "
        f"{many(len(merged.duplicates), 'duplicate')} left out."
    )
    _print_some(
        f"left out: {_words(duplicate.left_out)}, the same as {_words(duplicate.kept)}"
        for duplicate in merged.duplicates
    )
    _print_some(
        f"new id: {_words(renamed.place)} is now {clean_line(renamed.new_id)}"
        for renamed in merged.renamed
    )
    print_notes(list(merged.notes))


def _print_some(lines: Iterable[str]) -> None:
    for count, line in enumerate(lines):
        if count == _MOST_LINES:
            say_line("  ... and more: --json lists all.")
            return
        say_line(f"  {line}")


def _words(place: Place) -> str:
    return clean_line(f"{place.path}, {place.location}, {place.conversation_id}")


def _json(merged: Merged) -> dict[str, Any]:
    return {
        "conversations": merged.conversations,
        "targets": merged.targets,
        "duplicates": [
            {"left_out": _place(each.left_out), "kept": _place(each.kept)}
            for each in merged.duplicates
        ],
        "renamed": [{**_place(each.place), "new_id": each.new_id} for each in merged.renamed],
        "notes": list(merged.notes),
    }


def _place(place: Place) -> dict[str, str]:
    return {
        "file": str(place.path),
        "location": place.location,
        "conversation_id": place.conversation_id,
    }
