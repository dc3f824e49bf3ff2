"""What can be typed behind `brightrun artifacts`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from tui.command_options import AsJson, Job, ListsByDefault, Out, finish
from tui.commands.completion import complete_job_id

artifacts_app = typer.Typer(
    cls=ListsByDefault,
    help="Uploads adapters to the web application's storage, and hands them on. Completed jobs go "
    "up by themselves where Supabase is configured. Without a command: list.",
)

_GOES_ON = "interrupted; the same command goes on where it stopped."
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=365)

WebJob = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="A job's id, or the beginning of one; or its id in the web application.",
        autocompletion=complete_job_id,
    ),
]


def lifetime(text: str) -> timedelta:
    """`30m`, `12h`, `7d`.

    Raises:
        BadParameter: anything else, or more than a year.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text.strip())
    found = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < found <= _LONGEST:
        raise typer.BadParameter(f"{text!r} is none: write 30m, 12h or 7d, at most 365d.")
    return found


@artifacts_app.command("list")
def list_(job: Job, as_json: AsJson = False) -> None:
    """List what of a job is in Supabase, or on its way: state, hash, object."""
    from tui.commands.artifacts_upload import list_artifacts

    finish(list_artifacts(job, as_json=as_json))


@artifacts_app.command()
def upload(
    job: Job,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(metavar="STEP|DIR", help="A checkpoint of the job as well."),
    ] = None,
    merged: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The merged model as well, as `export` made it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Upload a job's adapter, log, metrics and report now, and read every byte back."""
    from tui.commands.artifacts_upload import upload_artifacts
    from tui.services.artifact_uploads.asked import Extra

    named = checkpoint or []
    extra = Extra(
        checkpoint_steps=tuple(int(name) for name in named if name.isdecimal()),
        checkpoints=tuple(Path(name) for name in named if not name.isdecimal()),
        merged=merged,
    )
    finish(upload_artifacts(job, extra, as_json=as_json), _GOES_ON)


@artifacts_app.command()
def download(
    job: WebJob,
    to: Annotated[Path, typer.Option("--to", help="Directory that receives JOB/.")] = Path(
        "adapters"
    ),
) -> None:
    """Download and verify an adapter from Supabase; called again, it goes on where it stopped."""
    from tui.commands.artifacts_download import download as download_artifacts

    finish(download_artifacts(job, to), _GOES_ON)


@artifacts_app.command()
def link(
    job: WebJob,
    file: Annotated[
        str, typer.Option("--file", metavar="NAME", help="As in `artifacts list`.")
    ] = "adapter_model.safetensors",
    expires: Annotated[
        str, typer.Option(metavar="TIME", help="How long it holds: 30m, 12h, 7d.")
    ] = "7d",
) -> None:
    """Make a link to one file; whoever has it can download the file until it expires."""
    from tui.commands.artifacts_download import make_link

    finish(make_link(job, file, lifetime(expires)))


@artifacts_app.command("zip")
def zip_(job: Job, out: Out) -> None:
    """Write a job's adapter and a README for its recipient into one file."""
    from tui.commands.artifacts_download import make_zip

    finish(make_zip(job, out))


@artifacts_app.command()
def unpack(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="A ZIP or tar file.")],
    to: Annotated[Path, typer.Option("--to", help="A new directory.")],
) -> None:
    """Unpack somebody's adapter; links, bombs, and what would leave the directory are refused."""
    from tui.commands.artifacts_download import unpack_archive

    finish(unpack_archive(archive, to))
