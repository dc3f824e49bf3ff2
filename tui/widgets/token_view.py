"""Draws a conversation as the model will see it; only the lines in sight are made into strips."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style

from shared.dataset.token_view import ConversationView
from tui.views.token_text import Detail, Line, Look, Span, lay_out

_LOOKS = {
    Look.CONTEXT: "$text",
    Look.TRAINED: "bold $text-success",
    Look.SPECIAL: "$background on $foreground 50%",
    Look.TRAINED_SPECIAL: "reverse $text-success",
    Look.NOT_FED: "italic $foreground 60%",
    Look.MARK: "$foreground 50%",
}
_CUT = "strike $text-error"
_ODD = "on $primary 30%"


def legend() -> Content:
    """What each look means."""
    return Content("  ").join(
        [
            Content.styled("context", _LOOKS[Look.CONTEXT]),
            Content.styled("trained", _LOOKS[Look.TRAINED]),
            Content.styled("<|control|>", _LOOKS[Look.SPECIAL]),
            Content.styled("cut off", _CUT),
            Content.styled("not fed", _LOOKS[Look.NOT_FED]),
        ]
    )


class TokenView(ScrollView, can_focus=True):
    """One conversation at a time."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"token-view--match", "token-view--current-match"}
    DEFAULT_CSS = """
    TokenView {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        & > .token-view--match { background: $warning 25%; color: $text; text-style: underline; }
        & > .token-view--current-match { background: $warning; color: $background; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.detail = Detail.TEXT
        self._view: ConversationView | None = None
        self._pattern: re.Pattern[str] | None = None
        self._lines: list[Line] = []
        self._laid_out_for = 0
        self._matches: list[tuple[int, int, int]] = []
        """(line, start, end) in characters."""
        self._current = 0
        self._styles: dict[tuple[Look, bool, bool], RichStyle] = {}

    @property
    def lines(self) -> list[str]:
        """All lines, as they are drawn."""
        return [_text(line) for line in self._lines]

    @property
    def match_count(self) -> int:
        return len(self._matches)

    # --- what is shown ------------------------------------------------------------------------

    def show(self, view: ConversationView, pattern: re.Pattern[str] | None = None) -> None:
        """Another conversation, from its first line or its first match on."""
        is_same = self._view is not None and self._view.conversation is view.conversation
        place = self._relative_place if is_same else 0.0
        self._view, self._pattern = view, pattern
        self._lay_out()
        if self._matches and not is_same:
            self._go_to_match(0)
        else:
            self._go_to(round(place * len(self._lines)))

    def show_detail(self, detail: Detail) -> None:
        """The same text, with more or less told of its tokens."""
        place = self._relative_place
        self.detail = detail
        self._lay_out()
        self._go_to(round(place * len(self._lines)))

    def show_matches(self, pattern: re.Pattern[str] | None) -> None:
        """Highlight these, and go to the first."""
        self._pattern = pattern
        self._find()
        self._go_to_match(0)

    def next_match(self) -> None:
        """Go to the next match in this conversation, round its end."""
        self._go_to_match(self._current + 1)

    def on_resize(self) -> None:
        if self._width != self._laid_out_for:
            self.show_detail(self.detail)

    @property
    def _width(self) -> int:
        return self.scrollable_content_region.width

    @property
    def _relative_place(self) -> float:
        return self.scroll_offset.y / max(len(self._lines), 1)

    def _lay_out(self) -> None:
        self._laid_out_for = self._width
        self._lines = []
        if self._view is not None and self._width > 0:
            self._lines = lay_out(self._view, self._width, self.detail)
        self.virtual_size = Size(self._width, len(self._lines))
        self._find()

    def _find(self) -> None:
        self._matches, self._current = [], 0
        if self._pattern is not None:
            self._matches = [
                (row, *found.span())
                for row, line in enumerate(self.lines)
                for found in self._pattern.finditer(line)
            ]
        self.refresh()

    def _go_to_match(self, index: int) -> None:
        if not self._matches:
            return
        self._current = index % len(self._matches)
        row, height = self._matches[self._current][0], self.scrollable_content_region.height
        if not 0 <= row - self.scroll_offset.y < height:
            self._go_to(row - height // 3)
        self.refresh()

    def _go_to(self, row: int) -> None:
        self.scroll_to(0, row, animate=False, immediate=True, force=True)
        self.refresh()

    # --- drawing ------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        """Another theme has other colours."""
        self._styles.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        row, width = self.scroll_offset.y + y, self.size.width
        if row >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        line = self._lines[row]
        segments = [Segment(span.text, self._style_of(span)) for span in line]
        if spans := [match for match in self._matches if match[0] == row]:
            segments = self._with_matches(segments, spans)
        strip = Strip(segments, sum(cell_len(span.text) for span in line))
        return strip.extend_cell_length(width, self.rich_style).crop(0, width)

    def _style_of(self, span: Span) -> RichStyle:
        key = span[1:]
        if key not in self._styles:
            style = self.visual_style + Style.parse(_LOOKS[span.look])
            if span.is_odd:
                style += Style.parse(_ODD)
            if span.is_cut:
                style += Style.parse(_CUT)
            self._styles[key] = style.rich_style
        return self._styles[key]

    def _with_matches(
        self, segments: list[Segment], matches: list[tuple[int, int, int]]
    ) -> list[Segment]:
        """The segments cut at the matches, which are styled over what is there."""
        starts, at = [0], 0
        for segment in segments:
            at += len(segment.text)
            starts.append(at)
        cuts = sorted({*starts, *(place for _, *span in matches for place in span)})
        text = "".join(segment.text for segment in segments)
        styles = [segment.style for segment in segments for _ in segment.text]
        current = self._matches[self._current]
        found = []
        for start, end in pairwise(cuts):
            style = styles[start] or RichStyle.null()
            for match in matches:
                if match[1] <= start < match[2]:
                    name = "current-match" if match == current else "match"
                    style += self.get_component_rich_style(f"token-view--{name}")
            found.append(Segment(text[start:end], style))
        return found


def _text(line: Line) -> str:
    return "".join(span.text for span in line)
