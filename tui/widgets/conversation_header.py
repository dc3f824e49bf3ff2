"""Says above a conversation which one it is, what it is about, and what was counted in it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalGroup
from textual.content import Content
from textual.widgets import Static

from shared.clean_text import clean_line
from shared.dataset.token_view import ConversationView
from tui.services.found_conversation import Found
from tui.views.conversation_words import NO_TOKENIZER, count_words, scaffolding_words


class ConversationHeader(VerticalGroup):
    """Two to four lines."""

    DEFAULT_CSS = """
    ConversationHeader {
        height: auto;
        #title { height: 1; background: $panel; padding: 0 1; }
        #title { text-wrap: nowrap; text-overflow: ellipsis; }
        #about { height: auto; padding: 0 1; color: $text-muted; }
        #about { text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self, file_name: str) -> None:
        super().__init__()
        self._file_name = clean_line(file_name)

    def compose(self) -> ComposeResult:
        yield Static(self._title(""), id="title", markup=False)
        yield Static(id="about", markup=False)

    def show(
        self,
        found: Found,
        view: ConversationView,
        *,
        number: int | None,
        total: int | None,
        is_loading: bool,
    ) -> None:
        """`is_loading`: the tokenizer may still come."""
        place = "" if number is None else f"{number:,}" + (f" of {total:,}" if total else "")
        name = clean_line(found.conversation.conversation_id)
        self.query_exactly_one("#title", Static).update(
            self._title(" · ".join(filter(None, (place, name))))
        )
        about = Content("\n").join(self._about(found, view, is_loading))
        self.query_exactly_one("#about", Static).update(about)

    def _title(self, words: str) -> Content:
        return Content.assemble(
            ("Preview", "bold"), f"  {self._file_name}  ", (words, "$text-muted")
        )

    def _about(self, found: Found, view: ConversationView, is_loading: bool) -> list[Content]:
        lines = [Content(words) for words in [scaffolding_words(found)] if words]
        place = clean_line(found.conversation.location)
        counts = count_words(view)
        lines.append(
            Content.assemble(
                (counts, "$text-warning" if view.cut_count else "$text"), f"  ·  {place}"
            )
        )
        if not view.is_exact:
            words = "the tokenizer is being loaded …" if is_loading else NO_TOKENIZER
            lines.append(Content.styled(words, "$text-warning"))
        if found.problems:
            first, *others = found.problems
            more = f", and {len(others):,} more" if others else ""
            words = f"left out: {', '.join(first.places)}: {first.message}{more}"
            lines.append(Content.styled(clean_line(words), "$text-error"))
        return lines
