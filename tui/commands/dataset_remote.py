"""`brightrun dataset remote`: the web application's training files, listed, fetched, registered."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

from shared.number_text import many, number, size
from tui import exit_codes
from tui.commands.output import print_json, print_table, say
from tui.commands.progress_bar import shown_progress
from tui.commands.terminal_session import open_terminal_session
from tui.services.dataset_check import CheckSettings
from tui.services.web_file_registration import register_training_file
from tui.services.web_file_rows import RemoteFile
from tui.services.web_files import FetchedFile, fetch, list_training_files
from tui.views.remote_file_row import remote_file_row

_HEADERS = ["ID", "NAME", "CONVERSATIONS", "PAIRS", "SIZE", "STATUS", "CREATED", "HERE"]


async def list_remote(search: str, page: int, *, as_json: bool) -> int:
    """Print one page."""
    async with open_terminal_session() as session:
        found = await list_training_files(session, search, page)
        here = await session.store.web_files.all()
    if as_json:
        print_json(
            {
                "total": found.total,
                "page": found.page,
                "pages": found.pages,
                "files": [file.to_dict() for file in found.files],
            }
        )
        return exit_codes.OK
    if not found.files:
        say("no training file there that you may see" + (" fits." if search else "."))
        return exit_codes.OK
    rows = [remote_file_row(file, here.get(file.id)) for file in found.files]
    cells = [list(astuple(row)) for row in rows]
    print_table(_HEADERS, cells, "NAME", numbers=("CONVERSATIONS", "PAIRS", "SIZE"))
    if found.pages > 1:
        say(f"page {found.page} of {found.pages}, {many(found.total, 'file')}; --page shows more.")
    return exit_codes.OK


async def fetch_remote(file_id: str, *, as_json: bool) -> int:
    """Download and verify; the path goes to stdout."""
    async with open_terminal_session() as session:
        with shown_progress("fetching the training file") as told:
            fetched = await fetch(session, file_id, told)
    for line in fetched_in_words(fetched):
        say(line)
    if as_json:
        print_json({"path": str(fetched.path), "sha256": fetched.sha256, **_plain(fetched.remote)})
    else:
        print(fetched.path)
    return exit_codes.OK


async def register_file(
    path: Path, name: str, description: str, model: str, *, as_json: bool
) -> int:
    """Check, upload, and write its row; the row's id goes to stdout."""
    async with open_terminal_session() as session:
        with shown_progress("uploading the training file") as told:
            made = await register_training_file(
                session,
                path.expanduser(),
                name,
                description,
                settings=CheckSettings(model),
                on_progress=told,
            )
    what = "was there already" if made.was_there else "is there now, read back and verified"
    say(f"{made.remote.name} {what}; its id:")
    if as_json:
        print_json(_plain(made.remote))
    else:
        print(made.remote.id)
    return exit_codes.OK


def fetched_in_words(fetched: FetchedFile) -> list[str]:
    """What there is to say of it."""
    remote = fetched.remote
    lines = []
    if fetched.earlier is not None:
        lines.append(
            f"{remote.name} has changed in the web application since it was fetched on "
            f"{fetched.earlier.fetched_at:%Y-%m-%d}: sha256 {fetched.earlier.sha256[:12]} is "
            f"{fetched.sha256[:12]} now. Jobs that were started keep the earlier content."
        )
    if fetched.was_here:
        lines.append(f"{remote.name} is here already, unchanged.")
    elif remote.sha256 is None:
        lines.append(
            f"its row has no hash to compare with: {number(fetched.path.stat().st_size, ',')} "
            f"bytes, sha256 {fetched.sha256[:12]}, as they came."
        )
    else:
        lines.append(f"{size(fetched.path.stat().st_size)}, and its hash holds.")
    return lines


def _plain(remote: RemoteFile) -> dict[str, object]:
    return {"file": remote.to_dict()}
