"""What can be typed behind `brightrun supabase`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

from typing import Annotated

import typer

from tui.command_options import AsJson, finish

supabase_app = typer.Typer(
    no_args_is_help=True,
    help="The web application's Supabase project: its tables, your login, and what is wrong. "
    "SUPABASE_URL and a key name the project.",
)

Schema = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Where our tables stand; else BRIGHTRUN_SUPABASE_SCHEMA, else public.",
        show_default=False,
    ),
]


@supabase_app.command("migrate")
def supabase_migrate(
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            metavar="URL",
            help="postgresql://USER@HOST:PORT/postgres, without the password, which is asked for "
            "or read from SUPABASE_DB_PASSWORD. Else SUPABASE_DB_URL, which may hold it.",
            show_default=False,
        ),
    ] = None,
    schema: Schema = None,
    print_sql: Annotated[
        bool,
        typer.Option("--print", help="Print the SQL, as for supabase/migrations/; change nothing."),
    ] = False,
) -> None:
    """Make or renew tables, rules and buckets, all or nothing. Safe to run again.

    Tables of the same names but of another shape are left alone: it refuses, and says why.
    """
    from tui.commands.supabase_migrate import print_migration, run_migration

    if print_sql:
        raise typer.Exit(print_migration(schema))
    finish(run_migration(database_url, schema))


@supabase_app.command("status")
def supabase_status(as_json: AsJson = False) -> None:
    """Show the project, with what right, what stands there, and how far behind it is."""
    from tui.commands.supabase_status import show_status

    finish(show_status(as_json=as_json))


@supabase_app.command("doctor")
def supabase_doctor(as_json: AsJson = False) -> None:
    """Check the connection, the rules and the limits, and say what mends them. Changes nothing."""
    from tui.commands.supabase_doctor import run_supabase_doctor

    finish(run_supabase_doctor(as_json=as_json))


@supabase_app.command("login")
def supabase_login(
    email: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Else SUPABASE_EMAIL, or it is asked for.")
    ] = None,
) -> None:
    """Log in as a user of the project; asks for the password, or reads SUPABASE_PASSWORD."""
    from tui.commands.supabase_login import log_user_in

    finish(log_user_in(email))


@supabase_app.command("logout")
def supabase_logout() -> None:
    """Forget the login of this machine, and end it at the project if that answers."""
    from tui.commands.supabase_login import log_user_out

    finish(log_user_out())
