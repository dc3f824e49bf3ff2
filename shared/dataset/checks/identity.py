"""What stands more than once in a file: ids, whole conversations, long answers."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from shared.clean_text import clean_line
from shared.dataset.checks.seen import SeenHashes
from shared.dataset.checks.walk import at_pair, beginning
from shared.dataset.conversation import Conversation, TrainingPair
from shared.dataset.findings import MOST_FINDINGS_OF_A_CODE, Finding, Severity
from shared.dataset.similarity import Sketch, content_hash, near_duplicates, sketch

LONG_ANSWER_CHARACTERS = 200
"""Short ones repeat by nature: "You're welcome!"."""

_MOST_NAMED = 3


@dataclass(slots=True)
class Contents:
    """What tells the conversations of a file apart, without their text; all lists in file order."""

    ids: list[str] = field(default_factory=list)
    locations: list[str] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    """Empty for a conversation that says nothing."""
    sketches: list[Sketch] = field(default_factory=list)

    def add(self, conversation: Conversation) -> None:
        says_something = any(pair.context or pair.target for pair in conversation.pairs)
        self.ids.append(conversation.conversation_id)
        self.locations.append(conversation.location)
        self.hashes.append(content_hash(conversation) if says_something else b"")
        self.sketches.append(sketch(conversation))

    def finding(
        self,
        index: int,
        severity: Severity,
        code: str,
        message: str,
        advice: str,
        snippet: str | None = None,
    ) -> Finding:
        """A finding about one conversation."""
        return Finding(
            severity,
            code,
            message,
            advice,
            self.ids[index],
            location=self.locations[index],
            snippet=snippet,
        )

    def names(self, indices: Sequence[int]) -> str:
        """Some of these conversations' ids, to be shown."""
        named = [clean_line(self.ids[index][:80]) for index in indices[:_MOST_NAMED]]
        left = len(indices) - len(named)
        return ", ".join(named) + (f" and {left} more" if left > 0 else "")


@dataclass(slots=True)
class _RepeatedTarget:
    finding: Finding
    conversations: list[int]


class Identities:
    """Collects what can stand more than once. Its memory grows by some 600 bytes a conversation."""

    def __init__(self) -> None:
        self.contents = Contents()
        self._first_of_id: dict[str, int] = {}
        self._id_counts: Counter[str] = Counter()
        self._first_of_hash: dict[bytes, int] = {}
        self._copies = array("Q")
        self._copied = array("Q")
        self._targets = SeenHashes()
        self._repeated: dict[str, _RepeatedTarget] = {}
        self._pair_ids = SeenHashes()
        self._repeated_pair_ids = 0
        self._repeated_pair_id = ""

    def add(self, conversation: Conversation) -> None:
        index = len(self.contents.ids)
        self.contents.add(conversation)
        name = conversation.conversation_id
        if self._first_of_id.setdefault(name, index) != index:
            self._id_counts[name] += 1
        self._note_pair_ids(conversation, index)
        content = self.contents.hashes[index]
        first = self._first_of_hash.setdefault(content, index) if content else index
        if first == index:
            self._note_targets(conversation, index)
            return
        self._copies.append(index)
        self._copied.append(first)

    def findings(self) -> Iterator[Finding]:
        """All of them, once the last conversation was added."""
        yield from self._same_ids()
        yield from self._same_contents()
        clusters = self._near_duplicates()
        yield from self._similar_contents(clusters)
        yield from self._same_targets(clusters)
        if self._repeated_pair_ids:
            yield Finding(
                Severity.NOTE,
                "pair_ids_repeat",
                f"{self._repeated_pair_ids} training pairs have the id of another one.",
                "Nothing to do: only the conversation's id and the turn tell pairs apart.",
                snippet=self._repeated_pair_id[:80],
            )

    def _note_pair_ids(self, conversation: Conversation, index: int) -> None:
        for pair in conversation.pairs:
            if pair.pair_id and self._pair_ids.first(pair.pair_id, index) is not None:
                self._repeated_pair_ids += 1
                self._repeated_pair_id = self._repeated_pair_id or pair.pair_id

    def _note_targets(self, conversation: Conversation, index: int) -> None:
        for pair in conversation.targets:
            target = (pair.target or "").strip()
            if len(target) < LONG_ANSWER_CHARACTERS:
                continue
            first = self._targets.first(target, index)
            if first is None or first == index:
                continue
            if target in self._repeated:
                self._repeated[target].conversations.append(index)
            elif len(self._repeated) < MOST_FINDINGS_OF_A_CODE:
                self._repeated[target] = _RepeatedTarget(
                    _repeated_target(conversation, pair, target), [first, index]
                )

    def _same_ids(self) -> Iterator[Finding]:
        for name, copies in self._id_counts.items():
            yield self.contents.finding(
                self._first_of_id[name],
                Severity.ERROR,
                "duplicate_conversation",
                f"{copies + 1} conversations have this id; only the id tells conversations apart.",
                "Give each conversation its own conversation_id, or remove the copies.",
            )

    def _same_contents(self) -> Iterator[Finding]:
        ids = self.contents.ids
        for copy, first in zip(self._copies, self._copied, strict=True):
            if ids[copy] == ids[first]:
                continue  # A duplicate_conversation already.
            yield self.contents.finding(
                copy,
                Severity.WARNING,
                "duplicate",
                f"the conversation says word for word what {self.contents.names([first])} says.",
                "Remove one of the two, or it counts twice in training.",
            )

    def _near_duplicates(self) -> list[list[int]]:
        """Clusters of indices; copies that are equal word for word are left out."""
        copies = set(self._copies)
        kept = [i for i, content in enumerate(self.contents.hashes) if content and i not in copies]
        found = near_duplicates([self.contents.sketches[index] for index in kept])
        return [[kept[position] for position in cluster] for cluster in found]

    def _similar_contents(self, clusters: list[list[int]]) -> Iterator[Finding]:
        for first, *others in clusters:
            yield self.contents.finding(
                first,
                Severity.WARNING,
                "near_duplicate",
                f"the conversation says nearly the same as {self.contents.names(others)}.",
                "Keep one of them, or make them differ; `brightrun dataset split` keeps them on "
                "one side.",
            )

    def _same_targets(self, clusters: list[list[int]]) -> Iterator[Finding]:
        cluster_of = {index: number for number, found in enumerate(clusters) for index in found}
        for repeated in self._repeated.values():
            homes = {cluster_of.get(index, -1 - index) for index in repeated.conversations}
            if len(homes) > 1:  # In one cluster it goes without saying.
                first, *others = repeated.conversations
                message = (
                    f"this answer stands word for word in {len(others) + 1} conversations, first "
                    f"in {self.contents.names([first])}."
                )
                yield replace(repeated.finding, message=message)


def _repeated_target(conversation: Conversation, pair: TrainingPair, target: str) -> Finding:
    return at_pair(
        conversation.conversation_id,
        pair,
        Severity.WARNING,
        "repeated_target",
        "",
        "Word it anew, or the model learns it by heart.",
        snippet=beginning(target, 80),
    )
