"""From messages to token ids and labels, in the chat format of the base model.

Every message becomes segments: special tokens, which are looked up by name, and text, which is
encoded with special tokens switched off. So no text, whatever it holds, can forge a control token.
The result equals the tokenizer's own chat template token for token; `choose_chat_format` proves it
on probe messages before a format is used, and `matches_template` on any other.

Needs the `tokenizers` library only, never torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tokenizers import Tokenizer

from shared.chat_formats.base import ChatFormat, Segment
from shared.chat_formats.known import CHAT_FORMATS, likely_formats
from shared.dataset.conversation import Message
from shared.dataset.folding import Row
from shared.errors import UnsupportedChatTemplate
from shared.token_text import Token, raw_of_tokens, texts_of_raw

IGNORED_LABEL = -100
"""Label of a token that carries no loss (`ignore_index` of torch's cross-entropy)."""


class RenderTemplate(Protocol):
    """The tokenizer's own template."""

    source: str
    """Its text; empty where that is not known."""

    def __call__(self, messages: Sequence[Message], *, is_prompt: bool = False) -> list[int]:
        """Token ids of messages, up to where an answer begins if `is_prompt`.

        Raises:
            UnsupportedChatTemplate: the template refuses these messages.
        """
        ...


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """How many tokens a row has, and where."""

    messages: tuple[int, ...]
    """Tokens of each message; what stands before the first counts with it."""
    supervised: int
    """Tokens that carry loss."""

    @property
    def total(self) -> int:
        return sum(self.messages)


_PROBE = (
    Message("system", " You are a guide — kind, ½ brisk.\nTwo lines.\n"),
    Message("user", "  Padded, with 3,141 numbers and a tab\there.\n\n"),
    Message("assistant", " Yes.\n\n- one\n- two: 文\n"),
    Message("user", "Don't stop…"),
    Message("assistant", "Fine!"),
)


class ChatEncoder:
    """Encodes rows with one tokenizer and one chat format."""

    def __init__(
        self, tokenizer: Tokenizer, chat_format: ChatFormat, *, is_shared: bool = True
    ) -> None:
        # A copy, because switching special tokens off changes the tokenizer for everybody. Llama
        # 3's costs 1.2 s and 130 MB, so who read it for this encoder alone says so.
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str()) if is_shared else tokenizer
        self._tokenizer.encode_special_tokens = True
        # Some models list a control token without calling it special; text could forge it then.
        controls = _control_tokens(tokenizer)
        self._tokenizer.add_special_tokens(controls)
        self._spelled_control = re.compile("|".join(map(re.escape, controls)) or "(?!)")
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.chat_format = chat_format

    def encode(self, row: Row) -> tuple[list[int], list[int]]:
        """(input_ids, labels), both (T,), not shifted; labels[t] is -100 where nothing is trained.

        Raises:
            UnsupportedChatTemplate: a special token of the format is not in the vocabulary.
        """
        return self._encode_segments(self.chat_format.segments(row))

    def tokens(self, row: Row) -> list[Token]:
        """What `encode` gives, token by token, each with the text that it stands for.

        Raises:
            UnsupportedChatTemplate: a special token of the format is not in the vocabulary.
        """
        return [
            token
            for index, pieces in enumerate(self.chat_format.message_segments(row))
            for piece in pieces
            for token in self._tokens_of(piece, index)
        ]

    def count_tokens(self, rows: Sequence[Row]) -> list[TokenCounts]:
        """The counts of `encode` for many rows at once; each text is encoded only once.

        Messages are encoded one by one, so a row that ends with one of its targets has the sum of
        the counts up to there, where the row folds exactly.

        Raises:
            UnsupportedChatTemplate: a special token of the format is not in the vocabulary.
        """
        messages = [self.chat_format.message_segments(row) for row in rows]
        texts = {
            piece.text: None
            for row in messages
            for pieces in row
            for piece in pieces
            if not piece.is_special
        }
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        ids_of = {text: found.ids for text, found in zip(texts, encodings, strict=True)}
        return [self._count_row(row, ids_of) for row in messages]

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids (T,) that end where the assistant's answer begins."""
        return self._encode_segments(self.chat_format.prompt_segments(messages))[0]

    @property
    def header_tokens(self) -> int:
        """Tokens between the message before an answer and its text."""
        return len(self._encode_segments(self.chat_format.generation_prompt())[0])

    def spells_control_token(self, text: str) -> bool:
        """True if the template would take a part of this text for a control token; we do not."""
        return self._spelled_control.search(text) is not None

    def matches_template(self, messages: Sequence[Message], render: RenderTemplate) -> bool:
        """True if our token ids are the tokenizer's own for these messages.

        Where the template tells an answered conversation otherwise than it asks for the answer,
        what it asks counts.

        Raises:
            UnsupportedChatTemplate: the template refuses these messages.
        """
        answers = bool(messages) and messages[-1].role == "assistant"
        if answers and not self.chat_format.template_renders_answers:
            prompt = render(messages[:-1], is_prompt=True)
            ours = self.encode(Row("", tuple(messages), frozenset()))[0]
            return ours[: len(prompt)] == prompt == self.encode_prompt(messages[:-1])
        return self.encode(Row("", tuple(messages), frozenset()))[0] == render(messages)

    def _encode_segments(self, segments: list[Segment]) -> tuple[list[int], list[int]]:
        input_ids: list[int] = []
        labels: list[int] = []
        for segment in segments:
            ids, untrained = self._encode_segment(segment)
            input_ids += ids
            labels += [IGNORED_LABEL] * untrained + ids[untrained:]
        return input_ids, labels

    def _count_row(
        self, messages: list[list[Segment]], ids_of: Mapping[str, list[int]]
    ) -> TokenCounts:
        totals, supervised = [], 0
        for pieces in messages:
            total = 0
            for piece in pieces:
                ids, untrained = self._encode_segment(piece, ids_of.get(piece.text))
                total += len(ids)
                supervised += len(ids) - untrained
            totals.append(total)
        return TokenCounts(tuple(totals), supervised)

    def _encode_segment(
        self, segment: Segment, text_ids: list[int] | None = None
    ) -> tuple[list[int], int]:
        """The segment's ids, and how many of them come before the trained part."""
        if segment.is_special:
            ids = [self._special_id(segment.text)]
            return ids, 0 if segment.trained_from == 0 else 1
        ids = self._text_ids(segment.text) if text_ids is None else text_ids
        if segment.trained_from is None:
            return ids, len(ids)
        # Header and content are encoded together, as the template does, so that a merge across
        # their border gives the same ids; such a merged token holds content and is trained.
        header_ids = self._text_ids(segment.text[: segment.trained_from])
        return ids, _common_prefix(ids, header_ids)

    def _tokens_of(self, segment: Segment, message: int) -> list[Token]:
        if segment.is_special:
            ids, untrained = self._encode_segment(segment)
            raws = [segment.text.encode()]
        else:
            found = self._tokenizer.encode(segment.text, add_special_tokens=False)
            ids, untrained = self._encode_segment(segment, found.ids)
            raws = raw_of_tokens(found.tokens, found.offsets, segment.text)
        return [
            Token(token_id, text, raw, segment.is_special, place >= untrained, message)
            for place, (token_id, text, raw) in enumerate(
                zip(ids, texts_of_raw(raws), raws, strict=True)
            )
        ]

    def _text_ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _special_id(self, token: str) -> int:
        token_id = self._tokenizer.token_to_id(token)
        if token_id is None:
            raise UnsupportedChatTemplate(
                f"the tokenizer has no {token}, which the {self.chat_format.name} format needs"
            )
        return token_id


