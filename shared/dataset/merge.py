"""Several training files as one: all their conversations, each once, each with an id of its own.

The same files in the same order give the same bytes: what the head says is the first file's, and no
clock is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shared.dataset.convert import read_pieces
from shared.dataset.reader import TrainingFile
from shared.dataset.similarity import content_hash
from shared.dataset.writing import brightrun
from shared.dataset.writing.brightrun import Piece
from shared.dataset.writing.head import Head, read_head
from shared.dataset.writing.losses import Losses
from shared.dataset.writing.new_file import refuse_existing
from shared.errors import InvalidInput

_WRITERS = {".json": brightrun.write_document, ".jsonl": brightrun.write_lines}


@dataclass(frozen=True, slots=True)
class Place:
    """A conversation of one of the files."""

    path: Path
    location: str
    conversation_id: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A conversation that was left out, since it says what an earlier one says."""

    left_out: Place
    kept: Place


@dataclass(frozen=True, slots=True)
class Renamed:
    """A conversation that got another id, since one that says something else has its own."""

    place: Place
    new_id: str


@dataclass(frozen=True, slots=True)
class Merged:
    """What was written."""

    conversations: int
    targets: int
    duplicates: tuple[Duplicate, ...]
    renamed: tuple[Renamed, ...]
    notes: tuple[str, ...]
    """What the files did not hold, or the form cannot."""


def merge(files: Sequence[TrainingFile], target: Path) -> Merged:
    """Write the conversations of all files to `target`, a new file: JSON or JSONL by its suffix.

    Raises:
        InvalidInput: `target` is there already, has another suffix, or cannot be written.
        InvalidDataset: a file is broken, or holds what training pairs cannot say.
    """
    writer = _WRITERS.get(target.suffix.lower())
    if writer is None or not files:
        raise InvalidInput(
            f"{target}: give at least one file, and a name that ends in .jsonl or .json."
        )
    refuse_existing(target)  # before long files are read
    heads = [read_head(file) for file in files]
    head = _common_head(heads)
    losses, once = Losses(), _Once()
    written = writer(target, head, losses.watched(once.of(files)))
    if writer is brightrun.write_document:
        notes = losses.of_document(head)
    else:
        notes = losses.of_lines(head, written.silent)
    return Merged(
        conversations=written.totals.conversations,
        targets=written.totals.targets,
        duplicates=tuple(once.duplicates),
        renamed=tuple(once.renamed),
        notes=(*notes, *_differing(heads)),
    )


class _Once:
    """Lets each conversation through once, and tells ids apart."""

    def __init__(self) -> None:
        self.duplicates: list[Duplicate] = []
        self.renamed: list[Renamed] = []
        self._seen: dict[bytes, Place] = {}
        self._ids: set[str] = set()

    def of(self, files: Sequence[TrainingFile]) -> Iterator[Piece]:
        for file in files:
            for piece in read_pieces(file):
                place = Place(piece.path, piece.raw.location, piece.raw.conversation_id)
                kept = self._seen.setdefault(content_hash(piece.conversation), place)
                if kept is place:
                    yield self._with_own_id(piece, place)
                else:
                    self.duplicates.append(Duplicate(place, kept))

    def _with_own_id(self, piece: Piece, place: Place) -> Piece:
        own_id, number = place.conversation_id, 1
        while own_id in self._ids:
            number += 1
            own_id = f"{place.conversation_id}-{number}"
        self._ids.add(own_id)
        if number == 1:
            return piece
        self.renamed.append(Renamed(place, own_id))
        return replace(piece, raw=replace(piece.raw, conversation_id=own_id))


def _common_head(heads: Sequence[Head]) -> Head:
    """The first file's, with members of the others that it lacks."""
    head = heads[0]
    if len(heads) > 1:  # One file's quality is not that of all.
        head = brightrun.without(head, "quality_summary")
    others: dict[str, Any] = {}
    for each in heads:
        for name, value in each.others.items():
            others.setdefault(name, value)
    return replace(head, others=others)


def _differing(heads: Sequence[Head]) -> Iterator[str]:
    first: dict[str, Any] = {}
    told: set[str] = set()
    for head in heads:
        for name, value in head.others.items():
            if first.setdefault(name, value) != value and name not in told:
                told.add(name)
                yield f'The files differ in "{name[:40]}"; the first one\'s is kept.'
