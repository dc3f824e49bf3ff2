"""Reads a training file into conversations: the one place that knows the shapes of files.

Shapes read: brightrun-lora-v4 as one JSON document, and as JSONL behind a `_meta` line. The shape
is found in the content, never taken from the file's name. Unknown extra keys are ignored.

In real files the history of a trainable pair already ends with `current_user_input`, so the input
is added only where the history does not end with that same user message. A user's turn without an
answer (`target_response` null) is kept as a pair without a target.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.dataset.conversation import Conversation, Dataset, Message, Role, TrainingPair
from shared.errors import InvalidDataset

JSON_SHAPE = "brightrun-lora-v4 JSON"
JSONL_SHAPE = "brightrun-lora-v4 JSONL"

ACCEPTED_SHAPES = f"""\
  - {JSON_SHAPE}: one document with "training_file_metadata" and "conversations"
  - {JSONL_SHAPE}: a first line {{"_meta": ...}}, then one training pair a line"""

_SNIPPET_CHARACTERS = 60
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def read_dataset(path: Path) -> Dataset:
    """Read and validate the structure of the file at `path`.

    Raises:
        InvalidDataset: the file cannot be read or parsed, or has another shape. The message names
            the file, the place in it (line and column, or the JSON path) and the text there.
    """
    text = _read_text(path)
    first_line, second_line = [*text.lstrip().split("\n", 2), ""][:2]
    first = _value_of(first_line)
    if isinstance(first, dict) and ("_meta" in first or "conversation_history" in first):
        leading_lines = text[: len(text) - len(text.lstrip())].count("\n")
        conversations = _read_jsonl(path, text.lstrip(), leading_lines)
        return Dataset(path, JSONL_SHAPE, conversations)
    if isinstance(first, dict) and isinstance(_value_of(second_line), dict):
        raise _other_shape(path, f"is JSONL, each line {_describe(first)}")
    document = _parse(path, text, first_line_number=1)
    if isinstance(document, dict) and isinstance(document.get("conversations"), list):
        return Dataset(path, JSON_SHAPE, _read_document(path, document))
    raise _other_shape(path, f"is {_describe(document)}")


def _other_shape(path: Path, what: str) -> InvalidDataset:
    return InvalidDataset(
        f"{path}: {what}, which is not a shape that can be read. "
        f"Accepted shapes:\n{ACCEPTED_SHAPES}"
    )


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InvalidDataset(f"{path}: cannot be read ({error.strerror}).") from error
    if not raw.strip():
        raise InvalidDataset(f"{path}: is empty.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InvalidDataset(
            f"{path}: line {line}: byte 0x{raw[error.start]:02x} is not UTF-8 text. "
            "Save the file as UTF-8."
        ) from error


def _parse(path: Path, text: str, first_line_number: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line_number + error.lineno - 1
        start = max(error.pos - _SNIPPET_CHARACTERS // 2, 0)
        snippet = text[start : error.pos + _SNIPPET_CHARACTERS // 2]
        raise InvalidDataset(
            f"{path}: line {line}, column {error.colno}: {error.msg}. The text there: {snippet!r}"
        ) from error
    except RecursionError as error:
        raise InvalidDataset(f"{path}: is nested too deeply to be a training file.") from error
    except ValueError as error:
        raise InvalidDataset(f"{path}: line {first_line_number}: {error}.") from error


def _value_of(line: str) -> Any:
    """The JSON value that this line alone is; None if it is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _describe(document: Any) -> str:
    if isinstance(document, dict):
        keys = ", ".join(f'"{key}"' for key in list(document)[:6]) or "no keys"
        return f"a JSON object with {keys}"
    return f"a JSON {'list' if isinstance(document, list) else type(document).__name__}"


# --- one JSON document ------------------------------------------------------------------------


def _read_document(path: Path, document: dict[str, Any]) -> tuple[Conversation, ...]:
    conversations = []
    for index, entry in enumerate(document["conversations"]):
        location = f"conversations[{index}]"
        pairs = _field(path, location, entry, "training_pairs", list)
        metadata = _field(path, location, entry, "conversation_metadata", dict)
        conversation_id = _field(
            path, f"{location}.conversation_metadata", metadata, "conversation_id", str
        )
        conversations.append(
            _conversation(
                conversation_id,
                [
                    _read_pair(path, f"{location}.training_pairs[{number}]", pair)
                    for number, pair in enumerate(pairs)
                ],
                location,
                metadata.get("scaffolding"),
            )
        )
    return tuple(conversations)


# --- JSONL ------------------------------------------------------------------------------------


