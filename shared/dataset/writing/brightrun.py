"""Writes brightrun-lora-v4 files, JSON and JSONL, from conversations of any shape.

The head counts what follows it, so the body is written to a nameless file first; no more than one
conversation is in memory.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from shared.dataset.conversation import Conversation
from shared.dataset.raw import RawConversation
from shared.dataset.shapes import Kind, Shape
from shared.dataset.totals import Totals, spoken_turns
from shared.dataset.writing.brightrun_pairs import trainable_lines, whole_entry
from shared.dataset.writing.head import METADATA, Head
from shared.dataset.writing.json_text import compact, indented
from shared.dataset.writing.new_file import new_file
from shared.errors import InvalidDataset


@dataclass(frozen=True, slots=True)
class Piece:
    """A conversation to be written, with the layout of the file it comes from."""

    raw: RawConversation
    conversation: Conversation
    path: Path
    layout: Shape

    @property
    def where(self) -> str:
        """For errors."""
        return f"{self.path}: {self.raw.location}: conversation {self.raw.conversation_id!r}"


@dataclass(slots=True)
class Written:
    """What a file holds once it is written."""

    totals: Totals
    silent: int = 0
    """Conversations left out of JSONL, because nothing in them can be trained."""
    largest_turns: int = 0
    """As many turns there may be in the sources: a last user turn leaves no trace in JSONL."""


def write_document(target: Path, head: Head, pieces: Iterable[Piece]) -> Written:
    """Write the pieces as one JSON document.

    Raises:
        InvalidInput: `target` is there already, or cannot be written.
        InvalidDataset: there is no piece, or one that training pairs cannot say.
    """
    written = Written(Totals())
    with new_file(target) as file, _nameless(target) as body:
        for piece in pieces:
            entry = whole_entry(piece.raw, piece.conversation, piece.layout)
            body.write(b",\n    " if written.totals.conversations else b"")
            body.write(indented(entry, piece.where, depth=2))
            written.totals.add(piece.conversation, len(entry["training_pairs"]))
        _refuse_nothing(target, written)
        members = {METADATA: _document_metadata(target, head, written.totals), **head.others}
        file.write(b"{\n")
        for name, value in members.items():
            key, text = compact(name, str(target)), indented(value, str(target), depth=1)
            file.write(b"  " + key + b": " + text + b",\n")
        file.write(b'  "conversations": [\n    ')
        _append(body, file)
        file.write(b"\n  ]\n}")
    return written


def write_lines(target: Path, head: Head, pieces: Iterable[Piece]) -> Written:
    """Write the pieces as JSONL: `_meta`, then a line for each pair with a target.

    Raises:
        InvalidInput: `target` is there already, or cannot be written.
        InvalidDataset: there is no piece to train, or one that training pairs cannot say, or two
            with one id, which lines could not tell apart.
    """
    written = Written(Totals())
    ids: set[str] = set()
    with new_file(target) as file, _nameless(target) as body:
        for piece in pieces:
            if piece.raw.conversation_id in ids:
                raise InvalidDataset(
                    f"{piece.where}: another conversation has this id, and JSONL tells "
                    "conversations apart by nothing else. Give each its own."
                )
            ids.add(piece.raw.conversation_id)
            _write_lines(piece, body, written)
        _refuse_nothing(target, written)
        meta = {"_meta": _line_metadata(target, head, written)}
        file.write(compact(meta, str(target)))
        _append(body, file)
    return written


def _write_lines(piece: Piece, body: IO[bytes], written: Written) -> None:
    count = 0
    for line in trainable_lines(piece.raw, piece.conversation):
        body.write(b"\n" + compact(line, piece.where))
        count += 1
    turns = _turns(piece)
    if count == 0:
        written.silent += 1
        written.totals.turns += turns  # total_pairs counts them all the same.
    else:
        written.totals.add(piece.conversation, turns)
    written.largest_turns += turns + _is_line_based(piece)


def _turns(piece: Piece) -> int:
    if _is_line_based(piece):
        return spoken_turns(piece.conversation)
    return len(piece.conversation.pairs)


def _is_line_based(piece: Piece) -> bool:
    return piece.layout.kind is Kind.BRIGHTRUN and piece.layout.is_lines


def _refuse_nothing(target: Path, written: Written) -> None:
    if written.totals.conversations == 0:
        raise InvalidDataset(f"{target}: there is no conversation to write.")


def _document_metadata(target: Path, head: Head, totals: Totals) -> dict[str, Any]:
    """The source's own, with the counts as they are now."""
    metadata = {**_named(target, head), **head.metadata, "file_name": target.stem}
    metadata.setdefault("format_spec", head.spec)
    metadata.pop("total_pairs", None)  # of a JSONL source
    return {
        **metadata,
        "total_conversations": totals.conversations,
        "total_training_pairs": totals.turns,
        "scaffolding_distribution": totals.distribution,
    }


def _line_metadata(target: Path, head: Head, written: Written) -> dict[str, Any]:
    # What a document says of itself beyond these three has no place in JSONL.
    known = head.metadata if head.is_line else {}
    version = head.metadata.get("version", _named(target, head)["version"])
    named = {"file_name": target.stem, "total_pairs": written.totals.turns, "version": version}
    declared = known.get("total_pairs")
    if isinstance(declared, int) and written.totals.turns <= declared <= written.largest_turns:
        named["total_pairs"] = declared
    return {**known, **named}


def _named(target: Path, head: Head) -> dict[str, Any]:
    version = "5.0.0" if head.spec.endswith("v5") else "4.0.0"
    return {"file_name": target.stem, "version": version}


def without(head: Head, *names: str) -> Head:
    """The head without these members of its metadata."""
    kept = {name: value for name, value in head.metadata.items() if name not in names}
    return replace(head, metadata=kept)


def _append(body: IO[bytes], file: IO[bytes]) -> None:
    body.seek(0)
    shutil.copyfileobj(body, file, 2**20)


def _nameless(target: Path) -> IO[bytes]:
    """A file beside `target`, where there is room, that is gone once it is closed."""
    return tempfile.TemporaryFile(dir=target.parent)
