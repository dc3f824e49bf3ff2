"""What can be typed behind `brightrun queue`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

from typing import Annotated

import typer

from tui.command_options import AsJson, Job, ListsByDefault, finish

queue_app = typer.Typer(
    cls=ListsByDefault,
    help="Lists the jobs that wait for their turn, and changes their order. Without a command: "
    "list.",
)


@queue_app.command("list")
def queue_list(as_json: AsJson = False) -> None:
    """List the jobs that wait, the next one first, and what each waits for."""
    from tui.commands.queue import list_queue

    finish(list_queue(as_json=as_json))


@queue_app.command("promote")
def queue_promote(job: Job) -> None:
    """Let a waiting job be the next one."""
    from tui.commands.queue import move_job

    finish(move_job(job, 1))


@queue_app.command("move")
def queue_move(
    job: Job,
    place: Annotated[int, typer.Argument(metavar="PLACE", help="1 is the next one.")],
) -> None:
    """Let a waiting job stand at another place in the line."""
    from tui.commands.queue import move_job

    finish(move_job(job, place))


@queue_app.command("limit")
def queue_limit(
    jobs: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Jobs at once, 1 to 20; else it is shown.")
    ] = None,
    per_host: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Jobs of the queue at once on one machine of yours; they share its GPU.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show or set how many jobs run at once: on rented machines, and on your own ones."""
    from tui.commands.queue import show_or_set_limit

    finish(show_or_set_limit(jobs, per_host))
