"""Writes a training file in another form, conversation by conversation.

Broken places in the source are errors here: nothing is written then. What a form cannot hold is
said in `Converted.notes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO

from shared.dataset.cut_targets import is_cut, trained_rows
from shared.dataset.entries import to_conversation
from shared.dataset.findings import Finding, UnreadableDataset
from shared.dataset.folding import Row, count_targets
from shared.dataset.raw import RawConversation
from shared.dataset.reader import TrainingFile
from shared.dataset.writing import brightrun
from shared.dataset.writing.brightrun import Piece
from shared.dataset.writing.head import Head, read_head
from shared.dataset.writing.json_text import compact
from shared.dataset.writing.llama_text import row_text
from shared.dataset.writing.losses import Losses
from shared.dataset.writing.new_file import new_file, refuse_existing
from shared.errors import InvalidDataset
from shared.number_text import many

Keep = Callable[[RawConversation], bool]


class Form(StrEnum):
    """What can be written."""

    OPENAI = "openai"
    """A line `{"messages": [...]}` for each row; answers without loss have `"weight": 0`."""
    LLAMA3 = "llama3"
    """The text that the model sees, for reading."""
    BRIGHTRUN_JSON = "brightrun-json"
    BRIGHTRUN_JSONL = "brightrun-jsonl"

    @property
    def suffix(self) -> str:
        """Of a file's name."""
        return {Form.LLAMA3: ".txt", Form.BRIGHTRUN_JSON: ".json"}.get(self, ".jsonl")


@dataclass(slots=True)
class Converted:
    """What was written."""

    conversations: int = 0
    targets: int = 0
    """Answers that can be trained from it."""
    rows: int = 0
    """Lines of openai, texts of llama3; pairs of the brightrun forms, user turns included."""
    notes: list[str] = field(default_factory=list)
    """What the source did not hold, or the form cannot."""


def write_converted(
    source: TrainingFile, target: Path, form: Form, keep: Keep | None = None
) -> Converted:
    """Write the conversations of `source` that `keep` chooses, or all, to `target`, a new file.

    Raises:
        InvalidInput: `target` is there already, or cannot be written.
        InvalidDataset: the source is broken, holds nothing to write, or something that the form
            cannot say.
    """
    refuse_existing(target)  # before a long file is read
    losses = Losses()
    pieces = losses.watched(read_pieces(source, keep))
    if form in (Form.BRIGHTRUN_JSON, Form.BRIGHTRUN_JSONL):
        head = read_head(source)
        if keep is not None:  # A part of a file has another quality than the whole.
            head = brightrun.without(head, "quality_summary")
        return _write_brightrun(target, form, head, pieces, losses)
    return _write_rows(target, form, pieces, losses)


def read_pieces(source: TrainingFile, keep: Keep | None = None) -> Iterator[Piece]:
    """The conversations of a file that `keep` chooses, or all, ready to be written.

    Raises:
        InvalidDataset: something in the file cannot be read.
    """

    def refuse(finding: Finding) -> None:
        raise UnreadableDataset(str(source.path), finding)

    for raw in source.raw_conversations():
        if keep is None or keep(raw):
            yield Piece(raw, to_conversation(raw, refuse), source.path, source.layout)


def _write_brightrun(
    target: Path, form: Form, head: Head, pieces: Iterable[Piece], losses: Losses
) -> Converted:
    if form is Form.BRIGHTRUN_JSON:
        written = brightrun.write_document(target, head, pieces)
        notes = losses.of_document(head)
    else:
        written = brightrun.write_lines(target, head, pieces)
        notes = losses.of_lines(head, written.silent)
    totals = written.totals
    return Converted(totals.conversations, totals.targets, totals.turns, notes)


# --- openai and llama3 ------------------------------------------------------------------------


def _write_rows(target: Path, form: Form, pieces: Iterable[Piece], losses: Losses) -> Converted:
    converted = Converted()
    cut = silent = 0
    with new_file(target) as file:
        for piece in pieces:
            rows = trained_rows(piece.conversation, "exclude")
            cut += sum(is_cut(pair) for pair in piece.conversation.targets)
            silent += not rows
            converted.conversations += bool(rows)
            converted.targets += count_targets(rows)
            write = _write_openai if form is Form.OPENAI else _write_llama_3
            write(rows, piece, file, is_first=converted.rows == 0)
            converted.rows += len(rows)
        if converted.rows == 0:
            raise InvalidDataset(f"{target}: there is nothing to write: no answer can be trained.")
    converted.notes += losses.of_messages()
    if cut:
        converted.notes.append(f"Cut in mid-sentence and not trained: {many(cut, 'target')}.")
    if silent:
        conversations = many(silent, "conversation")
        converted.notes.append(f"Left out, without a trained target: {conversations}.")
    return converted


def _write_openai(rows: list[Row], piece: Piece, file: IO[bytes], is_first: bool) -> None:
    for number, row in enumerate(rows):
        line = compact({"messages": list(_openai_messages(row))}, piece.where)
        file.write((b"" if is_first and number == 0 else b"\n") + line)


def _openai_messages(row: Row) -> Iterator[dict[str, str | int]]:
    for index, message in enumerate(row.messages):
        entry: dict[str, str | int] = {"role": message.role, "content": message.content}
        if message.role == "assistant" and index not in row.trained:
            entry["weight"] = 0
        yield entry


def _write_llama_3(rows: list[Row], piece: Piece, file: IO[bytes], is_first: bool) -> None:
    for number, row in enumerate(rows, start=1):
        text = row_text(row, piece.raw.location, number, len(rows))
        file.write((b"" if is_first and number == 1 else b"\n") + text.encode())
