"""What can be typed behind `brightrun models`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.deployment import DeploymentStatus
from tui.command_options import AsJson, Job, ListsByDefault, Yes, finish
from tui.commands.completion import complete_version

models_app = typer.Typer(
    cls=ListsByDefault,
    help="Lists the adapters that jobs have made, as versions of models: compares them, says how "
    "far each is deployed, deletes them. `models cache` is about base models. Without a command: "
    "list.",
)
cache_app = typer.Typer(
    cls=ListsByDefault,
    help="Lists, fills and prunes the base models that a machine or a volume keeps quantised, so "
    "that the next job does not download them again. Without a command: list.",
)
models_app.add_typer(cache_app, name="cache")

Host = Annotated[
    str | None,
    typer.Option(help="local or ssh:NAME; else this machine.", show_default=False),
]
Volume = Annotated[
    str | None,
    typer.Option(
        metavar="ID|NAME",
        help="A network volume instead: the smallest machine is rented on it for the moment.",
    ),
]
HostKey = Annotated[
    str | None,
    typer.Option("--accept-host-key", metavar="SHA256:...", help="A host key to trust unasked."),
]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit; else the newest.", show_default=False)
]

_STAYS = (
    "interrupted; what is complete stays: the same command goes on from there. With --volume, "
    "`brightrun machines` shows what is still paid for."
)

Version = Annotated[
    str,
    typer.Argument(
        metavar="NAME[:VERSION]",
        help="Such as empathy:3; without a version the newest.",
        autocompletion=complete_version,
    ),
]
Versions = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME[:VERSION]...", help="Two to four.", autocompletion=complete_version
    ),
]
Why = Annotated[str, typer.Option("--why", metavar="REASON", help="Kept in the history.")]


@models_app.command("list")
def models_list(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only of models whose name has this.")
    ] = None,
    status: Annotated[
        list[DeploymentStatus] | None, typer.Option(help="Only these; give it again for more.")
    ] = None,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Also those whose files were deleted.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List all versions by model, the newest first: status, job, losses, cost, size, upload."""
    from tui.commands.models_list import ListOptions, list_versions

    options = ListOptions(name or "", tuple(status or ()), deleted, as_json)
    finish(list_versions(options))


@models_app.command("show")
def models_show(version: Version, as_json: AsJson = False) -> None:
    """Show one version: what it was made of, its figures, where its files are, its history."""
    from tui.commands.models_list import show_version

    finish(show_version(version, as_json=as_json))


@models_app.command("history")
def models_history(
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME[:VERSION]]",
            help="Of one version, or of all of one model; else of all.",
            autocompletion=complete_version,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List who moved, named or deleted versions, when and why; the oldest change first."""
    from tui.commands.models_list import show_history

    finish(show_history(version, as_json=as_json))


@models_app.command("promote")
def models_promote(
    version: Version,
    status: Annotated[DeploymentStatus, typer.Argument(metavar="STATUS")],
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Give a version another status: stored, testing, production, archived.

    Production is closed until there is an evaluation that a version has to pass.
    """
    from tui.commands.models_change import move

    finish(move(version, status, why, as_json=as_json))


@models_app.command("archive")
def models_archive(version: Version, why: Why = "", as_json: AsJson = False) -> None:
    """Say that a version is not used any more; its files stay."""
    from tui.commands.models_change import move

    finish(move(version, DeploymentStatus.ARCHIVED, why, as_json=as_json))


@models_app.command("name")
def models_name(
    job: Job,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits and - . _ alone.")],
    why: Why = "",
) -> None:
    """Make a job's adapter the next version of another model; so are retries of the job then."""
    from tui.commands.models_change import rename

    finish(rename(job, name, why))


@models_app.command("compare")
def models_compare(
    versions: Versions,
    curves: Annotated[
        bool, typer.Option("--curves/--no-curves", help="Draw the curves over each other.")
    ] = True,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write the table to a new file as well."),
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(
            "--metrics", metavar="FILE", help="Write each step to a new .csv or .json as well."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare versions side by side: settings that differ, figures, cost, files, curves."""
    from tui.commands.models_compare import CompareOptions, compare

    finish(compare(versions, CompareOptions(curves, csv, metrics, as_json)))


@models_app.command("delete")
def models_delete(
    version: Version, why: Why = "", yes: Yes = False, as_json: AsJson = False
) -> None:
    """Remove a version's files here and in Supabase; what it was stays written down."""
    from tui.commands.models_change import delete

    finish(delete(version, why, yes=yes, as_json=as_json), "interrupted; delete it once more.")


@cache_app.command("list")
def cache_list(
    host: Host = None,
    volume: Volume = None,
    accept_host_key: HostKey = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """List the copies: model, revision, size, when it was last used, whether it is complete."""
    from tui.commands.models_cache import CacheWhere, list_models

    where = CacheWhere(host, volume, accept_host_key, yes)
    finish(list_models(where, as_json=as_json), _STAYS)


@cache_app.command("fill")
def cache_fill(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model id of the hub.")],
    revision: Revision = None,
    host: Host = None,
    volume: Volume = None,
    accept_host_key: HostKey = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make a quantised copy of a base model; called again, it goes on where it stopped."""
    from tui.commands.models_cache import CacheWhere, fill_model

    where = CacheWhere(host, volume, accept_host_key, yes)
    finish(fill_model(model, revision, where, as_json=as_json), _STAYS)


@cache_app.command("prune")
def cache_prune(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Only copies of this one.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Only this commit, or what was asked for then.")
    ] = None,
    older_than: Annotated[
        float | None,
        typer.Option(metavar="DAYS", min=0, help="Only what was not used for so long."),
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Only what is not complete.")] = False,
    host: Host = None,
    volume: Volume = None,
    accept_host_key: HostKey = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove copies. What goes, and how much that frees, is shown first."""
    from tui.commands.models_cache import CacheWhere, prune_models
    from tui.services.model_cache.cache import PruneWanted

    where = CacheWhere(host, volume, accept_host_key, yes)
    wanted = PruneWanted(model, revision, older_than, partial)
    finish(prune_models(wanted, where, as_json=as_json), _STAYS)
