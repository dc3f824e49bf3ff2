"""The shapes of training files that people bring, told apart by content, never by the name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from shared.dataset.findings import Finding, Severity, UnreadableDataset
from shared.dataset.json_walk import JsonWalk, value_of_line
from shared.dataset.source import Line, lines_of, read_text


class Kind(StrEnum):
    """What one conversation looks like."""

    BRIGHTRUN = "brightrun"
    """Training pairs; `training_pairs` of a conversation in a document, a line each in JSONL."""
    ENRICHED = "single conversation"
    """A document that is one conversation of training pairs."""
    TURNS = "turns"
    MESSAGES = "OpenAI messages"
    CONVERSATIONS = "conversations"


@dataclass(frozen=True, slots=True)
class Shape:
    """How a file holds its conversations."""

    kind: Kind
    is_lines: bool
    """JSONL: a value on each line."""
    spec: str = "brightrun-lora-v4"
    """Which brightrun format, where it is one."""

    @property
    def name(self) -> str:
        """For people."""
        form = "JSONL" if self.is_lines else "JSON"
        if self.kind is Kind.BRIGHTRUN:
            return f"{self.spec} {form}"
        if self.kind is Kind.ENRICHED:
            return f"single {self.spec} conversation"
        return f"{self.kind} {form}"


JSON_SHAPE = Shape(Kind.BRIGHTRUN, is_lines=False).name
JSONL_SHAPE = Shape(Kind.BRIGHTRUN, is_lines=True).name

ACCEPTED_SHAPES = f"""\
  - {JSON_SHAPE}: one document with "training_file_metadata" and "conversations" (v5 too)
  - {JSONL_SHAPE}: a first line {{"_meta": ...}}, then one training pair a line (v5 too)
  - one enriched conversation: a document with "dataset_metadata" and "training_pairs"
  - turns: {{"conversation_id": ..., "turns": [{{"role": ..., "content": ...}}]}} a line
  - OpenAI chat: {{"messages": [{{"role": ..., "content": ...}}]}} a line
  - {{"conversations": [{{"role": ..., "content": ...}}]}} a line, or with "from" and "value"
The last three may also stand as one JSON document, or as a JSON list."""

_FIRST_LINES = 3
"""Looked at to tell JSONL whose first line is broken from a document."""


def detect(path: Path) -> Shape:
    """The shape of the file.

    Raises:
        InvalidDataset: it has another one, or is broken before that can be seen.
    """
    first_lines = list(islice(lines_of(path), _FIRST_LINES))
    if not first_lines:
        raise UnreadableDataset(str(path), Finding(Severity.ERROR, "empty", "is empty.", ""))
    first, *others = (_value_or_none(line, path) for line in first_lines)
    if isinstance(first, dict):
        if (kind := kind_of_line(first)) is not None:
            return Shape(kind, is_lines=True, spec=_spec(first.get("_meta")))
        if others and any(isinstance(other, dict) for other in others):
            raise other_shape(path, f"is JSONL, each line {describe(first)}")
    elif first_lines[0].raw.strip() not in (b"{", b"["):
        for other in others:  # The first line is broken: it will be found again when it is read.
            if isinstance(other, dict) and (kind := kind_of_line(other)) is not None:
                return Shape(kind, is_lines=True)
    return _detect_document(path, JsonWalk(read_text(path), path))


def kind_of_line(value: dict[str, Any]) -> Kind | None:
    """The kind of conversation that a line of JSONL belongs to; None for none."""
    if "_meta" in value or "conversation_history" in value:
        return Kind.BRIGHTRUN
    return kind_of_chat(value)


def kind_of_chat(value: Any) -> Kind | None:
    """The kind of a conversation that is a plain list of messages; None if it is none."""
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("messages"), list):
        return Kind.MESSAGES
    if isinstance(value.get("turns"), list):
        return Kind.TURNS
    conversations = value.get("conversations")
    if isinstance(conversations, list) and conversations and _is_message(conversations[0]):
        return Kind.CONVERSATIONS
    return None


def _detect_document(path: Path, walk: JsonWalk) -> Shape:
    start = walk.peek()
    if start == "{":
        keys: list[str] = []
        spec = _spec(None)
        for key in walk.members():
            keys.append(key)
            if (kind := _kind_of_member(key, walk)) is not None:
                return Shape(kind, is_lines=False, spec=spec)
            value = walk.value()
            if key in ("training_file_metadata", "dataset_metadata"):
                spec = _spec(value)
        walk.end()
        raise other_shape(path, f"is {describe(dict.fromkeys(keys))}")
    if start == "[":
        for _ in walk.items():
            if (kind := kind_of_chat(walk.value())) is not None:
                return Shape(kind, is_lines=False)
            break
        raise other_shape(path, "is a JSON list")
    value = walk.value()
    walk.end()
    raise other_shape(path, f"is {describe(value)}")


def _kind_of_member(key: str, walk: JsonWalk) -> Kind | None:
    """The kind of document that has this key with a list behind it."""
    if walk.peek() != "[":
        return None
    if key == "training_pairs":
        return Kind.ENRICHED
    if key == "messages":
        return Kind.MESSAGES
    if key == "turns":
        return Kind.TURNS
    if key != "conversations":
        return None
    for _ in walk.items():
        return Kind.CONVERSATIONS if _is_message(walk.value()) else Kind.BRIGHTRUN
    return Kind.BRIGHTRUN


def other_shape(path: Path, what: str) -> UnreadableDataset:
    """The error about a file of another shape."""
    return UnreadableDataset(
        str(path),
        Finding(
            Severity.ERROR,
            "unknown_shape",
            f"{what}, which is not a shape that can be read.",
            f"Accepted shapes:\n{ACCEPTED_SHAPES}",
        ),
    )


def describe(document: Any) -> str:
    """What kind of JSON value it is."""
    if isinstance(document, dict):
        keys = ", ".join(f'"{key}"' for key in list(document)[:6]) or "no keys"
        return f"a JSON object with {keys}"
    return f"a JSON {'list' if isinstance(document, list) else type(document).__name__}"


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and ("role" in value or "from" in value)


def _spec(metadata: Any) -> str:
    """The brightrun format that the metadata names; version 4 where they name none."""
    named = metadata if isinstance(metadata, dict) else {}
    text = f"{named.get('format_spec', '')} {named.get('version', '')}"
    return "brightrun-lora-v5" if "-v5" in text or " 5." in text else "brightrun-lora-v4"


def _value_or_none(line: Line, path: Path) -> Any:
    try:
        return value_of_line(line, path)
    except UnreadableDataset:
        return None
