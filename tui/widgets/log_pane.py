"""A log to read: follow or pause, search, copy and save. It knows nothing of where lines come from.

What it shows is foreign text. Every line is cleaned when it comes in, and nothing in it is markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import ClassVar, Self

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static

from shared.clean_text import clean_line
from shared.number_text import many
from tui.widgets.line_view import LineStyle, LineView
from tui.widgets.safe_input import SafeInput

MAX_LINES = 10_000


class LogPane(Vertical):
    """Lines, and under them one line that says where one is."""

    BINDING_GROUP_TITLE = "Log"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "toggle_follow", "Pause", tooltip="Stand still, or follow the end"),
        Binding("end", "follow", "Follow", tooltip="Go to the end and follow it", show=False),
        Binding("slash", "open_search", "Search", key_display="/", tooltip="Find text in the log"),
        Binding("n", "next_match(1)", "Next", tooltip="Go to the next match"),
        Binding("N", "next_match(-1)", "Previous", tooltip="Go to the match before", show=False),
        Binding(
            "ampersand", "toggle_filter", "Filter", key_display="&",
            tooltip="Show all lines, or only those that match",
        ),
        Binding("escape", "end_search", "Clear", tooltip="Clear the search"),
        Binding("y", "copy", "Copy", tooltip="Copy the selected text, or the lines in sight"),
        Binding("w", "save", "Save", tooltip="Write all lines to a file in this directory"),
    ]  # fmt: skip
    DEFAULT_CSS = """
    LogPane {
        height: 1fr;
        #log-bar { height: 1; background: $panel; color: $text-muted; }
        #log-search {
            display: none; width: 30; max-width: 50%;
            &.-open { display: block; }
        }
        #log-status { width: 1fr; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(
        self,
        *,
        save_as: str,
        line_style: LineStyle | None = None,
        max_lines: int = MAX_LINES,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """`save_as` is the file name for `w`; `line_style` colours lines as a whole."""
        super().__init__(id=id, classes=classes)
        self._save_as = save_as
        self._log_state = ""
        self._line_view = LineView(max_lines, line_style)
        self._search_input = SafeInput(placeholder="search", id="log-search")
        self._status_bar = Static(markup=False, id="log-status")
        self._was_following = True
        self._searched_from = 0
        """Number of the top line when the search was opened."""

    def compose(self) -> ComposeResult:
        yield self._line_view
        with Horizontal(id="log-bar"):
            yield self._search_input
            yield self._status_bar

    def on_mount(self) -> None:
        self._show_status()

    @property
    def lines(self) -> list[str]:
        """All lines in the pane, as they are shown."""
        return list(self._line_view.buffer.lines)

    def add_lines(self, lines: Iterable[str]) -> None:
        """Append foreign text, line by line."""
        self._line_view.add_lines(lines)
        self._show_status()

    def clear(self) -> None:
        """Forget all lines."""
        self._line_view.clear()
        self._show_status()

    def set_state(self, text: str) -> None:
        """Say in the status line how it stands with the source; "" is nothing to say."""
        self._log_state = clean_line(text)
        self._show_status()

    def focus(self, scroll_visible: bool = True) -> Self:
        """Give the keys to the lines."""
        self._line_view.focus(scroll_visible)
        return self

    # --- follow and pause ---------------------------------------------------------------------

    def action_toggle_follow(self) -> None:
        if self._line_view.is_following:
            self._line_view.pause()
        else:
            self._line_view.follow()

    def action_follow(self) -> None:
        self._line_view.follow()

    @on(LineView.FollowChanged)
    def _on_follow_changed(self, event: LineView.FollowChanged) -> None:
        event.stop()
        self._show_status()

    # --- search -------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is possible now stands in the footer, and no other key is taken."""
        is_searched = self._line_view.buffer.is_searched
        if action in {"next_match", "toggle_filter"}:
            return is_searched
        if action == "end_search":
            return is_searched or self._is_search_open
        return action != "open_search" or not self._search_input.has_focus

    @property
    def _is_search_open(self) -> bool:
        return self._search_input.has_class("-open")

    def action_open_search(self) -> None:
        if not self._is_search_open:
            self._was_following = self._line_view.is_following
            self._searched_from = self._line_view.top_number
            self._search_input.add_class("-open")
        self._search_input.focus()
        self.refresh_bindings()

    @on(Input.Changed)
    def _on_query_changed(self, event: Input.Changed) -> None:
        event.stop()
        if not self._is_search_open:
            return
        self._line_view.find(event.value, near=self._searched_from)
        if not event.value:
            self._return_to_where_it_was()
        self._show_status()
        self.refresh_bindings()

    @on(Input.Submitted)
    def _on_query_accepted(self, event: Input.Submitted) -> None:
        event.stop()
        self._close_search()

    def action_end_search(self) -> None:
        """While typing, as if it had never been opened; later, the lines stay where they are."""
        was_open = self._is_search_open
        self._close_search()
        self._search_input.clear()
        self._line_view.find("", near=0)
        if was_open:
            self._return_to_where_it_was()
        self._show_status()

    def action_next_match(self, direction: int) -> None:
        self._line_view.step(direction)
        self._show_status()

    def action_toggle_filter(self) -> None:
        self._line_view.show_only_matching(not self._line_view.buffer.is_filtered)
        self._show_status()

    def _close_search(self) -> None:
        self._search_input.remove_class("-open")
        self._line_view.focus()
        self.refresh_bindings()

    def _return_to_where_it_was(self) -> None:
        if self._was_following:
            self._line_view.follow()
        else:
            self._line_view.show_from(self._searched_from)

    # --- copy and save ------------------------------------------------------------------------

    def action_copy(self) -> None:
        """The selected text, or the lines in sight: few enough for a terminal's clipboard."""
        lines = self._line_view.visible_lines
        if text := self.screen.get_selected_text():
            words = "copied the selected text"
        else:
            text, words = "\n".join(lines), f"copied {many(len(lines), 'line')}"
        self.app.copy_to_clipboard(text)
        self.app.notify(words, markup=False)

    def action_save(self) -> None:
        """All lines, to a new file."""
        text = "".join(f"{line}\n" for line in self._line_view.buffer.lines)
        try:
            path = _write_new(Path(self._save_as), text)
        except OSError as error:
            words = f"{self._save_as}: cannot be written ({error.strerror})."
            self.app.notify(words, severity="error", markup=False)
        else:
            self.app.notify(f"saved to {path.absolute()}", markup=False)

    # --- status -------------------------------------------------------------------------------

    def _show_status(self) -> None:
        if self.is_mounted:
            self._status_bar.update(Content("  ·  ").join(self._status()))

    def _status(self) -> Iterator[Content]:
        view, buffer = self._line_view, self._line_view.buffer
        if view.is_following:
            yield Content("following")
        else:
            news = f", {many(view.unseen_count, 'new line')}" if view.unseen_count else ""
            yield Content.styled(f"paused{news}", "$text-warning")
        if buffer.is_searched:
            place = f"{buffer.place(view.current)}/" if view.current else ""
            yield Content(f"{place}{many(buffer.match_count, 'match', 'matches')}")
        if buffer.is_filtered:
            yield Content("only matching lines")
        if self._log_state:
            yield Content.styled(self._log_state, "$text")
        yield Content(many(len(buffer.lines), "line"))


def _write_new(path: Path, text: str) -> Path:
    """Write a file that was not there; `-1`, `-2` are put to its name until it is new."""
    names = chain([path], (path.with_stem(f"{path.stem}-{number}") for number in count(1)))
    for name in names:
        try:
            with name.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            continue
        return name
    raise AssertionError("there is always another number")
