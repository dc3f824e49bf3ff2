"""What a training file says about itself besides its conversations, as JSON values."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from shared.dataset.json_walk import JsonWalk, value_of_line
from shared.dataset.reader import TrainingFile
from shared.dataset.shapes import Kind
from shared.dataset.source import lines_of, read_text

METADATA = "training_file_metadata"
_CONVERSATIONS = {Kind.BRIGHTRUN: "conversations", Kind.ENRICHED: "training_pairs"}


@dataclass(frozen=True, slots=True)
class Head:
    """`metadata` is `training_file_metadata`, or `_meta` of JSONL; empty where there is none."""

    spec: str
    metadata: dict[str, Any] = field(default_factory=dict)
    is_line: bool = False
    """True if `metadata` is that of JSONL."""
    others: dict[str, Any] = field(default_factory=dict)
    """The document's other members, such as `consultant_profile`, in file order."""


def read_head(source: TrainingFile) -> Head:
    """The head of a file; of chat files an empty one.

    Raises:
        InvalidDataset: the file is broken.
    """
    layout = source.layout
    if layout.kind not in _CONVERSATIONS:
        return Head(layout.spec)
    if layout.is_lines:
        for line in islice(lines_of(source.path), 1):
            value = value_of_line(line, source.path)
            meta = value.get("_meta") if isinstance(value, dict) else None
            return Head(layout.spec, _object(meta), is_line=True)
        return Head(layout.spec, is_line=True)
    walk = JsonWalk(read_text(source.path), source.path)
    members: dict[str, Any] = {}
    for key in walk.members():
        if key == _CONVERSATIONS[layout.kind] and walk.peek() == "[":
            for _ in walk.items():
                walk.value()  # Passed over; only one of them is in memory.
        else:
            members[key] = walk.value()
    return Head(layout.spec, _object(members.pop(METADATA, None)), others=members)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
