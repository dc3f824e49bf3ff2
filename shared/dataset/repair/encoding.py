"""Makes UTF-8 of a training file: from UTF-16 and UTF-32 with their marks, and of single bytes of
Windows-1252 in a file that is UTF-8 elsewhere.

What may be something else is left alone, as an error: several such bytes in a row are another
encoding, and the beginning of a UTF-8 character is a text that was cut.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from shared.dataset.findings import Finding, Severity, UnreadableDataset
from shared.dataset.repair.log import RepairLog, around
from shared.dataset.source import wide_encoding
from shared.errors import InvalidDataset

_CHUNK = 2**20
_LONGEST_RUN = 3
"""Bytes of Windows-1252 side by side that are still punctuation, such as a dash and a quote."""

# How Python keeps bytes that are not UTF-8 in a text: `errors="surrogateescape"`.
_BAD_BYTES = re.compile("[\udc80-\udcff]+")
_PART_OF_A_CHARACTER = re.compile(rb"[\xc2-\xf4][\x80-\xbf]")


def write_utf8(source: Path, target: Path, log: RepairLog) -> bool:
    """Write `source` as UTF-8 without a mark to `target`; False if it is that already.

    Raises:
        InvalidDataset: it cannot be read, or what it is cannot be told.
    """
    try:
        with source.open("rb") as file:
            head = file.read(4)
        if name := wide_encoding(head):
            _decode_whole(source, target, name)
            log.add("encoding", "start of the file", name, "UTF-8")
            return True
        has_mark = head.startswith(codecs.BOM_UTF8)
        if not has_mark and _is_utf8(source):
            return False
        _decode_lines(source, target, log)
    except OSError as error:
        raise InvalidDataset(f"{source}: cannot be read ({error.strerror}).") from error
    return True


def _decode_whole(source: Path, target: Path, name: str) -> None:
    try:
        with (
            source.open(encoding=name, newline="") as reader,
            target.open("w", encoding="utf-8", newline="") as writer,
        ):
            while text := reader.read(_CHUNK):
                writer.write(text)
    except UnicodeError as error:
        raise InvalidDataset(
            f"{source}: begins as {name} text and goes on as something else ({error}). "
            "Save it as UTF-8."
        ) from error


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _decode_lines(source: Path, target: Path, log: RepairLog) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        for number, line in enumerate(reader, start=1):
            raw = line
            if number == 1 and raw.startswith(codecs.BOM_UTF8):
                raw = raw.removeprefix(codecs.BOM_UTF8)
                log.add("encoding", "start of the file", "UTF-8 with a byte order mark", "UTF-8")
            text = raw.decode(errors="surrogateescape")
            writer.write(_repaired(text, source, number, log).encode())


def _repaired(text: str, path: Path, line_number: int, log: RepairLog) -> str:
    def character(found: re.Match[str]) -> str:
        raw = found[0].encode(errors="surrogateescape")
        place = f"line {line_number}, column {found.start() + 1}"
        snippet = around(text, found.start()).encode(errors="surrogateescape")
        before = snippet.decode(errors="backslashreplace").strip()
        is_single = len(raw) <= _LONGEST_RUN and not _PART_OF_A_CHARACTER.search(raw)
        decoded = raw.decode("cp1252", errors="ignore") if is_single else ""
        if len(decoded) < len(raw):
            raise _unknown(path, place, before)
        log.add("encoding", place, before, around(text, found.start()).replace(found[0], decoded))
        return decoded

    return _BAD_BYTES.sub(character, text)


def _unknown(path: Path, place: str, snippet: str) -> UnreadableDataset:
    return UnreadableDataset(
        str(path),
        Finding(
            Severity.ERROR,
            "not_utf8",
            "is neither UTF-8 nor a single character of Windows-1252.",
            "Save the file as UTF-8 in the program that it comes from.",
            location=place,
            snippet=snippet,
        ),
    )
