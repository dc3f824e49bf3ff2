"""Text that would harm a careless terminal, and a look at a screen for what it did."""

from __future__ import annotations

import unicodedata

from textual.app import App

MARKUP = "[/] [/some/path] [bold red]x[/] [@click=app.quit]quit[/] [link=http://x]l[/link] [bold"
CONTROL = "\x1b]52;c;aGk=\x07\x1b]0;title\x07\x1b[31m\x1b[2J\x9b5n\x00\x07\b\x7f\u202eevil\u2066"
HOSTILE = MARKUP + CONTROL

SEEN = "[@click=app.quit]quit[/]"
"""Part of it that is shown as it is, wherever there is room."""


def harm_on(app: App[object]) -> list[str]:
    """What foreign text did to the screen: control characters, or something clickable."""
    found = []
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            found += [
                f"{character!r} in {segment.text!r}"
                for character in segment.text
                if unicodedata.category(character) in {"Cc", "Cf", "Cs"}
            ]
            meta = segment.style.meta if segment.style is not None else {}
            if "quit" in str(meta.get("@click", "")) or (segment.style and segment.style.link):
                found.append(f"clickable: {segment.text!r}")
    return found
