"""What can be typed behind `brightrun machines`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tui.command_options import AsJson, Job, Yes, finish


class _ListsByDefault(TyperGroup):
    """`brightrun machines ssh:gpu --json` means `brightrun machines list ssh:gpu --json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


machines_app = typer.Typer(
    cls=_ListsByDefault,
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


STILL_PAID = "interrupted; `brightrun machines` shows what is still paid for."
