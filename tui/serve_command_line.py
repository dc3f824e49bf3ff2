"""What can be typed behind `brightrun serve`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

from typing import Annotated

import typer

from tui.command_options import AsJson, finish

serve_app = typer.Typer(
    invoke_without_command=True,
    help="Drive rented jobs without a screen, until a signal: for systemd. Leaving it stops no "
    "job. With --api it serves the web application's API as well.",
)
token_app = typer.Typer(help="Bearer tokens of the web application's API.")
serve_app.add_typer(token_app, name="token")


@serve_app.callback()
def serve(
    context: typer.Context,
    api: Annotated[
        bool, typer.Option("--api", help="Serve the web application's API as well.")
    ] = False,
    host: Annotated[
        str, typer.Option(help="With --api: the address; others than this machine's need TLS.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="With --api: the port; 0 for any that is free.")
    ] = 8787,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="With --api: a web page's origin that may call it, such as "
            "https://app.example.com; give it again for more. Else none may.",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="With --api: a name by which it is asked for, as behind a reverse proxy.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="With --api: the base model where a request names none; else Llama 3 70B.",
            show_default=False,
        ),
    ] = None,
    job_budget: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            min=0.01,
            help="With --api: the most that one rented job may cost; else what its hours cost.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Options of `serve` itself."""
    if context.invoked_subcommand is not None:
        return
    from tui.commands.serve import ApiOptions
    from tui.commands.serve import serve as run

    options = ApiOptions(
        host,
        port,
        tuple(allow_origin or ()),
        tuple(allow_host or ()),
        model,
        job_budget,
    )
    finish(run(options if api else None))


@token_app.command("create")
def token_create(
    name: Annotated[str, typer.Argument(help="Who will use it.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="jobs:read (the default) or jobs:write; give it again for both."),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            metavar="UUID",
            help="For this user's jobs alone, by their id in Supabase; else for all jobs.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it. It is shown this once; only its hash is kept."""
    from tui.commands.serve_token import create_token

    finish(create_token(name, scope or ["jobs:read"], user, as_json=as_json))


@token_app.command("list")
def token_list(as_json: AsJson = False) -> None:
    """List the tokens: names, scopes, users, when they were last used."""
    from tui.commands.serve_token import list_tokens

    finish(list_tokens(as_json=as_json))


@token_app.command("revoke")
def token_revoke(name: Annotated[str, typer.Argument(help="As `list` shows it.")]) -> None:
    """Let nobody in with a token any more, from the next request on."""
    from tui.commands.serve_token import revoke_token

    finish(revoke_token(name))
