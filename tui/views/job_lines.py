"""A job's events and its controller's ledger as lines in one order, and pairs as a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text

from shared.event_text import describe_event
from shared.events import JournalRecord
from shared.number_text import clock
from shared.rental import LedgerEntry
from tui.views.machine_lines import ledger_line

_CLOCK = len("15:04:05  ")


class JobLines:
    """What happened to one job so far, oldest first; a line of the ledger counts once."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self._ledger_seq = 0
        """Of the last line of the ledger that is among them."""

    def add(
        self, records: Iterable[JournalRecord], ledger: Iterable[LedgerEntry] = ()
    ) -> list[str]:
        """Take in what is new, in the order in which it happened; returns it."""
        unseen = [entry for entry in ledger if entry.seq > self._ledger_seq]
        if unseen:
            self._ledger_seq = unseen[-1].seq
        lines = [(item.time, f"{clock(item.time)}  {describe_event(item)}") for item in records]
        lines += [(item.time, ledger_line(item.message, item.level, item.time)) for item in unseen]
        fresh = [line for _, line in sorted(lines, key=lambda line: line[0])]
        self.shown += fresh
        return fresh


def event_style(line: str) -> str | None:
    """How a line of events is drawn; None as usual."""
    words = line[_CLOCK:]
    if words.startswith(("error:", "checkpoint refused")):
        return "red"
    if words.startswith(("warning:", "cancel requested", "resumed")):
        return "yellow"
    return "cyan" if words.startswith("rent:") else None


def latest_lines(lines: Sequence[str], count: int) -> Text:
    """The last of them, below an empty line."""
    shown = [line.replace("  ", " ", 1) for line in lines[-count:]]
    return Text("\n" + "\n".join(shown), no_wrap=True, overflow="ellipsis")


def pairs_text(pairs: Sequence[tuple[str, str]]) -> Text:
    """Names and values below each other."""
    width = max(len(name) for name, _ in pairs) + 2
    return Text("\n").join(
        Text.assemble((name.ljust(width), "dim"), value) for name, value in pairs
    )