def _read_jsonl(path: Path, text: str, leading_lines: int) -> tuple[Conversation, ...]:
    """Group the pairs of all lines by `conversation_id`, in order of first appearance."""
    grouped: dict[str, list[TrainingPair]] = {}
    scaffolding: dict[str, Any] = {}
    for number, entry in _jsonl_entries(path, text, leading_lines):
        location = f"line {number}"
        conversation_id = _field(path, location, entry, "conversation_id", str)
        grouped.setdefault(conversation_id, []).append(_read_pair(path, location, entry))
        scaffolding.setdefault(conversation_id, entry.get("conversation_metadata"))
    return tuple(
        _conversation(conversation_id, pairs, pairs[0].location, scaffolding[conversation_id])
        for conversation_id, pairs in grouped.items()
    )


def _jsonl_entries(path: Path, text: str, leading: int) -> Iterator[tuple[int, dict[str, Any]]]:
    # Not splitlines(): U+2028 and its like may stand unescaped inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=leading + 1):
        if not line.strip():
            continue
        entry = _parse(path, line, number)
        if not isinstance(entry, dict):
            raise InvalidDataset(f"{path}: line {number}: is not a JSON object: {line[:60]!r}")
        if "_meta" not in entry:
            yield number, entry


# --- what both shapes share -------------------------------------------------------------------


def _conversation(
    conversation_id: str, pairs: list[TrainingPair], location: str, scaffolding: Any
) -> Conversation:
    labels = scaffolding if isinstance(scaffolding, dict) else {}
    return Conversation(
        conversation_id=conversation_id,
        pairs=tuple(sorted(pairs, key=lambda pair: pair.turn)),
        location=location,
        persona=_text(labels, "persona_key", "persona_archetype", "client_persona"),
        emotional_arc=_text(labels, "emotional_arc_key", "emotional_arc"),
        training_topic=_text(labels, "training_topic_key", "training_topic"),
    )


def _read_pair(path: Path, location: str, entry: Any) -> TrainingPair:
    history = _field(path, location, entry, "conversation_history", list)
    user_input = _field(path, location, entry, "current_user_input", str)
    system_prompt = _optional_text(path, location, entry, "system_prompt")
    messages = [
        _read_message(path, f"{location}.conversation_history[{number}]", message)
        for number, message in enumerate(history)
    ]
    asked = Message("user", user_input)
    # In real files the history already ends with the input; adding it again would train a user who
    # says everything twice.
    if not messages or messages[-1] != asked:
        messages.append(asked)
    system = [Message("system", system_prompt)] if system_prompt.strip() else []
    turn = entry.get("turn_number")
    return TrainingPair(
        turn=turn if isinstance(turn, int) else len(messages) + 1,
        context=(*system, *messages),
        target=_optional_text(path, location, entry, "target_response") or None,
        location=location,
    )


def _read_message(path: Path, location: str, entry: Any) -> Message:
    role: Role
    match _field(path, location, entry, "role", str):
        case "user":
            role = "user"
        case "assistant":
            role = "assistant"
        case other:
            raise InvalidDataset(f"{path}: {location}: role {other!r} is not user or assistant.")
    return Message(role, _field(path, location, entry, "content", str))


def _optional_text(path: Path, location: str, entry: dict[str, Any], name: str) -> str:
    """The text of a field that may be null or missing; empty then."""
    return "" if entry.get(name) is None else _field(path, location, entry, name, str)


def _field(path: Path, location: str, entry: Any, name: str, kind: type) -> Any:
    """The value of a required field.

    Raises:
        InvalidDataset: it is missing, of another type, or text that no encoding can hold.
    """
    if not isinstance(entry, dict):
        raise InvalidDataset(f"{path}: {location}: expected an object, found {_brief(entry)}.")
    if name not in entry:
        raise InvalidDataset(f'{path}: {location}: the field "{name}" is missing.')
    value = entry[name]
    if not isinstance(value, kind):
        wanted = {"list": "a list", "dict": "an object", "str": "text"}[kind.__name__]
        raise InvalidDataset(f'{path}: {location}: "{name}" must be {wanted}, not {_brief(value)}.')
    if isinstance(value, str) and (half := _LONE_SURROGATE.search(value)):
        raise InvalidDataset(
            f'{path}: {location}: "{name}" holds half a character, {half[0]!r}. '
            "Write the whole character, or remove the half."
        )
    return value


def _text(labels: dict[str, Any], *names: str) -> str:
    """The first of the fields that holds text; empty keys do occur in real files."""
    return next((labels[n] for n in names if isinstance(labels.get(n), str) and labels[n]), "")


def _brief(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=repr)[:_SNIPPET_CHARACTERS]
