"""The bytes of a training file: opened, decoded, and taken line by line with their places.

Knows encodings and line ends, nothing of JSON or conversations.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.dataset.findings import Finding, Severity, UnreadableDataset
from shared.errors import InvalidDataset

LONGEST_LINE_BYTES = 256 * 2**20
"""Of JSONL. The longest real line has 30 kB; a whole file without line breaks is no JSONL."""

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_WIDE_MARKS = {  # UTF-32 first: its mark begins with that of UTF-16.
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file, without its line break."""

    number: int
    """Counted from 1."""
    offset: int
    """Of its first byte, in the file."""
    raw: bytes

    @property
    def end(self) -> int:
        """Offset of the byte behind it."""
        return self.offset + len(self.raw)


def check_readable(path: Path) -> int:
    """The size of the file in bytes, if it is text that can be tried at all.

    Raises:
        InvalidDataset: missing, empty, compressed, or in another encoding than UTF-8.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            size_bytes = file.seek(0, 2)
    except OSError as error:
        raise _cannot_be_read(path, error) from error
    except ValueError as error:  # A name that no file can have.
        raise InvalidDataset(f"{path}: cannot be read ({error}).") from error
    for mark, name in _COMPRESSED.items():
        if head.startswith(mark):
            raise _refused(path, "compressed", f"is compressed ({name}).", "Unpack it first.")
    if name := wide_encoding(head):
        advice = "Save it as UTF-8, or let `brightrun dataset fix` do it."
        raise _refused(path, "not_utf8", f"is {name} text, not UTF-8.", advice)
    return size_bytes


def wide_encoding(head: bytes) -> str:
    """`UTF-16` or `UTF-32`, if a file begins with the mark of one; else empty."""
    return next((name for mark, name in _WIDE_MARKS.items() if head.startswith(mark)), "")


def lines_of(path: Path, offset: int = 0, number: int = 1) -> Iterator[Line]:
    """The lines that hold anything, from `offset` on, which is the start of line `number`.

    A byte-order mark at the start of the file belongs to no line.

    Raises:
        InvalidDataset: the file cannot be read, or a line is too long to be one of JSONL.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while raw := file.readline(LONGEST_LINE_BYTES + 1):
                start = offset
                offset += len(raw)
                if len(raw) > LONGEST_LINE_BYTES:
                    raise InvalidDataset(
                        f"{path}: line {number}: is longer than {LONGEST_LINE_BYTES // 2**20} MiB, "
                        "which no training pair is."
                    )
                if start == 0 and raw.startswith(codecs.BOM_UTF8):
                    start, raw = len(codecs.BOM_UTF8), raw.removeprefix(codecs.BOM_UTF8)
                text = raw.removesuffix(b"\n").removesuffix(b"\r")
                if text.strip():
                    yield Line(number, start, text)
                number += 1
    except OSError as error:
        raise _cannot_be_read(path, error) from error


def read_text(path: Path) -> str:
    """The whole file.

    Raises:
        InvalidDataset: it cannot be read, or is not UTF-8.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise _cannot_be_read(path, error) from error
    return decoded(raw.removeprefix(codecs.BOM_UTF8), path, line_number=1)


def decoded(raw: bytes, path: Path, line_number: int) -> str:
    """The bytes as text; they begin at the start of a line.

    Raises:
        UnreadableDataset: not UTF-8; names line, column and byte.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = line_number + raw.count(b"\n", 0, error.start)
        start = raw.rfind(b"\n", 0, error.start) + 1
        column = len(raw[start : error.start].decode(errors="replace")) + 1
        around = raw[max(error.start - 20, start) : error.start + 20].split(b"\n")[0]
        raise UnreadableDataset(
            str(path),
            Finding(
                Severity.ERROR,
                "not_utf8",
                f"byte 0x{raw[error.start]:02x} is not UTF-8 text.",
                "Save the file as UTF-8, or let `brightrun dataset fix` do it.",
                location=f"line {line}, column {column}",
                snippet=around.decode(errors="replace"),
            ),
        ) from error


def _refused(path: Path, code: str, message: str, advice: str) -> UnreadableDataset:
    return UnreadableDataset(str(path), Finding(Severity.ERROR, code, message, advice))


def _cannot_be_read(path: Path, error: OSError) -> InvalidDataset:
    return InvalidDataset(f"{path}: cannot be read ({error.strerror}).")
