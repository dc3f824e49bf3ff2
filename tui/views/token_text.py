"""Lays a conversation out in lines, each a list of spans that say how they look.

Nothing is invisible: a line break is an arrow before the real one, and a character that could not
be seen, or that would steer a terminal, is spelled. Knows no colours; who draws has a style a look.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple

from rich.cells import cell_len

from shared.dataset.token_view import ConversationView, ViewedMessage, ViewedRow
from shared.number_text import many
from shared.token_text import Token

LINE_BREAK = "↵"
_TAB = "→"
_SPACE = "·"

CUT_TARGET = "ends in mid-sentence: not trained, only context"
NOT_FED = "not fed to the model: nothing trained follows"

_MAYBE_UNSEEN = re.compile(r"[^\n\x20-\x7e]")


class Look(StrEnum):
    """What a span is."""

    CONTEXT = "context"
    TRAINED = "trained"
    SPECIAL = "special"
    TRAINED_SPECIAL = "trained-special"
    NOT_FED = "not-fed"
    MARK = "mark"
    """Ours; not in the conversation."""

    @property
    def is_trained(self) -> bool:
        return self in (Look.TRAINED, Look.TRAINED_SPECIAL)

    @property
    def is_special(self) -> bool:
        return self in (Look.SPECIAL, Look.TRAINED_SPECIAL)


class Detail(StrEnum):
    """How much is told of tokens."""

    TEXT = "text"
    TOKENS = "tokens"
    """Every other token is set apart, and spaces are dots."""
    IDS = "ids"
    """Every token with its id behind it."""


class Span(NamedTuple):
    """Text on one line, safe to draw."""

    text: str
    look: Look
    is_cut: bool = False
    """Beyond max_seq_length."""
    is_odd: bool = False
    """Every other token, where tokens are told apart."""


Line = list[Span]


def lay_out(view: ConversationView, width: int, detail: Detail = Detail.TEXT) -> list[Line]:
    """All lines of the conversation, none wider than `width` cells; None of them is empty text."""
    page = _Page(max(width, 1), detail)
    for number, row in enumerate(view.rows, start=1):
        if len(view.rows) > 1:
            page.mark(_row_words(number, len(view.rows), row))
        if row.tokens is None:
            _put_messages(page, row)
        else:
            _put_tokens(page, row, row.tokens)
        _put_not_fed(page, row)
    if view.pairs_left_out:
        page.mark(f"{many(view.pairs_left_out, 'more turn')} with this id, not shown")
    return page.lines


def visible(text: str) -> str:
    """`text` with everything spelled that could not be seen, but for line breaks and spaces."""
    return _MAYBE_UNSEEN.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    character = found[0]
    if character == "\t":
        return _TAB
    # Variation selectors and joiners make terminals and us count cells differently.
    is_seen = character.isprintable() and not "\ufe00" <= character <= "\ufe0f"
    return character if is_seen else f"<U+{ord(character):04X}>"


def _row_words(number: int, count: int, row: ViewedRow) -> str:
    if not row.messages:
        return f"{number} of {count}: in the file, in no row"
    words = [f"row {number} of {count}", _tokens_words(row)]
    return ", ".join(words)


def _tokens_words(row: ViewedRow) -> str:
    about = "about " if row.tokens is None else ""
    return f"{about}{many(row.token_count, 'token')}"


def _put_tokens(page: _Page, row: ViewedRow, tokens: tuple[Token, ...]) -> None:
    place = 0
    for index, group in groupby(tokens, key=lambda token: token.message):
        page.begin_line()
        if row.messages[index].is_cut_target:
            page.mark(CUT_TARGET)
        run: list[tuple[Token, bool]] = []
        for token in group:
            if place == row.max_seq_length:
                page.put(run)
                run = []
                page.mark(f"max_seq_length {row.max_seq_length:,}: the rest does not fit")
            run.append((token, place >= row.max_seq_length))
            place += 1
        page.put(run)


def _put_messages(page: _Page, row: ViewedRow) -> None:
    for message in row.messages:
        look = Look.TRAINED if message.is_trained else Look.CONTEXT
        _put_message(page, message, look)


def _put_not_fed(page: _Page, row: ViewedRow) -> None:
    if row.not_fed:
        page.mark(NOT_FED)
    for message in row.not_fed:
        _put_message(page, message, Look.NOT_FED)


def _put_message(page: _Page, message: ViewedMessage, look: Look) -> None:
    note = f" ({CUT_TARGET})" if message.is_cut_target and look is not Look.NOT_FED else ""
    page.mark(f"{message.role}{note}")
    page.put_text(message.content, look)


class _Page:
    """Lines that are being filled."""

    def __init__(self, width: int, detail: Detail) -> None:
        self.lines: list[Line] = []
        self._width = width
        self._detail = detail
        self._column = 0
        self._is_new_line = True
        self._is_odd = False

    # --- what is put on it ----------------------------------------------------------------

    def mark(self, words: str) -> None:
        """Words of ours, on a line of their own."""
        self.begin_line()
        self._put_words(f"── {words} ──", Look.MARK)
        self.begin_line()

    def put(self, tokens: Iterable[tuple[Token, bool]]) -> None:
        """Tokens of one message, and whether they are beyond max_seq_length."""
        if self._detail is Detail.TEXT:
            looks = groupby(tokens, key=lambda item: (_look(item[0]), item[1]))
            for (look, is_cut), group in looks:
                self.put_text("".join(token.text for token, _ in group), look, is_cut)
            return
        for token, is_cut in tokens:
            self._put_token(token, is_cut)

    def put_text(self, text: str, look: Look, is_cut: bool = False) -> None:
        """Text that is wrapped between words."""
        for part in _lines_of(visible(text)):
            self._put_words(part.removesuffix("\n"), look, is_cut)
            if part.endswith("\n"):
                self._put_atom(Span(LINE_BREAK, look, is_cut))
                self.begin_line()

    def _put_token(self, token: Token, is_cut: bool) -> None:
        *earlier, last = _lines_of(visible(token.spelled).replace(" ", _SPACE)) or [""]
        for part in earlier:
            self._put_token_part(part, token, is_cut)
        self._put_token_part(last, token, is_cut, self._id_of(token))
        self._is_odd = not self._is_odd

    def _id_of(self, token: Token) -> str:
        return f"⟨{token.token_id}⟩" if self._detail is Detail.IDS else ""

    def _put_token_part(self, part: str, token: Token, is_cut: bool, token_id: str = "") -> None:
        """What a token has on one line, the id on the same line as what stands before it."""
        text = part.replace("\n", LINE_BREAK)
        if self._column + cell_len(text) + len(token_id) > self._width:
            self.begin_line()
        if text:
            self._put_atom(Span(text, _look(token), is_cut, self._is_odd))
        if token_id:
            self._put_atom(Span(token_id, Look.MARK))
        if part.endswith("\n"):
            self.begin_line()

    # --- lines ----------------------------------------------------------------------------

    def begin_line(self) -> None:
        """Go on at the start of a line."""
        self._is_new_line = True

    def _put_words(self, text: str, look: Look, is_cut: bool = False) -> None:
        """One line of text; spaces between words may be lost at the end of a line."""
        start, is_ascii = 0, text.isascii()
        while start < len(text):
            room = self._width - (0 if self._is_new_line else self._column)
            fitting = start + room if is_ascii else _end_of_cells(text, start, room)
            end = len(text)
            if fitting < end:
                end = text.rfind(" ", start, fitting + 1) + 1
                if not end and not self._is_new_line:
                    self.begin_line()
                    continue
                end = end or max(fitting, start + 1)
            if shown := text[start : min(end, max(fitting, start + 1))]:
                self._append(Span(shown, look, is_cut))
            if end < len(text):
                self.begin_line()
            start = end

    def _put_atom(self, span: Span) -> None:
        """Text that is not broken, unless it is wider than a line."""
        cells = cell_len(span.text)
        if not self._is_new_line and self._column + cells > self._width >= cells:
            self.begin_line()
        for part in self._fitting(span.text, cells):
            self._append(span._replace(text=part))

    def _fitting(self, text: str, cells: int) -> Iterator[str]:
        """The text in parts, each for what is left of its line."""
        column = 0 if self._is_new_line else self._column
        while column + cells > self._width:
            end = _end_of_cells(text, 0, self._width - column)
            if end or column:
                yield text[:end]
            else:  # Not even one character fits.
                end = 1
                yield text[:1]
            text, column = text[end:], 0
            cells = cell_len(text)
            self.begin_line()
        if text:
            yield text

    def _append(self, span: Span) -> None:
        if self._is_new_line or not self.lines:
            self.lines.append([])
            self._column, self._is_new_line = 0, False
        line = self.lines[-1]
        self._column += cell_len(span.text)
        if line and line[-1][1:] == span[1:]:
            line[-1] = line[-1]._replace(text=line[-1].text + span.text)
        else:
            line.append(span)


def _look(token: Token) -> Look:
    if token.is_special:
        return Look.TRAINED_SPECIAL if token.is_trained else Look.SPECIAL
    return Look.TRAINED if token.is_trained else Look.CONTEXT


def _lines_of(text: str) -> list[str]:
    """With their line breaks; only `\\n` is one."""
    return [part for part in re.split(r"(?<=\n)", text) if part]


def _end_of_cells(text: str, start: int, cells: int) -> int:
    """Where the characters end that fit into so many cells."""
    for place in range(start, len(text)):
        cells -= cell_len(text[place])
        if cells < 0:
            return place
    return len(text)
