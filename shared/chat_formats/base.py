"""What a chat format is: messages become control tokens and plain text.

Texts only: what their token ids are, and whether a base model's own template says the same, is for
`shared.chat_format`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from shared.dataset.conversation import Message
from shared.dataset.folding import Row, row_up_to


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a rendered row. `trained_from` counts characters; None: nothing is trained."""

    text: str
    is_special: bool = False
    trained_from: int | None = None


def special(token: str, *, is_trained: bool = False) -> Segment:
    """A control token, looked up by its name."""
    return Segment(token, is_special=True, trained_from=0 if is_trained else None)


@dataclass(frozen=True, slots=True)
class ChatFormat(ABC):
    """One family of chat templates."""

    name: str
    marks: tuple[str, ...]
    """Strings that a template of this family holds: how it is known where it cannot be run."""

    depends_on_later: ClassVar[str] = ""
    """What of a message depends on later ones; empty where nothing does, and every row that folds
    as text folds as tokens."""
    template_renders_answers: ClassVar[bool] = True
    """False where the template renders an answered conversation otherwise than its prompt: then
    the prompt counts, since it is what the model sees when it answers."""

    @property
    @abstractmethod
    def special_tokens(self) -> list[str]:
        """The control tokens that a tokenizer must have."""

    @property
    @abstractmethod
    def end_of_turn(self) -> str:
        """The control token that ends an answer, and is trained with it."""

    @abstractmethod
    def message_segments(self, row: Row) -> list[list[Segment]]:
        """The segments of each message; what stands before the first one counts with it."""

    @abstractmethod
    def generation_prompt(self) -> list[Segment]:
        """What stands before an answer that is still to be generated."""

    @abstractmethod
    def with_default_system(self, text: str) -> Self:
        """The format of a template that says `text` as the system where a conversation does not."""

    @abstractmethod
    def system_turn(self) -> tuple[str, str, str]:
        """What stands around the system's text: a special token, plain text, and after it a special
        token; all empty where the system has no turn."""

    def segments(self, row: Row) -> list[Segment]:
        """The row's segments, in order; the end of a trained turn is trained with its content."""
        return [piece for pieces in self.message_segments(row) for piece in pieces]

    def prompt_segments(self, messages: Sequence[Message]) -> list[Segment]:
        """The segments up to where the assistant's answer begins."""
        row = Row("", tuple(messages), frozenset())
        return [*self.segments(row), *self.generation_prompt()]

    def folds_exactly(self, row: Row) -> bool:
        """True if every target of the row has the tokens before it, and the labels, that it has in
        a row of its own. Segments are encoded one by one, so equal segments are equal tokens.
        """
        if not self.depends_on_later or len(row.trained) < 2:
            return True
        whole = self.message_segments(row)
        for index in row.trained:
            alone = self.message_segments(row_up_to(row, index))
            if alone[index] != whole[index]:
                return False
            if _texts(alone[:index]) != _texts(whole[:index]):
                return False
        return True


def _texts(messages: list[list[Segment]]) -> list[list[str]]:
    return [[piece.text for piece in pieces] for pieces in messages]
