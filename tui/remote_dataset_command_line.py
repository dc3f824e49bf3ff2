"""What can be typed behind `brightrun dataset remote`; imports nothing early."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tui.command_options import AsJson, ListsByDefault, Model, finish

remote_app = typer.Typer(
    cls=ListsByDefault,
    help="The web application's training files, in Supabase. Without a command: list.",
)


@remote_app.command("list")
def remote_list(
    search: Annotated[
        str, typer.Argument(metavar="[SEARCH]", help="In name and description, or an id.")
    ] = "",
    page: Annotated[int, typer.Option(min=1, help="100 rows each, newest first.")] = 1,
    as_json: AsJson = False,
) -> None:
    """List the training files that you may see there."""
    from tui.commands.dataset_remote import list_remote

    finish(list_remote(search, page, as_json=as_json))


@remote_app.command("fetch")
def remote_fetch(
    file_id: Annotated[str, typer.Argument(metavar="ID", help="Its UUID.")],
    as_json: AsJson = False,
) -> None:
    """Bring a training file here, and print its path; called again, it goes on."""
    from tui.commands.dataset_remote import fetch_remote

    interrupted = "interrupted; the same command goes on where it stopped."
    finish(fetch_remote(file_id, as_json=as_json), interrupted)


@remote_app.command("register")
def remote_register(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .json or .jsonl file.")],
    name: Annotated[str, typer.Option(help="Else the file's.", show_default=False)] = "",
    description: Annotated[str, typer.Option(help="For people.", show_default=False)] = "",
    model: Model = "tiny",
    as_json: AsJson = False,
) -> None:
    """Check a local or merged file and put it there; again, it changes nothing."""
    from tui.commands.dataset_remote import register_file

    interrupted = "interrupted; the same command goes on where it stopped."
    finish(register_file(file, name, description, model, as_json=as_json), interrupted)
