"""Conversations as JSON values, exactly as they stand in the file, one at a time.

A conversation is one value here, whatever the shape. Who rewrites a file works on these values, so
that nothing unknown in them is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.dataset.conversation import Declared
from shared.dataset.fields import OnProblem, checked, count_or_none, id_text, member
from shared.dataset.findings import UnreadableDataset
from shared.dataset.json_walk import JsonWalk
from shared.dataset.shapes import Kind, Shape
from shared.dataset.source import read_text

OnProgress = Callable[[int], None]
"""Takes how many bytes are done."""

MESSAGE_LISTS = {
    Kind.TURNS: "turns",
    Kind.MESSAGES: "messages",
    Kind.CONVERSATIONS: "conversations",
}
"""Chat shapes -> the member that holds the messages."""


@dataclass(frozen=True, slots=True)
class RawConversation:
    """The JSON values of one conversation. `pairs` or `messages` is None, as the shape is."""

    conversation_id: str
    location: str
    metadata: dict[str, Any]
    """The conversation's own; empty where the file has none."""
    pairs: list[Any] | None = None
    """Training pairs, in file order."""
    pair_locations: list[str] = field(default_factory=list)
    messages: list[Any] | None = None
    others: dict[str, Any] = field(default_factory=dict)
    """What else stands in the conversation's own JSON object."""


def document_conversations(
    path: Path,
    shape: Shape,
    declared: Declared,
    on_problem: OnProblem,
    on_progress: OnProgress,
) -> Iterator[RawConversation]:
    """The conversations of a JSON document; fills `declared` on the way.

    Invalid JSON ends it, behind what could be read.
    """
    try:
        text = read_text(path)
        walk = JsonWalk(text, path)
        bytes_per_character = path.stat().st_size / max(len(text), 1)
        for found in _of_document(path, walk, shape, declared, on_problem):
            yield found
            on_progress(round(walk.position * bytes_per_character))
        walk.end()
    except UnreadableDataset as error:
        on_problem(error.finding)


def chat_conversation(
    value: Any, kind: Kind, location: str, number: int, on_problem: OnProblem
) -> RawConversation | None:
    """A conversation that is a list of messages; `number` makes an id where there is none."""
    name = MESSAGE_LISTS[kind]
    entry = checked(value, dict, location, "", on_problem)
    if entry is None:
        return None
    messages = checked(entry.get(name), list, location, name, on_problem)
    if messages is None:
        return None
    metadata = entry.get("conversation_metadata", entry.get("metadata"))
    given = entry.get("conversation_id", entry.get("id"))
    return RawConversation(
        conversation_id=id_text(given) or f"conversation-{number}",
        location=location,
        metadata=metadata if isinstance(metadata, dict) else {},
        messages=messages,
        others={key: found for key, found in entry.items() if key != name},
    )


# --- documents --------------------------------------------------------------------------------


def _of_document(
    path: Path, walk: JsonWalk, shape: Shape, declared: Declared, on_problem: OnProblem
) -> Iterator[RawConversation]:
    if walk.peek() == "[":
        for index in walk.items():
            location = f"[{index}]"
            found = chat_conversation(walk.value(), shape.kind, location, index + 1, on_problem)
            if found is not None:
                yield found
        return
    members: dict[str, Any] = {}
    for key in walk.members():
        if shape.kind is Kind.BRIGHTRUN and key == "conversations" and walk.peek() == "[":
            for index in walk.items():
                found = _document_entry(walk.value(), f"conversations[{index}]", on_problem)
                if found is not None:
                    yield found
            continue
        value = walk.value()
        if key == "training_file_metadata":
            _note_declared(value, declared)
        members[key] = value
    if shape.kind is Kind.ENRICHED:
        yield from _enriched(members, path, on_problem)
    elif shape.kind in MESSAGE_LISTS:
        found = chat_conversation(members, shape.kind, "document", 1, on_problem)
        if found is not None:
            yield found


def _document_entry(value: Any, location: str, on_problem: OnProblem) -> RawConversation | None:
    entry = checked(value, dict, location, "", on_problem)
    if entry is None:
        return None
    pairs = member(entry, "training_pairs", list, location, on_problem)
    if pairs is None:
        return None
    metadata = member(entry, "conversation_metadata", dict, location, on_problem)
    if metadata is None:
        return None
    inside = f"{location}.conversation_metadata"
    conversation_id = member(metadata, "conversation_id", str, inside, on_problem)
    if conversation_id is None:
        return None
    return RawConversation(
        conversation_id=conversation_id,
        location=location,
        metadata=metadata,
        pairs=pairs,
        pair_locations=[f"{location}.training_pairs[{number}]" for number in range(len(pairs))],
        others={
            key: found
            for key, found in entry.items()
            if key not in ("conversation_metadata", "training_pairs")
        },
    )


def _enriched(
    members: dict[str, Any], path: Path, on_problem: OnProblem
) -> Iterator[RawConversation]:
    """One conversation, or several where the pairs' ids say so."""
    pairs = checked(members.get("training_pairs"), list, "document", "training_pairs", on_problem)
    about = members.get("dataset_metadata")
    about = about if isinstance(about, dict) else {}
    name = id_text(about.get("dataset_name")) or path.stem
    grouped: dict[str, list[int]] = {}
    for index, pair in enumerate(pairs or []):
        own_id = id_text(pair.get("conversation_id")) if isinstance(pair, dict) else ""
        grouped.setdefault(own_id or name, []).append(index)
    for conversation_id, indices in grouped.items():
        chosen = [pairs[index] for index in indices] if pairs else []
        first = chosen[0].get("conversation_metadata") if isinstance(chosen[0], dict) else None
        yield RawConversation(
            conversation_id=conversation_id,
            location=f"training_pairs[{indices[0]}]",
            metadata=first if isinstance(first, dict) else {},
            pairs=chosen,
            pair_locations=[f"training_pairs[{index}]" for index in indices],
        )


def _note_declared(metadata: Any, declared: Declared) -> None:
    if not isinstance(metadata, dict):
        return
    declared.conversations = count_or_none(metadata.get("total_conversations"))
    declared.pairs = count_or_none(metadata.get("total_training_pairs"))
    distribution = metadata.get("scaffolding_distribution")
    if isinstance(distribution, dict):
        declared.personas = _counts(distribution.get("personas"))
        declared.emotional_arcs = _counts(distribution.get("emotional_arcs"))
        declared.training_topics = _counts(distribution.get("training_topics"))


def _counts(value: Any) -> dict[str, int]:
    entries = value.items() if isinstance(value, dict) else ()
    return {key: count for key, found in entries if (count := count_or_none(found)) is not None}
