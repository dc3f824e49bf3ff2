"""Draws the lines of a `LineBuffer`, and either follows their end or stands still.

Textual's own `Log` is of the same speed, but it swallows empty lines, measures widths in a thread
that may outlive the app, and has no place for styles, matches or a filter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style

from tui.widgets.line_buffer import LineBuffer, Match

LineStyle = Callable[[str], str | None]
"""Textual's words for how a line looks, such as "$text-warning"; None for like the rest."""


class LineView(ScrollView, can_focus=True):
    """One line of text a row, with horizontal scrolling."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line-view--match", "line-view--current-match"}
    DEFAULT_CSS = """
    LineView {
        height: 1fr;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        & > .line-view--match { background: $warning 25%; color: $text; text-style: underline; }
        & > .line-view--current-match { background: $warning; color: $background; }
    }
    """

    class FollowChanged(Message):
        """The view began or ceased to follow the end."""

    def __init__(self, max_lines: int, line_style: LineStyle | None = None) -> None:
        super().__init__()
        self.buffer = LineBuffer(max_lines)
        self.is_following = True
        self.unseen_count = 0
        """Lines that came since the view stands still."""
        self.current: Match | None = None
        self._line_style = line_style
        self._is_moving_itself = False

    @property
    def allow_select(self) -> bool:
        return True

    @property
    def top_number(self) -> int:
        """Number of the line in the top row, or 0 of an empty view."""
        row = min(self.scroll_offset.y, self.buffer.row_count - 1)
        return self.buffer.number_at(row) if row >= 0 else 0

    @property
    def visible_lines(self) -> list[str]:
        """The lines in sight, in their full length."""
        top = self.scroll_offset.y
        rows = range(top, min(top + self.scrollable_size.height, self.buffer.row_count))
        return [self.buffer.text(self.buffer.number_at(row)) for row in rows]

    # --- lines --------------------------------------------------------------------------------

    def add_lines(self, lines: Iterable[str]) -> None:
        """Append; a view that stands still shows the same lines afterwards, while they exist."""
        added, rows_gone = self.buffer.append(lines)
        if self.current and self.current.number < self.buffer.first_number:
            self.current = None
        self._measure()
        if self.is_following:
            self._go_to(self.max_scroll_y)
        else:
            self.unseen_count += added
            if rows_gone:
                self._go_to(self.scroll_y - rows_gone)
        self.refresh()

    def clear(self) -> None:
        """Forget all lines, and follow those that come."""
        self.buffer.clear()
        self.current = None
        self._measure()
        self.follow()

    def _measure(self) -> None:
        with self._moving_itself():
            self.virtual_size = Size(self.buffer.width, self.buffer.row_count)

    # --- where it stands ----------------------------------------------------------------------

    def follow(self) -> None:
        """Show the end, also of what comes."""
        self._go_to(self.max_scroll_y)
        if not self.is_following:
            self.is_following = True
            self.unseen_count = 0
            self.post_message(self.FollowChanged())

    def pause(self) -> None:
        """Stand still."""
        if self.is_following:
            self.is_following = False
            self.post_message(self.FollowChanged())

    def show_from(self, number: int, row_in_view: int = 0) -> None:
        """Stand still with that line in that row of the view, as far as there are lines for it."""
        self.pause()
        self._go_to(self.buffer.row_of(number) - row_in_view)

    def action_scroll_end(self) -> None:
        self.follow()

    def on_resize(self) -> None:
        if self.is_following:
            self._go_to(self.max_scroll_y)

    def watch_show_horizontal_scrollbar(self) -> None:
        """A wide line brings a scrollbar, which would cover the last line."""
        if self.is_following:
            self._go_to(self.max_scroll_y)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolling up by key, wheel or scrollbar pauses, and coming back to the end follows."""
        super().watch_scroll_y(old_value, new_value)
        if self._is_moving_itself:
            return
        # Clamped to a new end, as when the view has grown, it is not the user who has moved.
        if new_value < min(old_value, self.max_scroll_y):
            self.pause()
        elif new_value > old_value and new_value >= self.max_scroll_y:
            self.follow()

    def _go_to(self, y: float, x: float | None = None) -> None:
        with self._moving_itself():
            # By force: in a tab that was never shown there is no scrollbar yet.
            self.scroll_to(x, y, animate=False, immediate=True, force=True)

    @contextmanager
    def _moving_itself(self) -> Iterator[None]:
        self._is_moving_itself = True
        try:
            yield
        finally:
            self._is_moving_itself = False

    # --- search -------------------------------------------------------------------------------

    def find(self, query: str, near: int) -> None:
        """Highlight the query, and go to its match nearest to that line; "" ends the search."""
        top = self.top_number
        self.buffer.search(query)
        self._measure()
        self.current = None
        if match := self.buffer.nearest(near):
            self._reveal(match)
        elif self.is_following:
            self._go_to(self.max_scroll_y)
        else:
            self.show_from(top)
        self.refresh()

    def step(self, direction: int) -> None:
        """Go to the next match, or with -1 to the one before."""
        if self.current is None:
            match = self.buffer.nearest(self.top_number)
        else:
            match = self.buffer.step(self.current, direction)
        if match is not None:
            self._reveal(match)
        self.refresh()

    def show_only_matching(self, only_matching: bool) -> None:
        """Show all lines or those that match; the current match, if in sight, keeps its place."""
        anchor, row_in_view = self.top_number, 0
        if self.current and self._is_in_sight(row := self.buffer.row_of(self.current.number)):
            anchor, row_in_view = self.current.number, row - self.scroll_offset.y
        self.buffer.show_only_matching(only_matching)
        self._measure()
        if self.is_following:
            self._go_to(self.max_scroll_y)
        else:
            self.show_from(anchor, row_in_view)
        self.refresh()

    def _reveal(self, match: Match) -> None:
        """Stand still where the match is in sight, moving no more than needed."""
        self.pause()
        self.current = match
        line, (width, height) = self.buffer.text(match.number), self.scrollable_size
        row = self.buffer.row_of(match.number)
        x, y = self.scroll_offset
        if not self._is_in_sight(row):
            y = row - height // 2
        start, end = cell_len(line[: match.start]), cell_len(line[: match.end])
        if not x <= start <= end <= x + width:
            x = 0 if end <= width else start - width // 3
        self._go_to(y, x)

    def _is_in_sight(self, row: int) -> bool:
        return 0 <= row - self.scroll_offset.y < self.scrollable_size.height

    # --- drawing ------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        scroll_x, scroll_y = self.scroll_offset
        row, width = scroll_y + y, self.size.width
        if row >= self.buffer.row_count:
            return Strip.blank(width, self.rich_style)
        number = self.buffer.number_at(row)
        line = self.buffer.text(number)
        style = self._style_of(line)
        strip = Strip(self._segments(number, line, style), cell_len(line))
        visible = strip.crop_extend(scroll_x, scroll_x + width, style)
        # The number instead of the row: a selection stays with its lines when others are dropped.
        return visible.apply_offsets(_characters_before(scroll_x, line), number)

    def _style_of(self, line: str) -> RichStyle:
        words = self._line_style(line) if self._line_style else None
        if words is None:
            return self.rich_style
        return (self.visual_style + Style.parse(words)).rich_style

    def _segments(self, number: int, line: str, style: RichStyle) -> list[Segment]:
        spans = [
            (match.start, match.end, 2 if match == self.current else 1)
            for match in self.buffer.matches_in(number)
        ]
        if selected := self._selected(number, len(line)):
            spans.append((*selected, 3))
        if not spans:
            return [Segment(line, style)]
        looks = bytearray(len(line))
        for start, end, look in spans:
            looks[start:end] = bytes([look]) * (end - start)
        styles = [style, *(style + extra for extra in self._extra_styles())]
        cuts = sorted({0, len(line), *(cut for span in spans for cut in span[:2])})
        return [Segment(line[start:end], styles[looks[start]]) for start, end in pairwise(cuts)]

    def _extra_styles(self) -> Iterator[RichStyle]:
        """Of a match, of the current match, and of selected text."""
        yield self.get_component_rich_style("line-view--match")
        yield self.get_component_rich_style("line-view--current-match")
        yield self.screen.get_component_rich_style("screen--selection")

    # --- selection ----------------------------------------------------------------------------

    def get_selection(self, selection: Selection) -> tuple[str, str]:
        """The selected text of the lines that are shown."""
        selected = []
        for row in range(self.buffer.row_count):
            number = self.buffer.number_at(row)
            if (span := selection.get_span(number)) is not None:
                start, end = span
                selected.append(self.buffer.text(number)[start : None if end == -1 else end])
        return "\n".join(selected), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    def _selected(self, number: int, length: int) -> tuple[int, int] | None:
        selection = self.text_selection
        span = selection.get_span(number) if selection is not None else None
        if span is None:
            return None
        start, end = min(span[0], length), length if span[1] == -1 else min(span[1], length)
        return (start, end) if start < end else None


def _characters_before(cell: int, line: str) -> int:
    """How many characters lie left of that cell."""
    if cell == 0 or line.isascii():
        return cell
    return len(Segment(line).split_cells(cell)[0].text)
