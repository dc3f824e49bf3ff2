"""From messages to token ids and labels, in the chat format of the base model.

Every message becomes segments: special tokens, which are looked up by name, and text, which is
encoded with special tokens switched off. So no text, whatever it holds, can forge a control token.
The result equals the tokenizer's own chat template token for token; `choose_chat_format` proves it
on probe messages before a format is used, and `matches_template` on any other.

Needs the `tokenizers` library only, never torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from shared.dataset.conversation import Message
from shared.dataset.folding import Row
from shared.errors import UnsupportedChatTemplate
from shared.token_text import Token, raw_of_tokens, texts_of_raw

IGNORED_LABEL = -100
"""Label of a token that carries no loss (`ignore_index` of torch's cross-entropy)."""

RenderTemplate = Callable[[Sequence[Message]], list[int]]
"""The tokenizer's own template: token ids of messages, without a generation prompt."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a rendered row. `trained_from` counts characters; None: nothing is trained."""

    text: str
    is_special: bool = False
    trained_from: int | None = None


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


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How one family of chat templates writes a message down."""

    name: str
    begin: str
    """Special token before the first message; empty for none."""
    before_role: str
    after_role: str
    """Special token after the role; empty where only `header_end` parts role and content."""
    header_end: str
    """Plain text between the role and the content."""
    end_of_turn: str
    after_turn: str
    """Plain text after the end of a turn."""
    strips_content: bool

    @property
    def special_tokens(self) -> list[str]:
        """The control tokens that a tokenizer must have."""
        named = (self.begin, self.before_role, self.after_role, self.end_of_turn)
        return [token for token in named if token]

    def segments(self, row: Row) -> list[Segment]:
        """The row's segments, in order; the end of a trained turn is trained with its content."""
        begin = [Segment(self.begin, is_special=True)] if self.begin else []
        return begin + [piece for pieces in self.message_segments(row) for piece in pieces]

    def message_segments(self, row: Row) -> list[list[Segment]]:
        """The segments of each message, without what stands before the first one."""
        return [
            self._message(message, is_trained=index in row.trained)
            for index, message in enumerate(row.messages)
        ]

    def generation_prompt(self) -> list[Segment]:
        """What stands before an answer that is still to be generated."""
        return self._header("assistant", content="", is_trained=False)

    def _message(self, message: Message, is_trained: bool) -> list[Segment]:
        content = message.content.strip() if self.strips_content else message.content
        end = Segment(self.end_of_turn, is_special=True, trained_from=0 if is_trained else None)
        after = [Segment(self.after_turn)] if self.after_turn else []
        return [*self._header(message.role, content, is_trained), end, *after]

    def _header(self, role: str, content: str, is_trained: bool) -> list[Segment]:
        before = Segment(self.before_role, is_special=True)
        if self.after_role:
            trained_from = len(self.header_end) if is_trained else None
            return [
                before,
                Segment(role),
                Segment(self.after_role, is_special=True),
                Segment(self.header_end + content, trained_from=trained_from),
            ]
        header = role + self.header_end
        return [before, Segment(header + content, trained_from=len(header) if is_trained else None)]


LLAMA_3 = ChatFormat(
    name="llama-3",
    begin="<|begin_of_text|>",
    before_role="<|start_header_id|>",
    after_role="<|end_header_id|>",
    header_end="\n\n",
    end_of_turn="<|eot_id|>",
    after_turn="",
    strips_content=True,
)
"""Meta-Llama-3-Instruct's template (tokenizer_config.json of the model, April 2024)."""

CHATML = ChatFormat(
    name="chatml",
    begin="",
    before_role="<|im_start|>",
    after_role="",
    header_end="\n",
    end_of_turn="<|im_end|>",
    after_turn="\n",
    strips_content=False,
)
"""ChatML as Qwen and SmolLM2 use it."""

CHAT_FORMATS = (LLAMA_3, CHATML)

_PROBE = (
    Message("system", "You are a guide — kind, ½ brisk.\nTwo lines."),
    Message("user", "  Padded, with 3,141 numbers and a tab\there.\n\n"),
    Message("assistant", "Yes.\n\n- one\n- two: 文"),
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
        known = [t for t in chat_format.special_tokens if tokenizer.token_to_id(t) is not None]
        self._tokenizer.add_special_tokens(known)
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
        begin = self.chat_format.begin
        tokens = self._tokens_of(Segment(begin, is_special=True), 0) if begin else []
        for index, pieces in enumerate(self.chat_format.message_segments(row)):
            for piece in pieces:
                tokens += self._tokens_of(piece, index)
        return tokens

    def count_tokens(self, rows: Sequence[Row]) -> list[TokenCounts]:
        """The counts of `encode` for many rows at once; each text is encoded only once.

        Messages are encoded one by one, so a row that ends with an earlier message has the sum of
        the counts up to there.

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
        row = Row("", tuple(messages), frozenset())
        segments = [*self.chat_format.segments(row), *self.chat_format.generation_prompt()]
        return self._encode_segments(segments)[0]

    def matches_template(self, messages: Sequence[Message], render: RenderTemplate) -> bool:
        """True if our token ids are the tokenizer's own for these messages."""
        row = Row("", tuple(messages), frozenset())
        return self.encode(row)[0] == render(messages)

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
        if totals and self.chat_format.begin:
            totals[0] += 1
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
    for chat_format in CHAT_FORMATS:
        if any(tokenizer.token_to_id(token) is None for token in chat_format.special_tokens):
            continue
        encoder = ChatEncoder(tokenizer, chat_format)
        if encoder.matches_template(_PROBE, render):
            return encoder
    names = ", ".join(chat_format.name for chat_format in CHAT_FORMATS)
    raise UnsupportedChatTemplate(
        f"the base model's chat template is none of those that can be trained exactly ({names}); "
        "choose an instruct model with one of these templates"
    )


def find_special_tokens(text: str) -> list[str]:
    """Spellings of control tokens inside plain text, in order of appearance."""
    return _SPECIAL_TOKEN.findall(text)


_SPECIAL_TOKEN = re.compile(r"<\|[A-Za-z0-9_ ]{2,40}\|>|\[/?INST\]|<</?SYS>>|</?s>")


def _common_prefix(left: list[int], right: list[int]) -> int:
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return min(len(left), len(right))
