"""What can be typed behind `brightrun costs`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from tui.command_options import AsJson, finish


class _ShowsByDefault(TyperGroup):
    """`brightrun costs --days 7` means `brightrun costs show --days 7`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)


costs_app = typer.Typer(
    cls=_ShowsByDefault,
    help="What rented machines and volumes have cost, and the monthly limit. "
    "Without a command: show.",
)


@costs_app.command("show")
def costs_show(
    days: Annotated[
        int, typer.Option(min=1, max=366, help="So many last days (UTC), today included.")
    ] = 30,
    by: Annotated[
        Literal["day", "job", "gpu", "tag"], typer.Option(help="What each row stands for.")
    ] = "day",
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="Also a new file with one row for each day and job; - writes it to stdout alone.",
        ),
    ] = None,
    reconcile: Annotated[
        bool, typer.Option("--reconcile", help="Ask the provider for its bill first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the costs of the last days, this month's limit, and how good estimates were."""
    from tui.commands.costs import CostOptions, show_costs

    finish(show_costs(CostOptions(days, by, csv, as_json, reconcile)))


@costs_app.command("limit")
def costs_limit(
    usd: Annotated[
        str | None, typer.Argument(metavar="[USD]", help="The new limit; else it is shown.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show or set what a calendar month (UTC) may cost. Machines that run are never ended by it."""
    from tui.commands.costs import set_limit, show_limit

    finish(show_limit(as_json=as_json) if usd is None else set_limit(usd, as_json=as_json))


@costs_app.command("overrides")
def costs_overrides(as_json: AsJson = False) -> None:
    """List who spent beyond the monthly limit, and the reasons that were given."""
    from tui.commands.costs import list_overrides

    finish(list_overrides(as_json=as_json))
