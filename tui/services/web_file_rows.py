"""A row of the web application's `training_files`, as a value. Pure; knows no network.

The table is the web application's own, so a column that is missing there is unknown here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from shared.clean_text import clean_line
from shared.errors import InvalidDataset

BUCKET = "training-files"
READY = "ready"
UPLOADING = "uploading"
"""A row whose bytes are still on their way; ours, since the row has to be there first."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_STEM = 60


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The bytes of a row, as the row describes them; None where it does not say."""

    name: str
    """Within the bucket."""
    suffix: str
    size_bytes: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One row; None where it does not say."""

    id: str
    name: str
    description: str
    conversation_count: int | None
    total_training_pairs: int | None
    json_file_path: str | None
    jsonl_file_path: str | None
    json_file_size: int | None
    jsonl_file_size: int | None
    sha256: str | None
    """Of the JSONL file, or of the JSON file where there is no other."""
    status: str
    created_by: str | None
    created_at: str
    updated_at: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bytes_there(self) -> StoredObject:
        """The JSONL, which is read as a stream, or else the JSON.

        Raises:
            InvalidDataset: the row names neither, or a place that cannot be right.
        """
        if self.jsonl_file_path:
            name, suffix, size = self.jsonl_file_path, ".jsonl", self.jsonl_file_size
        elif self.json_file_path:
            name, suffix, size = self.json_file_path, ".json", self.json_file_size
        else:
            raise InvalidDataset(
                f"training file {self.id}: its row names no JSON and no JSONL file. Export it "
                "again in the web application."
            )
        return StoredObject(self._object_name(name), suffix, size, self.sha256)

    @property
    def file_name(self) -> str:
        """What it is called here: safe, and without a suffix."""
        stem = clean_line(self.name).replace("/", "-").replace("\\", "-").strip(". ")
        return stem.removesuffix(".jsonl").removesuffix(".json")[:_LONGEST_STEM] or "training"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def _object_name(self, path: str) -> str:
        """Below the row's own id: a service key reads everything, also what is somebody else's."""
        # The web application has written it with the bucket before it, and without.
        name = path.strip().removeprefix("/").removeprefix(f"{BUCKET}/")
        parts = name.split("/")
        is_ours = parts[0] == self.id or parts[:2] == [self.created_by, self.id]
        if not is_ours or any(part in ("", ".", "..") for part in parts):
            raise InvalidDataset(
                f"training file {self.id}: its row names {clean_line(path)!r}, which is no object "
                f"of its own in the bucket {BUCKET!r}."
            )
        return name


def remote_file(row: Mapping[str, Any]) -> RemoteFile:
    """The row as a value. A number or a hash that makes no sense counts as unknown."""
    sha256 = str(row.get("sha256") or "").lower()
    metadata = row.get("metadata")
    return RemoteFile(
        id=str(row["id"]),
        name=str(row.get("name") or row["id"]),
        description=str(row.get("description") or ""),
        conversation_count=_count(row.get("conversation_count")),
        total_training_pairs=_count(row.get("total_training_pairs")),
        json_file_path=row.get("json_file_path") or None,
        jsonl_file_path=row.get("jsonl_file_path") or None,
        json_file_size=_count(row.get("json_file_size")),
        jsonl_file_size=_count(row.get("jsonl_file_size")),
        sha256=sha256 if _SHA256.fullmatch(sha256) else None,
        status=str(row.get("status") or ""),
        created_by=row.get("created_by"),
        created_at=str(row.get("created_at") or ""),
        updated_at=str(row.get("updated_at") or ""),
        metadata=metadata if isinstance(metadata, dict) else {},
    )


def checked_file_id(typed: str) -> str:
    """The UUID, as it is written everywhere: it becomes part of a path.

    Raises:
        InvalidDataset: it is none.
    """
    try:
        return str(UUID(typed.strip()))
    except ValueError as error:
        raise InvalidDataset(
            f"{typed!r} is no id of a training file, which is a UUID: "
            "`brightrun dataset remote list` shows them."
        ) from error


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
