"""Formats in which each message has a header with its role and a token at its end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from shared.chat_formats.base import ChatFormat, Segment, special
from shared.dataset.conversation import Role
from shared.dataset.folding import Row


@dataclass(frozen=True, slots=True)
class TurnFormat(ChatFormat):
    """A header with the role, the content, an end: Llama 3, ChatML, Phi-4, Gemma."""

    begin: str
    """Special token before the first message; empty for none."""
    before_role: str
    after_role: str
    """Special token after the role; empty where only `header_end` parts role and content."""
    header_end: str
    """Plain text between the role and the content."""
    turn_end: str
    after_turn: str
    """Plain text after the end of a turn."""
    strips_content: bool
    assistant: str = "assistant"
    system_in_first_turn: bool = False
    """The system's text stands before the first message's, in its turn."""
    preface: str = ""
    """Plain text before the system's."""
    default_system: str | None = None
    """What the system says where a conversation has no system message; None: it has no turn."""

    @property
    def special_tokens(self) -> list[str]:
        named = (self.begin, self.before_role, self.after_role, self.turn_end)
        return [token for token in named if token]

    @property
    def end_of_turn(self) -> str:
        return self.turn_end

    def message_segments(self, row: Row) -> list[list[Segment]]:
        has_system = bool(row.messages) and row.messages[0].role == "system"
        written: list[list[Segment]] = []
        pending = ""
        for index, message in enumerate(row.messages):
            content = message.content.strip() if self.strips_content else message.content
            if index == 0 and has_system:
                if self.system_in_first_turn:
                    pending = f"{message.content}\n\n"
                    written.append([])
                    continue
                content = self.preface + content
            written.append(self._message(row, index, pending + content))
            pending = ""
        if written:
            written[0] = [*self._beginning(has_system), *written[0]]
        return written

    def generation_prompt(self) -> list[Segment]:
        return self._header("assistant", content="", is_trained=False)

    def with_default_system(self, text: str) -> Self:
        return replace(self, default_system=text.removeprefix(self.preface))

    def system_turn(self) -> tuple[str, str, str]:
        if self.system_in_first_turn:
            return "", "", ""
        return self.before_role, f"system{self.header_end}", self.turn_end

    def _beginning(self, has_system: bool) -> list[Segment]:
        begin = [special(self.begin)] if self.begin else []
        if has_system or self.default_system is None:
            return begin
        content = self.preface + self.default_system
        return [*begin, *self._turn("system", content, is_trained=False)]

    def _message(self, row: Row, index: int, content: str) -> list[Segment]:
        return self._turn(row.messages[index].role, content, is_trained=index in row.trained)

    def _turn(self, role: Role, content: str, is_trained: bool) -> list[Segment]:
        return [*self._header(role, content, is_trained), *self._end(is_trained)]

    def _end(self, is_trained: bool) -> list[Segment]:
        after = [Segment(self.after_turn)] if self.after_turn else []
        return [special(self.turn_end, is_trained=is_trained), *after]

    def _header(self, role: Role, content: str, is_trained: bool) -> list[Segment]:
        before = special(self.before_role)
        spelled = self.assistant if role == "assistant" else role
        header = self.header_end if self.after_role else spelled + self.header_end
        text = Segment(header + content, trained_from=len(header) if is_trained else None)
        if self.after_role:
            return [before, Segment(spelled), special(self.after_role), text]
        return [before, text]
