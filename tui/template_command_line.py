"""What can be typed behind `brightrun template`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tui.command_options import AsJson, Settings, finish
from tui.commands.completion import complete_job_id

template_app = typer.Typer(
    no_args_is_help=True,
    help="Settings under a name, for jobs that are to begin with them.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the template.")]


@template_app.command("save")
def template_save(
    name: Name,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="JOB",
            autocompletion=complete_job_id,
            help="The job whose settings are kept, those of its rented machine included.",
        ),
    ] = None,
    preset: Annotated[
        Literal["conservative", "balanced", "aggressive"] | None,
        typer.Option(help="Starting point."),
    ] = None,
    set_: Settings = None,
    model: Annotated[str | None, typer.Option(help="Base model, as for `start`.")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a model of the hub.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; give it again for more.")] = None,
    notes: Annotated[str | None, typer.Option(help="Free text, kept with each job.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also where there is one of that name.")
    ] = False,
) -> None:
    """Keep the settings of a job, or those that are typed, under a name."""
    from tui.commands.template import TemplateOptions, save

    tags = None if tag is None else tuple(tag)
    settings = tuple(set_ or ())
    options = TemplateOptions(from_, settings, preset, model, revision, tags, notes, replace)
    finish(save(name, options))


@template_app.command("list")
def template_list(as_json: AsJson = False) -> None:
    """List the templates."""
    from tui.commands.template import list_all

    finish(list_all(as_json=as_json))


@template_app.command("show")
def template_show(name: Name, as_json: AsJson = False) -> None:
    """Show what is in a template."""
    from tui.commands.template import show

    finish(show(name, as_json=as_json))


@template_app.command("delete")
def template_delete(name: Name) -> None:
    """Forget a template; jobs that began with it stay as they are."""
    from tui.commands.template import delete

    finish(delete(name))
