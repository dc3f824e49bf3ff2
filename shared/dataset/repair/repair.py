"""Repairs a training file into a new one, safely: nothing is guessed, everything is listed.

What is repaired: the encoding, text behind the JSON, literal `\\n`, counts in the metadata; cut
targets on request. What is not touched stays byte for byte. JSON that is broken otherwise is an
error. The result is read again before it gets its name.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.dataset.findings import Finding, Severity, UnreadableDataset
from shared.dataset.json_walk import JsonWalk
from shared.dataset.reader import open_training_file
from shared.dataset.repair.counts import Counts
from shared.dataset.repair.encoding import write_utf8
from shared.dataset.repair.log import Repair, RepairLog
from shared.dataset.repair.places import Edit, edited
from shared.dataset.repair.texts import TextRepairs
from shared.dataset.shapes import Kind, Shape
from shared.dataset.source import check_readable, decoded, read_text
from shared.dataset.writing.new_file import new_file, refuse_existing
from shared.errors import InvalidInput

_LINE_BREAK = "\n"
_BROKEN = ("invalid_json", "trailing_text", "not_utf8", "not_an_object")
"""Problems after which a file is no JSON; others are told by a check."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was done. Nothing was written where nothing was to be done."""

    repairs: tuple[Repair, ...]
    counts: dict[str, int]
    """Kind of repair -> how many; `repairs` may list fewer."""
    conversations: int
    targets: int
    remaining: int
    """Places that still cannot be read: fields that are missing or mistyped."""

    @property
    def is_written(self) -> bool:
        return bool(self.counts)


def repair(path: Path, target: Path, *, exclude_cut: bool = False) -> Repaired:
    """Write a repaired copy of the file at `path` to `target`, if there is anything to repair.

    Raises:
        InvalidInput: `target` is there already, or cannot be written.
        InvalidDataset: the file cannot be read, or is broken in a way that is not repaired.
    """
    refuse_existing(target)
    log = RepairLog()
    try:
        with (
            tempfile.TemporaryDirectory(dir=target.parent, prefix=".brightrun-fix-") as folder,
            _named(path),
        ):
            return _repair(path, target, Path(folder), exclude_cut, log)
    except OSError as error:
        raise InvalidInput(f"{target}: cannot be written ({error.strerror}).") from error


def _repair(path: Path, target: Path, folder: Path, exclude_cut: bool, log: RepairLog) -> Repaired:
    _refuse_packed(path)
    current = path
    if write_utf8(path, folder / "decoded", log):
        current = folder / "decoded"
    layout = open_training_file(current).layout
    _rewrite(current, folder / "texts", layout, _text_repairs(layout, exclude_cut, log))
    counts, remaining = _read_again(folder / "texts")
    final = folder / "texts"
    if layout.kind is Kind.BRIGHTRUN:
        done = log.counts
        _rewrite(final, folder / "counts", layout, _count_repairs(counts, log))
        if log.counts != done:
            final = folder / "counts"
            counts, remaining = _read_again(final)
    totals = counts.totals
    if log.counts:
        with new_file(target) as file, final.open("rb") as mended:
            shutil.copyfileobj(mended, file, 2**20)
    return Repaired(log.repairs, log.counts, totals.conversations, totals.targets, remaining)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors about files on the way name the file that the user knows."""
    try:
        yield
    except UnreadableDataset as error:
        raise UnreadableDataset(str(path), error.finding) from error


def _refuse_packed(path: Path) -> None:
    try:
        check_readable(path)
    except UnreadableDataset as error:
        if error.finding.code != "not_utf8":
            raise


# --- one pass over a file ---------------------------------------------------------------------

Mend = Callable[[str, int | None], str | None]
"""Takes a JSON text, the document (None) or the line of this number, and gives it back repaired;
None leaves the line out."""


def _rewrite(source: Path, target: Path, layout: Shape, mend: Mend) -> None:
    if not layout.is_lines:
        text = mend(read_text(source), None)
        target.write_bytes((text or "").encode())
        return
    with source.open("rb") as reader, target.open("wb") as writer:
        raw = end_of_line = b""
        for number, raw in enumerate(reader, start=1):
            line = raw.rstrip(b"\r\n")
            mended: bytes | None = line
            if line.strip():
                text = decoded(line, source, number)
                new = mend(text, number)
                mended = line if new == text else new.encode() if new is not None else None
            if mended is not None:
                # Written late, so that a last line that is left out leaves no empty one behind.
                writer.write(end_of_line + mended)
                end_of_line = raw[len(line) :]
        writer.write(end_of_line if raw.endswith(b"\n") else b"")


def _text_repairs(layout: Shape, exclude_cut: bool, log: RepairLog) -> Mend:
    def mend(text: str, line_number: int | None) -> str | None:
        repairs = TextRepairs(text, layout, exclude_cut, log)
        walk = JsonWalk(text, Path(), line_number=line_number or 1)
        edits = list(repairs.edits(walk, line_number))
        edits += _end(text, walk, line_number, log)
        return None if repairs.drops_line else edited(text, edits)

    return mend


def _count_repairs(counts: Counts, log: RepairLog) -> Mend:
    def mend(text: str, line_number: int | None) -> str | None:
        walk = JsonWalk(text, Path())
        if line_number is None:
            return edited(text, counts.of_document(text, walk, log))
        if '"_meta"' not in text:
            return text
        return edited(text, counts.of_line(walk, f"line {line_number}", log))

    return mend


def _end(text: str, walk: JsonWalk, line_number: int | None, log: RepairLog) -> list[Edit]:
    """Takes away what stands behind the JSON, unless it may be more of the data."""
    end = walk.position
    if not walk.peek():
        return []
    rest = text[end:].strip()
    line = (line_number or 1) + text.count("\n", 0, walk.position)
    place = f"line {line}, column {walk.position - text.rfind(_LINE_BREAK, 0, walk.position)}"
    if "{" in rest or "[" in rest:
        raise _more_data(place, rest[:60])
    log.add("trailing_text", place, rest[:80], "")
    return [Edit(end, len(text), "\n" if text.endswith("\n") else "")]


def _more_data(place: str, snippet: str) -> UnreadableDataset:
    return UnreadableDataset(
        "",
        Finding(
            Severity.ERROR,
            "trailing_text",
            "more JSON stands behind the end of the JSON.",
            "Keep one document a file, or one object a line.",
            location=place,
            snippet=snippet,
        ),
    )


def _read_again(path: Path) -> tuple[Counts, int]:
    """What the file holds, and how many places in it cannot be read.

    Raises:
        UnreadableDataset: it is no JSON, or no training file.
    """
    counts = Counts()
    problems: list[str] = []

    def note(finding: Finding) -> None:
        if finding.code in _BROKEN:
            raise UnreadableDataset(str(path), finding)
        problems.append(finding.code)

    for conversation in open_training_file(path).conversations(note):
        counts.add(conversation)
    if counts.totals.conversations == 0 and not problems:
        raise UnreadableDataset(
            str(path), Finding(Severity.ERROR, "empty", "nothing would be left of it.", "")
        )
    return counts, len(problems)
