"""What the user has chosen about notifications; in the store, so that every process agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.errors import InvalidInput
from shared.notification import DEFAULT_KINDS, NotificationKind, QuietHours, quiet_hours
from shared.store.store_settings import StoreSettings

_KINDS = "notify_kinds"
_QUIET_HOURS = "notify_quiet_hours"
_TERMINAL = "notify_terminal"
_ALL, _NONE = "all", "none"


class TerminalNotice(StrEnum):
    """How an open console calls for attention."""

    DESKTOP = "desktop"
    """The bell, and a notification of the desktop where the terminal is known to make one."""
    BELL = "bell"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Choices:
    """As they hold now."""

    kinds: frozenset[NotificationKind] = DEFAULT_KINDS
    quiet_hours: QuietHours | None = None
    terminal: TerminalNotice = TerminalNotice.DESKTOP


async def load_choices(settings: StoreSettings) -> Choices:
    """What was chosen, or what is usual; a value of another version counts as not chosen.

    Raises:
        StoreError: the store cannot be read.
    """
    words = await settings.get(_KINDS, "")
    known = {kind.value for kind in NotificationKind}
    kinds = frozenset(NotificationKind(word) for word in words.split() if word in known)
    try:
        quiet = quiet_hours(await settings.get(_QUIET_HOURS, ""))
    except InvalidInput:
        quiet = None
    try:
        terminal = TerminalNotice(await settings.get(_TERMINAL, TerminalNotice.DESKTOP.value))
    except ValueError:
        terminal = TerminalNotice.DESKTOP
    return Choices(kinds if words else DEFAULT_KINDS, quiet, terminal)


async def choose_kinds(settings: StoreSettings, words: Sequence[str]) -> None:
    """Which kinds are told of; `all` and `none` stand alone.

    Raises:
        InvalidInput: a word that is no kind.
    """
    if tuple(words) == (_ALL,):
        words = [kind.value for kind in NotificationKind]
    elif tuple(words) != (_NONE,):
        known = [kind.value for kind in NotificationKind]
        for word in words:
            if word not in known:
                raise InvalidInput(f"{word!r} is no kind: {', '.join(known)}; or all, or none.")
    await settings.put(_KINDS, " ".join(words))


async def choose_quiet_hours(settings: StoreSettings, chosen: QuietHours | None) -> None:
    """None: at any hour."""
    await settings.put(_QUIET_HOURS, "" if chosen is None else str(chosen))


async def choose_terminal(settings: StoreSettings, chosen: TerminalNotice) -> None:
    """What an open console does."""
    await settings.put(_TERMINAL, chosen.value)