def choose_chat_format(tokenizer: Tokenizer, render: RenderTemplate) -> ChatEncoder:
    """The encoder whose token ids equal the tokenizer's own template on the probe messages.

    Raises:
        UnsupportedChatTemplate: none of ours does.
    """
    copy = Tokenizer.from_str(tokenizer.to_str())
    for chat_format in likely_formats(
        lambda token: tokenizer.token_to_id(token) is not None, render.source
    ):
        encoder = _proved(copy, chat_format, render)
        if encoder is not None:
            return encoder
    names = ", ".join(chat_format.name for chat_format in CHAT_FORMATS)
    raise UnsupportedChatTemplate(
        f"the base model's chat template is none of those that can be trained exactly ({names}); "
        "choose an instruct model with one of these templates"
    )


def _proved(
    tokenizer: Tokenizer, chat_format: ChatFormat, render: RenderTemplate
) -> ChatEncoder | None:
    """The encoder of this format, with the template's default system; None if ids differ."""
    encoder = ChatEncoder(tokenizer, chat_format, is_shared=False)
    if not _agrees(encoder, _PROBE, render, may_refuse=True):
        return None
    if _agrees(encoder, _PROBE[1:], render):
        return encoder
    said = _default_system(tokenizer, chat_format, render(_PROBE[1:2]))
    if said is None:
        return None
    with_default = ChatEncoder(tokenizer, chat_format.with_default_system(said), is_shared=False)
    return with_default if _agrees(with_default, _PROBE[1:], render) else None


def _agrees(
    encoder: ChatEncoder,
    messages: Sequence[Message],
    render: RenderTemplate,
    *,
    may_refuse: bool = False,
) -> bool:
    """True if rows and prompts are the template's, or, with `may_refuse`, it has none of them."""
    try:
        prompt = render(messages[:-1], is_prompt=True)
        return encoder.encode_prompt(messages[:-1]) == prompt and encoder.matches_template(
            messages, render
        )
    except UnsupportedChatTemplate:
        return may_refuse


def _default_system(tokenizer: Tokenizer, chat_format: ChatFormat, ids: list[int]) -> str | None:
    """What the template says as the system where a conversation, here `ids`, does not."""
    before, header, after = chat_format.system_turn()
    first, last = tokenizer.token_to_id(before), tokenizer.token_to_id(after)
    if first not in ids or last not in ids:
        return None
    start = ids.index(first) + 1
    text = tokenizer.decode(ids[start : ids.index(last, start)], skip_special_tokens=True)
    return text.removeprefix(header)


def _control_tokens(tokenizer: Tokenizer) -> list[str]:
    """Tokens that no text may become: those called special, and those that look it."""
    added = tokenizer.get_added_tokens_decoder().values()
    return [
        token.content
        for token in added
        if token.special or find_special_tokens(token.content) == [token.content]
    ]


def find_special_tokens(text: str) -> list[str]:
    """Spellings of control tokens inside plain text, in order of appearance."""
    return _SPECIAL_TOKEN.findall(text)


_SPECIAL_TOKEN = re.compile(
    r"<\|[A-Za-z0-9_ ]{2,40}\|>|\[/?(?:INST|SYSTEM_PROMPT)\]|<</?SYS>>|</?s>"
    r"|</?(?:think|tool_call|tool_response)>|<(?:bos|eos)>|<(?:start|end)_of_turn>"
)


def _common_prefix(left: list[int], right: list[int]) -> int:
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return min(len(left), len(right))
