"""`brightrun artifacts list` and `upload`: what of a job is in Supabase, and bringing it there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from shared.number_text import size
from shared.store.uploads import StoredUpload, UploadState
from tui import exit_codes
from tui.commands.output import print_json, print_table, say
from tui.commands.terminal_session import open_terminal_session
from tui.services.artifact_uploads.asked import Extra, upload_now
from tui.views.upload_lines import state_text, upload_lines

_HEADERS = ["FILE", "TYPE", "SIZE", "STATE", "SHA-256", "OBJECT"]


async def list_artifacts(job_id: str, *, as_json: bool) -> int:
    """Print the job's files and how far each is."""
    async with open_terminal_session() as session:
        job = await session.store.get_job(job_id)
        uploads = await session.store.uploads.of_job(job.job_id)
    if as_json:
        print_json([upload.to_dict() for upload in uploads])
        return exit_codes.OK
    if not uploads:
        say(
            f"nothing of {job.job_id} was uploaded, or waits to be: "
            f"`brightrun artifacts upload {job.job_id}`."
        )
        return exit_codes.OK
    print_table(_HEADERS, [_cells(each) for each in uploads], shrinking="OBJECT", numbers=["SIZE"])
    for reason in dict.fromkeys(upload.error for upload in uploads if upload.error):
        say(reason)
    return exit_codes.OK


async def upload_artifacts(job_id: str, extra: Extra, *, as_json: bool) -> int:
    """Upload now, and read back; the same again goes on where it stopped."""
    async with open_terminal_session() as session:
        job = await session.store.get_job(job_id)
        with _shown() as on_look:
            uploads = await upload_now(session, job, extra, on_look)
    if as_json:
        print_json([upload.to_dict() for upload in uploads])
    for line in upload_lines(uploads):
        say(line)
    refused = any(upload.state is UploadState.REFUSED for upload in uploads)
    return exit_codes.INTEGRITY if refused else exit_codes.OK


@contextmanager
def _shown() -> Iterator[Callable[[Sequence[StoredUpload]], None]]:
    """The latest look, in place, where a person watches."""
    if not sys.stderr.isatty():
        yield lambda uploads: None
        return
    with Live(console=Console(stderr=True), transient=True) as live:
        yield lambda uploads: live.update(Text("\n".join(upload_lines(uploads))))


def _cells(upload: StoredUpload) -> list[str]:
    return [
        upload.file_name,
        upload.artifact_type.value,
        size(upload.size_bytes),
        state_text(upload),
        upload.sha256[:12],
        upload.object_name,
    ]
