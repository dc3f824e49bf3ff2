"""A training file of the web application as a row of text, clean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.clean_text import clean_line
from shared.errors import InvalidDataset
from shared.number_text import date_and_clock, number, size
from shared.store.web_training_files import WebFile
from tui.services.web_file_rows import READY, RemoteFile


@dataclass(frozen=True, slots=True)
class RemoteFileRow:
    """Every cell as it is shown."""

    id: str
    name: str
    conversations: str
    pairs: str
    size: str
    status: str
    created: str
    here: str


def remote_file_row(file: RemoteFile, here: WebFile | None) -> RemoteFileRow:
    """`here` is what was fetched of it."""
    return RemoteFileRow(
        id=clean_line(file.id),
        name=clean_line(file.name),
        conversations=number(file.conversation_count, ","),
        pairs=number(file.total_training_pairs, ","),
        size=_size(file),
        status=clean_line(file.status),
        created=_created(file.created_at),
        here=_here(file, here),
    )


def remote_file_details(file: RemoteFile) -> list[str]:
    """What the row has no column for, in lines."""
    lines = [clean_line(file.description)] if file.description else []
    if file.status not in ("", READY):
        lines.append(f"status: {clean_line(file.status)}")
    if file.sha256:
        lines.append(f"sha256 {file.sha256[:16]}")
    lines += [
        f"{clean_line(str(key))}: {clean_line(str(file.metadata[key]))[:120]}"
        for key in sorted(file.metadata, key=str)
    ]
    return lines


def _here(file: RemoteFile, here: WebFile | None) -> str:
    if here is None:
        return ""
    if file.sha256 is None:
        return "fetched"
    return "yes" if file.sha256 == here.sha256 else "changed"


def _size(file: RemoteFile) -> str:
    try:
        found = file.bytes_there.size_bytes
    except InvalidDataset:
        return "no file"
    return "–" if found is None else size(found)


def _created(text: str) -> str:
    try:
        return date_and_clock(datetime.fromisoformat(text))
    except ValueError:
        return "–"
