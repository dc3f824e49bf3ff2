"""What can be typed behind `brightrun notify`; imports nothing early, as `tui.command_line`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tui.command_options import AsJson, ListsByDefault, finish

notify_app = typer.Typer(
    cls=ListsByDefault,
    help="Who is told of a job's end, of budgets, of machines: Slack, Discord, e-mail, ntfy, "
    "webhooks and more. Without a command: list.",
)


@notify_app.command("list")
def notify_list(as_json: AsJson = False) -> None:
    """List the receivers, and what they are told when. No address is shown."""
    from tui.commands.notify import list_receivers

    finish(list_receivers(as_json=as_json))


@notify_app.command("add")
def notify_add() -> None:
    """Add a receiver. Its address (of the library apprise) is asked for, or read from stdin."""
    from tui.commands.notify import add

    finish(add())


@notify_app.command("remove")
def notify_remove(
    number: Annotated[int, typer.Argument(metavar="N", help="Its number in the list.")],
) -> None:
    """Remove a receiver."""
    from tui.commands.notify import remove

    finish(remove(number))


@notify_app.command("test")
def notify_test(
    number: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Only this receiver of the list.")
    ] = None,
) -> None:
    """Send one message to each receiver now. Exit 1 where one does not take it."""
    from tui.commands.notify import send_test

    finish(send_test(number))


@notify_app.command("kinds")
def notify_kinds(
    kinds: Annotated[
        list[str] | None, typer.Argument(metavar="[KIND...]", help="Or: all, none.")
    ] = None,
) -> None:
    """Show or set which kinds are told of."""
    from tui.commands.notify import set_kinds

    finish(set_kinds(kinds or []))


@notify_app.command("quiet")
def notify_quiet(
    hours: Annotated[str, typer.Argument(metavar="22:00-07:00", help="Or: off.")],
    zone: Annotated[
        str, typer.Option(help="Time zone, such as Europe/Berlin.", show_default=True)
    ] = "UTC",
) -> None:
    """Set quiet hours. A used-up budget, a question and a machine left running are told anyway."""
    from tui.commands.notify import set_quiet_hours

    finish(set_quiet_hours(hours, zone))


@notify_app.command("terminal")
def notify_terminal(
    how: Annotated[Literal["desktop", "bell", "off"], typer.Argument(help="How.")],
) -> None:
    """Set how an open console calls for attention: desktop (with the bell), bell, off."""
    from tui.commands.notify import set_terminal

    finish(set_terminal(how))


@notify_app.command("history")
def notify_history(
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List what happened last, and who was told of it."""
    from tui.commands.notify import show_history

    finish(show_history(lines, as_json=as_json))
