"""The conversations of a training file as the model will see them, one at a time.

The first one is on the screen before the others are known: they are counted in a thread meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Footer, Input, Static

from shared.chat_format import ChatEncoder
from shared.clean_text import clean_line
from shared.dataset.token_view import ConversationView
from shared.number_text import many
from tui.screens.conversation_filter import ConversationFilterScreen
from tui.screens.preview_work import PreviewWork
from tui.services.conversation_finder import ConversationFinder, Wanted
from tui.services.found_conversation import Found, Place
from tui.views.conversation_filter import ConversationFilter, FilterChoices, text_pattern
from tui.views.conversation_list import ConversationList
from tui.views.conversation_words import NO_TOKENIZER
from tui.views.token_text import Detail
from tui.widgets.conversation_header import ConversationHeader
from tui.widgets.safe_input import SafeInput
from tui.widgets.token_view import TokenView, legend

_NEXT_DETAIL = {
    Detail.TEXT: Detail.TOKENS,
    Detail.TOKENS: Detail.IDS,
    Detail.IDS: Detail.TEXT,
}


class DatasetPreviewScreen(PreviewWork):
    """Only looks, and reads each conversation from the file when it comes to it."""

    HELP = """
    # Preview

    A conversation as the model will see it. Only **trained** tokens are learned; what stands before
    them is context. What is struck out lies beyond `max_seq_length`: such a conversation is
    refused or left out, never cut silently.

    `/` searches all conversations that are shown; `m` goes through the places in this one.
    """
    CSS = """
    DatasetPreviewScreen {
        #trouble { display: none; padding: 1 2; color: $text-error; height: 1fr; }
        &.-trouble #trouble { display: block; }
        &.-trouble TokenView { display: none; }
        #bar { height: 1; background: $panel; }
        #query { display: none; width: 30; max-width: 50%; }
        &.-asking #query { display: block; }
        #legend { width: auto; padding: 0 1; }
        #state { width: 1fr; padding: 0 1; text-align: right; color: $text-muted; }
        #state { text-wrap: nowrap; text-overflow: ellipsis; }
        &.-asking.-narrow #legend { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n,right", "step(1)", "Next", key_display="n", tooltip="The next conversation"),
        Binding("p,left", "step(-1)", "Previous", key_display="p", tooltip="The one before"),
        Binding("g", "end(1)", "First", show=False, tooltip="The first conversation"),
        Binding("G", "end(-1)", "Last", show=False, tooltip="The last conversation"),
        Binding("t", "detail", "Tokens", tooltip="Text, single tokens, or tokens with ids"),
        Binding("f", "filter", "Filter", tooltip="By persona, arc, topic or finding"),
        Binding("slash", "search", "Search", key_display="/", tooltip="Text in any conversation"),
        Binding("m", "next_match", "Match", tooltip="The next place of the text in here"),
        Binding("escape", "back", "Back"),
    ]
    AUTO_FOCUS = "TokenView"

    def __init__(
        self,
        path: Path,
        base_model: str,
        max_seq_length: int,
        conversation: str | None = None,
        codes: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        """`conversation` is an id; `codes` are those of the findings in each conversation."""
        super().__init__(max_seq_length)
        self._path = path
        self._base_model = base_model
        self._wanted = Wanted(conversation_id=conversation)
        self._codes = codes or {}
        self._finder: ConversationFinder | None = None
        self._encoder: ChatEncoder | None = None
        self._is_encoder_known = False
        self._list: ConversationList | None = None
        self._found: Found | None = None
        self._view: ConversationView | None = None
        self._target: int | None = None
        """Number of the conversation that is shown, or on its way; None while it is not known."""
        self._query = ""
        self._work_state = "opening …"

    def compose(self) -> ComposeResult:
        yield ConversationHeader(self._path.name)
        yield TokenView()
        yield Static(id="trouble", markup=False)
        with Horizontal(id="bar"):
            yield SafeInput(placeholder="text in any conversation", id="query")
            yield Static(legend(), id="legend", markup=False)
            yield Static(id="state", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self._draw_words()
        self.open_file(self._path, self._wanted)

    # --- the file and its conversations -------------------------------------------------------

    @on(PreviewWork.Opened)
    def _on_opened(self, message: PreviewWork.Opened) -> None:
        self._finder, self._found = message.finder, message.found
        self._target = message.found.number
        self.read(message.finder, message.found, None)

    @on(PreviewWork.Viewed)
    def _on_viewed(self, message: PreviewWork.Viewed) -> None:
        if self._view is None:  # One after the other: the text, its tokens, the other ones.
            self.call_after_refresh(self.load_encoder, self._base_model)
        self._found, self._view = message.found, message.view
        self.remove_class("-trouble")
        self.query_exactly_one(TokenView).show(
            message.view, text_pattern(self._query) if self._query else None
        )
        self._draw_words()
        self.refresh_bindings()

    @on(PreviewWork.EncoderKnown)
    def _on_encoder_known(self, message: PreviewWork.EncoderKnown) -> None:
        self._encoder, self._is_encoder_known = message.encoder, True
        if message.error is not None:
            self.complain(message.error)
        if self._finder is not None and self._found is not None:
            self.read(self._finder, self._found, self._encoder)
            self.count(self._finder)

    @on(PreviewWork.Counting)
    def _on_counting(self, message: PreviewWork.Counting) -> None:
        self._say(f"reading the file, {message.share:.0%}")

    @on(PreviewWork.Counted)
    def _on_counted(self, message: PreviewWork.Counted) -> None:
        self._list = ConversationList(message.places, self._codes)
        if self._target is None and self._found is not None:
            self._target = self._list.number_of(self._found)
        self._say("")
        self.refresh_bindings()

    @on(PreviewWork.Failed)
    def _on_failed(self, message: PreviewWork.Failed) -> None:
        if self._finder is not None and self._view is not None and self._list is None:
            self._say("")  # Of the list only: what is shown stays.
            self.complain(message.error)
            return
        self._work_state = ""
        self.add_class("-trouble")
        self.query_exactly_one("#trouble", Static).update(Content(clean_line(str(message.error))))
        self._draw_words()

    # --- moving -------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is possible now stands in the footer."""
        if action == "next_match":
            return bool(self._query)
        if action in {"step", "end", "filter", "search"}:
            return self._finder is not None
        return True

    def action_step(self, direction: int) -> None:
        """The next conversation that is shown, or with -1 the one before."""
        if self._is_list_there() and self._list is not None:
            self._go_to(self._list.step(self._target, direction))

    def action_end(self, direction: int) -> None:
        """The first conversation, or with -1 the last one."""
        if self._is_list_there() and self._list is not None and self._list.shown:
            self._go_to(self._list.shown[0 if direction > 0 else -1])

    def _is_list_there(self) -> bool:
        if self._list is None:
            self.notify("The file is still being read.", markup=False)
        return self._list is not None

    def _go_to(self, place: Place | None) -> None:
        if place is None or self._finder is None:
            self.app.bell()
            return
        self._target = place.number
        self.read(self._finder, place, self._encoder)

    def _go_where_it_is_shown(self) -> None:
        """Stay if this conversation passes, else go on to the next one that does."""
        if self._list is None or self._list.is_shown(self._target):
            return
        following = self._list.step(self._target, 1) or next(iter(self._list.shown), None)
        if following is not None:
            self._go_to(following)

    # --- filter and search --------------------------------------------------------------------

    @work(group="filter", exclusive=True)
    async def action_filter(self) -> None:
        """Ask what to show."""
        if not self._is_list_there() or self._list is None:
            return
        choices = FilterChoices.of(self._list.places, self._codes)
        screen = ConversationFilterScreen(choices, self._list.filter)
        wanted = await self.app.push_screen_wait(screen)
        if wanted is not None:
            self._filter_by(wanted)

    def _filter_by(self, wanted: ConversationFilter) -> None:
        assert self._list is not None
        before = self._list.filter
        self._end_search()
        self._list.show(wanted)
        if not self._list.shown:
            self._list.show(before)
            self.notify("No conversation has all of that.", severity="warning", markup=False)
        self._go_where_it_is_shown()
        self._draw_words()

    def action_search(self) -> None:
        """Ask for a text."""
        if self._is_list_there():
            self.add_class("-asking")
            self.query_exactly_one("#query", SafeInput).focus()

    @on(Input.Submitted, "#query")
    def _on_query(self, event: Input.Submitted) -> None:
        event.stop()
        self._close_query()
        if self._list is None or self._finder is None:
            return
        self._list.show_with_text(None)
        self._query = event.value
        self.query_exactly_one(TokenView).show_matches(
            text_pattern(self._query) if self._query else None
        )
        if self._query:
            self._say("searching …")
            self.search(self._finder, list(self._list.shown), self._query)
        else:
            self._end_search()
        self.refresh_bindings()

    @on(PreviewWork.Searched)
    def _on_searched(self, message: PreviewWork.Searched) -> None:
        if self._list is None or message.query != self._query:
            return
        is_done = message.share >= 1
        if is_done and not message.numbers:
            self.notify(f"“{clean_line(self._query)}” is in none of them.", markup=False)
            self._end_search()
            return
        if message.numbers:
            self._list.show_with_text(message.numbers)
            self._go_where_it_is_shown()
        self._say("" if is_done else f"searching, {message.share:.0%}")

    def action_next_match(self) -> None:
        self.query_exactly_one(TokenView).next_match()

    def _end_search(self) -> None:
        self._query = ""
        self.workers.cancel_group(self, "search")
        self.query_exactly_one("#query", SafeInput).clear()
        self.query_exactly_one(TokenView).show_matches(None)
        if self._list is not None:
            self._list.show_with_text(None)
        self._say("")
        self.refresh_bindings()

    def _close_query(self) -> None:
        self.remove_class("-asking")
        self.query_exactly_one(TokenView).focus()

    def action_back(self) -> None:
        """One thing after the other: the search field, the search, the filter, the screen."""
        if self.has_class("-asking"):
            self._close_query()
        elif self._query:
            self._end_search()
        elif self._list is not None and not self._list.filter.is_empty:
            self._filter_by(ConversationFilter())
        else:
            self.dismiss()

    # --- drawing ------------------------------------------------------------------------------

    def action_detail(self) -> None:
        """Text, then single tokens, then tokens with their ids."""
        if self._view is not None and not self._view.is_exact:
            self.notify(f"{NO_TOKENIZER}.", markup=False)
            return
        tokens = self.query_exactly_one(TokenView)
        tokens.show_detail(_NEXT_DETAIL[tokens.detail])

    def _say(self, words: str) -> None:
        """What is being done."""
        self._work_state = words
        self._draw_words()

    def _draw_words(self) -> None:
        if self._found is not None and self._view is not None:
            self.query_exactly_one(ConversationHeader).show(
                self._found,
                self._view,
                number=self._number_of(self._found),
                total=None if self._list is None else len(self._list.places),
                is_loading=not self._is_encoder_known,
            )
        self.query_exactly_one("#state", Static).update(Content(self._state_words()))

    def _number_of(self, found: Found) -> int | None:
        return found.number if self._list is None else self._list.number_of(found)

    def _state_words(self) -> str:
        parts = [self._work_state]
        if self._list is not None:
            if self._query:
                parts.append(f"“{clean_line(self._query)}”")
            parts.append(self._list.filter.words)
            if len(self._list.shown) < len(self._list.places) and self._target is not None:
                rank = self._list.rank(self._target)
                parts.append(f"{rank:,} of {many(len(self._list.shown), 'conversation')} shown")
        return "  ·  ".join(part for part in parts if part)
