"""Mistral's formats since its third tokenizer, whose control strings are tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from shared.chat_formats.base import ChatFormat, Segment, special
from shared.dataset.folding import Row


@dataclass(frozen=True, slots=True)
class MistralFormat(ChatFormat):
    """`[INST]` and `[/INST]` around what the user says; the answer ends with `</s>`."""

    user_space: str
    """Before the user's and the system's text; SentencePiece vocabularies have a space there."""
    answer_space: str
    """The same before an answer. It is the model's own first text, and trained."""
    strips_answers: bool

    @property
    def special_tokens(self) -> list[str]:
        return ["<s>", "[INST]", "[/INST]", "</s>"]

    @property
    def end_of_turn(self) -> str:
        return "</s>"

    def generation_prompt(self) -> list[Segment]:
        return []

    def _user(self, content: str) -> list[Segment]:
        return [special("[INST]"), Segment(self.user_space + content), special("[/INST]")]

    def _answer(self, content: str, is_trained: bool) -> list[Segment]:
        text = self.answer_space + (content.strip() if self.strips_answers else content)
        trained_from = 0 if is_trained else None
        return [Segment(text, trained_from=trained_from), special("</s>", is_trained=is_trained)]


@dataclass(frozen=True, slots=True)
class MistralV3Format(MistralFormat):
    """The system's text stands in the last user turn.

    The template of the hub leaves it out where an answer follows; `mistral-common`, which is what
    the models were trained with, does not (1.13.1, 2026-11).
    """

    depends_on_later: ClassVar[str] = "the system prompt stands in the last user turn"
    template_renders_answers: ClassVar[bool] = False

    def message_segments(self, row: Row) -> list[list[Segment]]:
        has_system = bool(row.messages) and row.messages[0].role == "system"
        system = f"{row.messages[0].content}\n\n" if has_system else ""
        last = max((i for i, item in enumerate(row.messages) if item.role == "user"), default=-1)
        written: list[list[Segment]] = []
        for index, message in enumerate(row.messages):
            if index == 0 and has_system:
                written.append([])
            elif message.role == "assistant":
                written.append(self._answer(message.content, index in row.trained))
            else:
                before = system if index == last else ""
                written.append(self._user(before + message.content))
        if written:
            written[0] = [special("<s>"), *written[0]]
        return written

    def with_default_system(self, text: str) -> Self:
        return self

    def system_turn(self) -> tuple[str, str, str]:
        return "", "", ""


@dataclass(frozen=True, slots=True)
class MistralV7Format(MistralFormat):
    """The system has a turn of its own."""

    default_system: str | None = None

    @property
    def special_tokens(self) -> list[str]:
        return ["<s>", "[INST]", "[/INST]", "</s>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"]

    def message_segments(self, row: Row) -> list[list[Segment]]:
        written: list[list[Segment]] = []
        for index, message in enumerate(row.messages):
            if message.role == "assistant":
                written.append(self._answer(message.content, index in row.trained))
            elif message.role == "system":
                written.append(self._system(message.content))
            else:
                written.append(self._user(message.content))
        if written:
            has_system = row.messages[0].role == "system"
            asks_default = self.default_system is not None and not has_system
            default = self._system(self.default_system or "") if asks_default else []
            written[0] = [special("<s>"), *default, *written[0]]
        return written

    def with_default_system(self, text: str) -> Self:
        return replace(self, default_system=text)

    def system_turn(self) -> tuple[str, str, str]:
        return "[SYSTEM_PROMPT]", self.user_space, "[/SYSTEM_PROMPT]"

    def _system(self, content: str) -> list[Segment]:
        text = Segment(self.user_space + content)
        return [special("[SYSTEM_PROMPT]"), text, special("[/SYSTEM_PROMPT]")]
