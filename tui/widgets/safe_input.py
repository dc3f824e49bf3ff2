"""Text fields that may hold foreign text: shown harmlessly, kept exactly.

The path of a file, or the notes of another job, can hold control sequences, which no widget strips.
Here every such character is drawn as a replacement character, while the value stays what it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rich.highlighter import Highlighter
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Paste
from textual.suggester import Suggester, SuggestionReady
from textual.widget import Widget
from textual.widgets import Input, TextArea

from shared.clean_text import clean

LONGEST_LINE = 4_096
"""Characters; the longest path of Linux."""
LONGEST_TEXT = 20_000

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

Complete = Callable[[str, Sequence[str]], str | None]
"""From what was typed and the known texts to a whole one that begins so; may block."""


def masked(text: str) -> str:
    """`text` with as many characters, none of which steers a terminal."""
    if clean(text) == text:
        return text
    return "".join(character if clean(character) else _REPLACEMENT for character in text)


class _Mask(Highlighter):
    """The one place where an `Input` lets its drawn text be another than its value."""

    def __call__(self, text: str | Text) -> Text:
        plain = text if isinstance(text, str) else text.plain
        return Text(masked(plain), no_wrap=True, overflow="ignore", end="")

    def highlight(self, text: Text) -> None:
        """Nothing but the mask."""


class SafeInput(Input):
    """A line of text."""

    def __init__(self, value: str = "", **options: Any) -> None:
        super().__init__(value, highlighter=_Mask(), compact=True, **options)

    def on_paste(self, event: Paste) -> None:
        _refuse_a_flood(self, event, LONGEST_LINE)


class SafeTextArea(TextArea):
    """Some lines of text."""

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        return Text(masked(line.plain), end="", no_wrap=True)

    def on_paste(self, event: Paste) -> None:
        _refuse_a_flood(self, event, LONGEST_TEXT)


def _refuse_a_flood(widget: Widget, event: Paste, most: int) -> None:
    """Millions of characters that were pasted by mistake would stop everything for minutes."""
    if len(event.text) > most:
        event.stop()
        event.prevent_default()
        words = f"{len(event.text):,} characters were not pasted: {most:,} are the most here."
        widget.notify(words, severity="warning", markup=False)


class PathInput(SafeInput):
    """A path that completes as in a shell; the arrow keys go through recent ones."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Complete or go on", show=False),
        Binding("down", "recent(1)", "Recent file", show=False),
        Binding("up", "recent(-1)", "Recent file", show=False),
    ]

    def __init__(self, value: str = "", *, complete: Complete, **options: Any) -> None:
        self.recent = RecentTexts()
        completer = _Completer(complete, self.recent)
        # One goes on typing a path more often than one begins again.
        super().__init__(value, suggester=completer, select_on_focus=False, **options)
        self._completion = ("", "")

    def on_suggestion_ready(self, event: SuggestionReady) -> None:
        if event.value == self.value:  # Threads may answer out of order.
            self._completion = (event.value, event.suggestion)

    def action_complete(self) -> None:
        """Take the suggestion if there is one, else go on to the next field."""
        of_value, completion = self._completion
        is_more = of_value == self.value and completion not in ("", self.value)
        if is_more and self.cursor_at_end:
            self.value = completion
            self.cursor_position = len(completion)
        else:
            self.screen.focus_next()

    def action_recent(self, direction: int) -> None:
        """Put the next recent path in place of what is there; at the ends, nothing happens."""
        text = self.recent.after(self.value, direction)
        if text is not None:
            self.value = text
            self.cursor_position = len(text)


class RecentTexts:
    """Texts to choose from, newest first; what was typed instead stands before them."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._typed: str | None = None

    def offer(self, texts: Sequence[str]) -> None:
        """Those that can be chosen from now on."""
        self.texts = list(dict.fromkeys(texts))

    def after(self, current: str, direction: int) -> str | None:
        """The text after (1) or before (-1) the current one; None at the ends."""
        if current not in self.texts:
            self._typed = current
        typed = [] if self._typed is None else [self._typed]
        choices = [*typed, *(text for text in self.texts if text != self._typed)]
        index = choices.index(current) + direction
        return choices[index] if 0 <= index < len(choices) else None


class _Completer(Suggester):
    """Asks `complete` in a thread."""

    def __init__(self, complete: Complete, recent: RecentTexts) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._complete = complete
        self._recent = recent

    async def get_suggestion(self, value: str) -> str | None:
        return await asyncio.to_thread(self._complete, value, tuple(self._recent.texts))
