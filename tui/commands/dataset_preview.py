"""`brightrun dataset preview`: one conversation as the model will see it, token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from shared.dataset.cut_targets import CutTargets
from shared.dataset.token_view import ConversationView, ViewedMessage, ViewedRow, view_conversation
from shared.token_text import Token
from tui import exit_codes
from tui.commands.counting import counting_encoder
from tui.commands.output import print_json, say, say_line
from tui.services.conversation_finder import ConversationFinder, Wanted
from tui.services.found_conversation import Found
from tui.views.conversation_words import (
    NO_TOKENIZER,
    count_words,
    place_words,
    scaffolding_words,
)
from tui.views.token_text import Detail, Line, Look, Span, lay_out

_STYLES = {
    Look.CONTEXT: "",
    Look.TRAINED: "bold green",
    Look.SPECIAL: "dim reverse",
    Look.TRAINED_SPECIAL: "green reverse",
    Look.NOT_FED: "dim italic",
    Look.MARK: "dim",
}
_CUT_STYLE = " red strike"
_PIPE_WIDTH = 1_000_000
"""Nothing is wrapped in a pipe."""


@dataclass(frozen=True, slots=True)
class PreviewOptions:
    """What was typed."""

    path: Path
    wanted: Wanted
    model: str
    max_seq_length: int
    cut_targets: CutTargets
    with_ids: bool
    as_json: bool


def preview_conversation(options: PreviewOptions) -> int:
    """Print the conversation.

    Raises:
        InvalidInput: the file cannot be read, or has no such conversation.
    """
    found = ConversationFinder(options.path).find(options.wanted)
    view = view_conversation(
        found.conversation,
        encoder=counting_encoder(options.model),
        max_seq_length=options.max_seq_length,
        cut_targets=options.cut_targets,
    )
    for problem in found.problems:
        say(f"{', '.join(problem.places)}: {problem.message} {problem.advice}")
    if options.as_json:
        print_json(_plain(options, found, view))
    else:
        _print(found, view, Detail.IDS if options.with_ids else Detail.TEXT)
    return exit_codes.OK


def _print(found: Found, view: ConversationView, detail: Detail) -> None:
    console = Console(highlight=False)
    is_coloured = console.color_system is not None and not console.no_color
    for words in (place_words(found), scaffolding_words(found), count_words(view)):
        if words:
            say_line(words)
    if not view.is_exact:
        say(f"{NO_TOKENIZER}.")
    say_line(_legend(is_coloured))
    say_line("")
    lines = lay_out(view, console.width if console.is_terminal else _PIPE_WIDTH, detail)
    for line in map(_styled, lines) if is_coloured else marked(lines):
        say_line(line)


def _styled(line: Line) -> Text:
    return Text.assemble(
        *((span.text, _STYLES[span.look] + (_CUT_STYLE if span.is_cut else "")) for span in line)
    )


def _legend(is_coloured: bool) -> Text:
    kinds = (
        Span("context", Look.CONTEXT),
        Span("trained", Look.TRAINED),
        Span("<|control token|>", Look.SPECIAL),
        Span("beyond max_seq_length", Look.CONTEXT, is_cut=True),
    )
    if is_coloured:
        return Text("  ").join(_styled([kind]) for kind in kinds)
    return Text("  ".join(line for kind in kinds for line in marked([[kind]])))


_State = tuple[bool, bool, bool]
"""Cut off, trained, a control token: from the outer bracket to the inner one."""
_NOTHING: _State = (False, False, False)
_BRACKETS = (("~~", "~~"), ("[[", "]]"), ("{", "}"))


def marked(lines: Sequence[Line]) -> Iterator[str]:
    """The lines with brackets in place of colours: [[trained]], {control token}, ~~cut off~~.

    Brackets go on over lines, and end on the last line that they hold something of.
    """
    state = _NOTHING
    for line, following in zip_longest(lines, lines[1:], fillvalue=()):
        parts = []
        for span in line:
            if span.look is not Look.MARK:
                wanted = _state_of(span)
                parts.append(_brackets(state, wanted))
                state = wanted
            parts.append(span.text)
        after = next((_state_of(span) for span in following if span.look is not Look.MARK), None)
        # A control token is closed with its line; only longer stretches go on.
        is_cut, is_trained, _ = after or _NOTHING
        shared = (state[0] and is_cut, state[1] and is_trained, False)
        yield "".join((*parts, _brackets(state, shared)))
        state = shared


def _state_of(span: Span) -> _State:
    return span.is_cut, span.look.is_trained, span.look.is_special


def _brackets(state: _State, wanted: _State) -> str:
    same = 0
    while same < len(wanted) and wanted[same] == state[same]:
        same += 1
    depths = range(same, len(wanted))
    closing = [_BRACKETS[depth][1] for depth in reversed(depths) if state[depth]]
    opening = [_BRACKETS[depth][0] for depth in depths if wanted[depth]]
    return "".join((*closing, *opening))


def _plain(options: PreviewOptions, found: Found, view: ConversationView) -> dict[str, Any]:
    conversation = found.conversation
    return {
        "file": str(options.path),
        "base_model": options.model,
        "max_seq_length": options.max_seq_length,
        "conversation_id": conversation.conversation_id,
        "number": found.number,
        "location": conversation.location,
        "persona": conversation.persona,
        "emotional_arc": conversation.emotional_arc,
        "training_topic": conversation.training_topic,
        "tokens_are_estimated": not view.is_exact,
        "tokens": view.token_count,
        "trained_tokens": view.trained_count,
        "cut_tokens": view.cut_count,
        "problems": [problem.to_dict() for problem in found.problems],
        "rows": [_plain_row(row) for row in view.rows],
    }


def _plain_row(row: ViewedRow) -> dict[str, Any]:
    return {
        "token_count": row.token_count,
        "trained_tokens": row.trained_count,
        "cut_tokens": row.cut_count,
        "messages": [_plain_message(message) for message in row.messages],
        "tokens": None
        if row.tokens is None
        else [
            _plain_token(token, place >= row.max_seq_length)
            for place, token in enumerate(row.tokens)
        ],
        "not_fed": [_plain_message(message) for message in row.not_fed],
    }


def _plain_message(message: ViewedMessage) -> dict[str, Any]:
    return {
        "role": message.role,
        "content": message.content,
        "is_trained": message.is_trained,
        "is_cut_target": message.is_cut_target,
    }


def _plain_token(token: Token, is_cut: bool) -> dict[str, Any]:
    plain = {
        "id": token.token_id,
        "text": token.text,
        "message": token.message,
        "is_special": token.is_special,
        "is_trained": token.is_trained,
        "is_cut": is_cut,
    }
    # A part of a character; the text comes with the token that ends it.
    return plain if token.raw == token.text.encode() else {**plain, "bytes": token.raw.hex()}
