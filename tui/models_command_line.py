"""What can be typed behind `brightrun models`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

from typing import Annotated

import typer

from tui.command_options import AsJson, ListsByDefault, Yes, finish

models_app = typer.Typer(help="Looks after the base models that machines keep.")
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
