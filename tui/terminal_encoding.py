"""Keeps the screen in shape on a terminal that is not UTF-8.

Python would write `\\u2501` for a line that such a terminal does not know, and six characters in
the place of one push everything aside. Here each becomes one character of ASCII that means the
same.
"""

from __future__ import annotations

import codecs
import sys

_ERRORS = "brightrun-ascii"
_SUBSTITUTES = str.maketrans("━─╸╺╌┅│▏┃▌▐█▀▄✓✗●◑◔○–…“”‘’›·▲▼◆", "----==||||####vx@@@o-.\"\"''>.^v*")


def is_unicode(encoding: str | None) -> bool:
    """True for a terminal that takes every character."""
    try:
        return codecs.lookup(encoding or "ascii").name.startswith("utf")
    except LookupError:
        return False


def substitute_on(*streams: object) -> None:
    """Have what a stream cannot encode written as a single ASCII character."""
    codecs.register_error(_ERRORS, _replace)
    for stream in streams:
        encoding = getattr(stream, "encoding", None)
        if not is_unicode(encoding) and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    ascii_only = "".join(
        character if character.isascii() else "?" for character in text.translate(_SUBSTITUTES)
    )
    return ascii_only, error.end


def terminal_is_unicode() -> bool:
    """What Textual draws on."""
    return is_unicode(getattr(sys.__stderr__, "encoding", None))
