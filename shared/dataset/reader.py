"""Reads training files into conversations, whatever their shape: the whole file, or as a stream.

The shape is found in the content, never taken from the file's name. JSONL is streamed: no more than
one conversation is held as text. A JSON document is held as text, and one conversation of it as
objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shared.dataset.conversation import Conversation, Dataset, Declared
from shared.dataset.entries import to_conversation
from shared.dataset.fields import OnProblem
from shared.dataset.findings import Finding, UnreadableDataset
from shared.dataset.raw import OnProgress, RawConversation, document_conversations
from shared.dataset.raw_lines import line_conversations
from shared.dataset.shapes import JSON_SHAPE, JSONL_SHAPE, Shape, detect
from shared.dataset.source import check_readable

__all__ = ["JSONL_SHAPE", "JSON_SHAPE", "TrainingFile", "open_training_file", "read_dataset"]


class TrainingFile:
    """A training file whose shape is known. It is opened anew for each iteration."""

    def __init__(self, path: Path, shape: Shape, size_bytes: int) -> None:
        self.path = path
        self.layout = shape
        self.size_bytes = size_bytes
        self.declared = Declared()
        """What the metadata says; complete once an iteration has ended."""

    @property
    def shape(self) -> str:
        """Name of the shape, for people."""
        return self.layout.name

    def conversations(
        self, on_problem: OnProblem | None = None, on_progress: OnProgress | None = None
    ) -> Iterator[Conversation]:
        """The conversations, one after the other.

        What cannot be read goes to `on_problem`, and reading goes on behind it as far as it can:
        with the next line, pair or conversation. Without `on_problem` the first one is raised.
        `on_progress` takes the bytes done, of `size_bytes`.

        Raises:
            InvalidDataset: the file cannot be read any more.
        """
        on_problem = on_problem or self._raise
        for raw in self.raw_conversations(on_problem, on_progress):
            yield to_conversation(raw, on_problem)

    def raw_conversations(
        self, on_problem: OnProblem | None = None, on_progress: OnProgress | None = None
    ) -> Iterator[RawConversation]:
        """The same as JSON values, for who writes them elsewhere."""
        self.declared = Declared()
        read = line_conversations if self.layout.is_lines else document_conversations
        yield from read(
            self.path,
            self.layout,
            self.declared,
            on_problem or self._raise,
            on_progress or _in_silence,
        )

    def _raise(self, finding: Finding) -> None:
        raise UnreadableDataset(str(self.path), finding)


def open_training_file(path: Path) -> TrainingFile:
    """Look at the file's beginning.

    Raises:
        InvalidDataset: nothing in it can be read: missing, empty, compressed, not UTF-8, of another
            shape, or broken before its shape can be seen.
    """
    size_bytes = check_readable(path)
    return TrainingFile(path, detect(path), size_bytes)


def read_dataset(path: Path) -> Dataset:
    """The whole file, for who trains it.

    Raises:
        InvalidDataset: something in it cannot be read. The message names the file, the place in it
            (line and column, or the JSON path) and the text there.
    """
    file = open_training_file(path)
    conversations = tuple(file.conversations())
    return Dataset(path, file.shape, conversations, file.declared)


def _in_silence(done_bytes: int) -> None:
    pass
