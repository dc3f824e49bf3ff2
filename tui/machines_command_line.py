"""What can be typed behind `brightrun machines`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tui.command_options import AsJson, Job, ListsByDefault, Yes, finish

machines_app = typer.Typer(
    cls=ListsByDefault,
    help="Lists the machines that jobs run on, and ends rented ones. Without a command: list.",
)


@machines_app.command("list")
def machines_list(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[HOST]...", help="local or ssh:NAME; else all that are known."),
    ] = None,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Take up the jobs found there that this store lacks."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the machines: what is rented and what it costs, who answers, what runs there."""
    from tui.commands.machines import list_machines

    finish(list_machines(hosts or [], as_json=as_json, adopt=adopt))


@machines_app.command("end")
def machines_end(
    machine: Annotated[str, typer.Argument(metavar="MACHINE", help="Its name, id, or job.")],
    yes: Yes = False,
) -> None:
    """End a rented machine, and wait until its absence is proved."""
    from tui.commands.rented_machines import end_one

    finish(end_one(machine, yes=yes), STILL_PAID)


@machines_app.command("reap")
def machines_reap(yes: Yes = False) -> None:
    """End the machines with our mark that serve no job. Others are never touched."""
    from tui.commands.rented_machines import reap_orphans

    finish(reap_orphans(yes=yes), STILL_PAID)


@machines_app.command("rescue")
def machines_rescue(
    job: Job,
    to: Annotated[Path, typer.Option("--to", help="Directory that receives JOB/.")] = Path(
        "adapters"
    ),
    yes: Yes = False,
) -> None:
    """Rent the smallest machine without a GPU on a job's network volume, and fetch its adapter."""
    from tui.commands.rented_machines import rescue_adapter

    finish(rescue_adapter(job, to, yes=yes), STILL_PAID)


@machines_app.command("image")
def machines_image(
    tag: Annotated[
        str, typer.Option(metavar="REPO/NAME:TAG", help="What the image will be called.")
    ] = "ghcr.io/you/brightrun:latest",
    to: Annotated[
        Path, typer.Option("--to", help="Directory that receives what Docker builds from.")
    ] = Path("brightrun-image"),
    as_json: AsJson = False,
) -> None:
    """Print how to build an image with everything installed, push it, and rent with it."""
    from tui.commands.machines_image import print_image_steps

    raise typer.Exit(print_image_steps(tag, to, as_json=as_json))


STILL_PAID = "interrupted; `brightrun machines` shows what is still paid for."
