"""`brightrun dataset convert`: a training file in another form."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from shared.clean_text import clean_line
from shared.dataset.convert import Converted, Form, write_converted
from shared.dataset.reader import open_training_file
from shared.number_text import many
from tui import exit_codes
from tui.commands.output import print_json, say_line

_ROWS = {Form.OPENAI: "line", Form.LLAMA3: "text"}


def convert_file(path: Path, form: str, out: Path, *, as_json: bool) -> int:
    """Write `out`, and say what is in it and what is not.

    Raises:
        InvalidInput: the file cannot be read or said in that form, or `out` cannot be written.
    """
    converted = write_converted(open_training_file(path), out, Form(form))
    if as_json:
        print_json(
            {
                "file": str(path),
                "written": str(out),
                "form": form,
                "conversations": converted.conversations,
                "targets": converted.targets,
                "rows": converted.rows,
                "notes": converted.notes,
            }
        )
    else:
        _print(out, Form(form), converted)
    return exit_codes.OK


def _print(out: Path, form: Form, converted: Converted) -> None:
    say_line(
        f"{clean_line(str(out))}: {many(converted.conversations, 'conversation')}, "
        f"{many(converted.targets, 'target')}, {many(converted.rows, _ROWS.get(form, 'turn'))}."
    )
    print_notes(converted.notes)


def print_notes(notes: list[str]) -> None:
    """What was lost or missing, a line each."""
    for note in notes:
        say_line(Text(f"  {clean_line(note)}", style="dim"))
