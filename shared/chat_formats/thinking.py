"""ChatML with a block of reasoning before the last answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from shared.chat_formats.base import Segment, special
from shared.chat_formats.turns import TurnFormat
from shared.dataset.conversation import Message
from shared.dataset.folding import Row

_THINK, _THOUGHT = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class ThinkingFormat(TurnFormat):
    """ChatML with a block of reasoning before the last answer, empty where there is none: Qwen 3.

    Asked without thinking (`enable_thinking=False`), which is what answers without reasoning are
    trained for. Reasoning before an answer is trained where the file has it: a content that begins
    with `<think>` and holds one `</think>`; anywhere else these are plain text.
    """

    depends_on_later: ClassVar[str] = "earlier answers lose their block of reasoning"

    @property
    def special_tokens(self) -> list[str]:
        return [self.before_role, self.turn_end, _THINK, _THOUGHT]

    def generation_prompt(self) -> list[Segment]:
        return [*self._header("assistant", "", is_trained=False), *_block(""), Segment("\n\n")]

    def _message(self, row: Row, index: int, content: str) -> list[Segment]:
        message, is_trained = row.messages[index], index in row.trained
        if message.role != "assistant":
            return self._turn(message.role, content, is_trained)
        reasoning, answer = _split(content)
        is_last = index == len(row.messages) - 1
        is_shown = index > _last_question(row.messages) and (is_last or bool(reasoning))
        if not is_shown:
            return self._turn("assistant", answer, is_trained)
        trains_reasoning = is_trained and bool(reasoning)
        text = "\n\n" + answer.lstrip("\n")
        trained_from = (0 if trains_reasoning else 2) if is_trained else None
        return [
            *self._header("assistant", "", is_trained=False),
            *_block(reasoning, is_trained=trains_reasoning),
            Segment(text, trained_from=trained_from),
            *self._end(is_trained),
        ]


def _split(content: str) -> tuple[str, str]:
    """(reasoning, answer); no reasoning where the content is not of exactly that form."""
    is_block = content.startswith(_THINK) and content.count(_THINK) == content.count(_THOUGHT) == 1
    if not is_block:
        return "", content
    reasoning, answer = content.removeprefix(_THINK).split(_THOUGHT)
    return reasoning.strip("\n"), answer.lstrip("\n")


def _block(reasoning: str, *, is_trained: bool = False) -> list[Segment]:
    return [
        special(_THINK, is_trained=is_trained),
        Segment(f"\n{reasoning}\n", trained_from=0 if is_trained else None),
        special(_THOUGHT, is_trained=is_trained),
    ]


def _last_question(messages: Sequence[Message]) -> int:
    places = (index for index, message in enumerate(messages) if message.role == "user")
    return max(places, default=len(messages) - 1)
