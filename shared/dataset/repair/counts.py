"""Counts in a training file's metadata, compared with what the file holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared.dataset.conversation import Conversation
from shared.dataset.json_walk import JsonWalk
from shared.dataset.repair.log import RepairLog
from shared.dataset.repair.places import Edit, Node, Wanted, locate, object_like
from shared.dataset.totals import Totals, spoken_turns
from shared.dataset.writing.head import METADATA

_LABELS: Wanted = {"personas": None, "emotional_arcs": None, "training_topics": None}
_METADATA: Wanted = {
    "total_conversations": None,
    "total_training_pairs": None,
    "scaffolding_distribution": _LABELS,
}
_LINE: Wanted = {"_meta": {"total_pairs": None}}


class Counts:
    """Counts conversations, then says which numbers of the metadata to write anew."""

    def __init__(self) -> None:
        self.totals = Totals()
        self._spoken_turns = 0

    def add(self, conversation: Conversation) -> None:
        self.totals.add(conversation, len(conversation.pairs))
        self._spoken_turns += spoken_turns(conversation)

    def of_document(self, text: str, walk: JsonWalk, log: RepairLog) -> Iterator[Edit]:
        """Edits of a JSON document."""
        for name in walk.members():
            if name == METADATA:
                yield from self._of_metadata(text, locate(walk, _METADATA), log)
            elif walk.peek() == "[":
                for _ in walk.items():
                    walk.value()  # Passed over; only one of them is in memory.
            else:
                walk.value()

    def _of_metadata(self, text: str, metadata: Node, log: RepairLog) -> Iterator[Edit]:
        for key, counted in (
            ("total_conversations", self.totals.conversations),
            ("total_training_pairs", self.totals.turns),
        ):
            yield from _number(metadata, key, (counted, counted), f"{METADATA}.{key}", log)
        labels = metadata.members.get("scaffolding_distribution")
        for key, numbers in self.totals.distribution.items():
            node = labels.members.get(key) if labels is not None else None
            if node is not None and numbers and _differs(node.value, numbers):
                place = f"{METADATA}.scaffolding_distribution.{key}"
                log.add("metadata_count", place, _words(node.value), _words(numbers))
                token = text[node.start : node.end]
                yield Edit(node.start, node.end, object_like(token, numbers))

    def of_line(self, walk: JsonWalk, place: str, log: RepairLog) -> Iterator[Edit]:
        """Edits of the `_meta` line of JSONL."""
        meta = locate(walk, _LINE).members.get("_meta")
        if meta is None:
            return
        bounds = (self.totals.turns, self.totals.turns)
        if self.totals.targets == self.totals.turns:
            # Turns without a target are counted and not there: those that histories tell of, and
            # perhaps a last word of the user in each conversation.
            bounds = (self._spoken_turns, self._spoken_turns + self.totals.conversations)
        yield from _number(meta, "total_pairs", bounds, f"{place}, _meta.total_pairs", log)


def _number(
    metadata: Node, key: str, bounds: tuple[int, int], place: str, log: RepairLog
) -> Iterator[Edit]:
    node = metadata.members.get(key)
    if node is None:
        return
    lowest, highest = bounds
    is_count = isinstance(node.value, int) and not isinstance(node.value, bool)
    if not (is_count and lowest <= node.value <= highest):
        log.add("metadata_count", place, _words(node.value), str(lowest))
        yield Edit(node.start, node.end, str(lowest))


def _differs(declared: Any, counted: Mapping[str, int]) -> bool:
    """True if a label that is one is counted otherwise; empty ones may be counted or not."""
    if not isinstance(declared, dict):
        return False
    names = {name for name in (*declared, *counted) if name}
    return any(declared.get(name, 0) != counted.get(name, 0) for name in names)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {count}" for name, count in value.items())
    return str(value)
