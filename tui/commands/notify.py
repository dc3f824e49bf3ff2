"""`brightrun notify`: whom notifications go to, of what, and when."""

from __future__ import annotations

import asyncio
import sys
from getpass import getpass

from shared.errors import InvalidInput
from shared.notification import DEFAULT_KINDS, quiet_hours
from shared.number_text import date_and_clock
from shared.store.notifications import StoredNotification
from tui import exit_codes
from tui.commands.output import print_json, print_pairs, print_table, say, say_line
from tui.commands.terminal_session import interruptible, open_terminal_session
from tui.services.notify.choices import (
    Choices,
    TerminalNotice,
    choose_kinds,
    choose_quiet_hours,
    choose_terminal,
    load_choices,
)
from tui.services.notify.receivers import Receiver, add_receiver, receivers, remove_receiver
from tui.services.notify.sending import is_understood, send
from tui.services.notify.worker import CURSOR

_OPEN_ONES = (
    "A console or `brightrun serve` sends; one that is open now, and knew no receiver, begins with "
    "it when it is opened again."
)


async def list_receivers(*, as_json: bool) -> int:
    """Print receivers and choices."""
    async with open_terminal_session() as session:
        choices = await load_choices(session.store.settings)
        found = receivers(session.config.home)
    if as_json:
        shown = [
            {"receiver": each.shown, "is_from_environment": each.is_from_environment}
            for each in found
        ]
        print_json({"receivers": shown, **_plain(choices)})
        return exit_codes.OK
    if found:
        rows = [
            [str(number), each.shown, "environment" if each.is_from_environment else "file"]
            for number, each in enumerate(found, start=1)
        ]
        print_table(["N", "RECEIVER", "FROM"], rows, shrinking="RECEIVER")
    else:
        say("nobody outside is told; `brightrun notify add` asks for an address.")
    _print_choices(choices)
    return exit_codes.OK


async def add() -> int:
    """Read an address, check that it is understood, and keep it.

    Raises:
        InvalidInput: it is no address of a known service.
    """
    url = _read_address()
    async with open_terminal_session() as session:
        home = session.config.home
        if not is_understood(Receiver(url.strip())):
            raise InvalidInput(
                "apprise does not understand that address: a part is missing, or it is of no "
                "service that it knows. Its documentation shows the form of each."
            )
        had_some = bool(receivers(home))
        receiver = add_receiver(home, url)
        if not had_some:
            # What happened before is not told: the worker begins anew.
            await session.store.settings.put(CURSOR, "")
    say_line(f"{receiver.shown} is added; `brightrun notify test` sends a message. {_OPEN_ONES}")
    return exit_codes.OK


async def remove(number: int) -> int:
    """Forget one."""
    async with open_terminal_session() as session:
        receiver = remove_receiver(session.config.home, number)
    say_line(f"{receiver.shown} is removed.")
    return exit_codes.OK


async def send_test(number: int | None) -> int:
    """Send one message to each, and say what became of it."""
    async with open_terminal_session() as session:
        found = receivers(session.config.home)
    if not found:
        raise InvalidInput("there is no receiver; `brightrun notify add` asks for an address.")
    if number is not None:
        if not 1 <= number <= len(found):
            raise InvalidInput(f"receiver {number}: `brightrun notify list` has {len(found)}.")
        found = [found[number - 1]]
    body = "A test, sent with `brightrun notify test`."
    reasons = await asyncio.gather(*(send(each, "brightrun: test", body) for each in found))
    for receiver, reason in zip(found, reasons, strict=True):
        say_line(f"{receiver.shown}: {reason or 'taken'}")
    return exit_codes.JOB_FAILED if any(reasons) else exit_codes.OK


async def set_kinds(words: list[str]) -> int:
    """Choose, where any are given; then show all."""
    async with open_terminal_session() as session:
        if words:
            await choose_kinds(session.store.settings, words)
        choices = await load_choices(session.store.settings)
    _print_choices(choices)
    return exit_codes.OK


async def set_quiet_hours(hours: str, zone: str) -> int:
    """Choose; then show all."""
    chosen = None if hours == "off" else quiet_hours(f"{hours} {zone}")
    async with open_terminal_session() as session:
        await choose_quiet_hours(session.store.settings, chosen)
        choices = await load_choices(session.store.settings)
    _print_choices(choices)
    return exit_codes.OK


async def set_terminal(how: str) -> int:
    """Choose; then show all."""
    async with open_terminal_session() as session:
        await choose_terminal(session.store.settings, TerminalNotice(how))
        choices = await load_choices(session.store.settings)
    _print_choices(choices)
    return exit_codes.OK


async def show_history(lines: int, *, as_json: bool) -> int:
    """Print the latest events."""
    async with open_terminal_session() as session:
        found = await session.store.notifications.latest(lines)
    if as_json:
        print_json([_event(each) for each in found])
    elif not found:
        say("nothing yet; events are written down once there is a receiver.")
    else:
        rows = [
            [
                date_and_clock(each.notification.time),
                each.notification.kind.value,
                each.notification.title,
                each.state.value,
                each.error,
            ]
            for each in found
        ]
        print_table(["TIME", "KIND", "WHAT", "STATE", "ERROR"], rows, shrinking="WHAT")
    return exit_codes.OK


def _read_address() -> str:
    """Never from the command line: others on the machine can read that."""
    if sys.stdin.isatty():
        return interruptible(lambda: getpass("Address (not shown): ", stream=sys.stderr))
    return sys.stdin.readline()


def _print_choices(choices: Choices) -> None:
    print_pairs(
        [
            ("told of", ", ".join(sorted(choices.kinds)) or "nothing"),
            ("quiet hours", str(choices.quiet_hours or "none")),
            ("open console", choices.terminal.value),
        ]
    )
    if choices.kinds == DEFAULT_KINDS:
        say("these kinds are the usual ones; `brightrun notify kinds all` tells of everything.")


def _plain(choices: Choices) -> dict[str, object]:
    return {
        "kinds": sorted(choices.kinds),
        "quiet_hours": None if choices.quiet_hours is None else str(choices.quiet_hours),
        "terminal": choices.terminal.value,
    }


def _event(each: StoredNotification) -> dict[str, object]:
    one = each.notification
    return {
        "id": one.id,
        "kind": one.kind.value,
        "time": one.time.isoformat(),
        "title": one.title,
        "body": one.body,
        "job_id": one.job_id,
        "is_urgent": one.is_urgent,
        "state": each.state.value,
        "tries": each.tries,
        "error": each.error,
    }
