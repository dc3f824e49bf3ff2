"""`brightrun dataset list` and `forget`: the training files that were checked here."""

from __future__ import annotations

from typing import Any

from shared.clean_text import clean_line
from tui import exit_codes
from tui.commands.output import print_json, print_table, say, say_line
from tui.commands.terminal_session import open_terminal_session
from tui.services.dataset_registry import KnownFile, known_files
from tui.views.dataset_row import HASH_CHARACTERS, dataset_row

_HEADERS = (
    *("NAME", "HASH", "SIZE", "CONVERSATIONS", "TARGETS"),
    *("TOKENS", "FINDINGS", "CHECKED", "JOBS", "STATE"),
)


async def list_datasets(*, as_json: bool) -> int:
    """Print the registry, last checked first."""
    async with open_terminal_session() as session:
        found = await known_files(session.store)
    if as_json:
        print_json([_to_dict(known) for known in found])
    elif not found:
        say("no training files yet; `brightrun dataset check FILE` looks into one.")
    else:
        print_table(list(_HEADERS), [_row(known) for known in found], shrinking="NAME")
    return exit_codes.OK


async def forget_dataset(sha256: str) -> int:
    """Leave a file out of the registry; the file itself stays."""
    async with open_terminal_session() as session:
        file = await session.store.training_files.find(sha256)
        await session.store.training_files.forget(file.sha256)
    words = f"{file.name} ({file.sha256[:HASH_CHARACTERS]}) is forgotten; {file.path} stays."
    say_line(clean_line(words))
    return exit_codes.OK


def _row(known: KnownFile) -> list[str]:
    row = dataset_row(known)
    return [
        row.name,
        row.sha256[:HASH_CHARACTERS],
        row.size,
        row.conversations,
        row.targets,
        row.tokens,
        row.findings,
        row.checked,
        row.jobs,
        row.state,
    ]


def _to_dict(known: KnownFile) -> dict[str, Any]:
    jobs = [{"job_id": job.job_id, "name": job.name, "status": job.status} for job in known.jobs]
    return {**known.file.to_dict(), "state": known.state.value, "jobs": jobs}
