"""How a console calls for attention through its terminal: sequences that make a notification.

Pure. A terminal that is not known to understand one would print it, so it gets only the bell.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from shared.clean_text import clean_line

_LONGEST = 200
# By TERM_PROGRAM, then by TERM (2026-11): OSC 9 is iTerm2's, OSC 777 urxvt's.
_OSC_9_PROGRAMS = frozenset({"iTerm.app", "WezTerm", "ghostty", "WarpTerminal"})
_OSC_777_TERMS = ("foot", "rxvt-unicode", "xterm-kitty", "contour")
_OSC_9_TERMS = ("xterm-ghostty", "wezterm")


def can_ring(environ: Mapping[str, str] = os.environ) -> bool:
    """False on a terminal that is none, or too simple for anything."""
    return environ.get("TERM", "") not in ("", "dumb", "unknown")


def desktop_sequence(title: str, body: str, environ: Mapping[str, str] = os.environ) -> str:
    """What makes the terminal show a notification of the desktop; "" where none is known to."""
    term = environ.get("TERM", "")
    # A multiplexer stands in between: it would swallow the sequence, or show it.
    if not can_ring(environ) or "TMUX" in environ or term.startswith(("screen", "tmux")):
        return ""
    title, body = _without_semicolons(title), _without_semicolons(body)
    program = environ.get("TERM_PROGRAM", "")
    if program in _OSC_9_PROGRAMS or term.startswith(_OSC_9_TERMS):
        words = f"{title}: {body}" if body else title
        return f"\x1b]9;{words[:_LONGEST]}\x07"
    if term.startswith(_OSC_777_TERMS):
        return f"\x1b]777;notify;{title};{body}\x07"
    return ""


def _without_semicolons(text: str) -> str:
    """They part the fields; a number at the beginning of OSC 9 would be a command of ConEmu's."""
    return clean_line(text).replace(";", ",")[:_LONGEST]
