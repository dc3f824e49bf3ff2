"""Findings about labels and counts: empty scaffolding, totals that are not what the file holds.

Nothing of it is trained. Labels matter for the split, which balances persona and arc; a wrong total
is a sign of an incomplete export.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from shared.clean_text import clean_line
from shared.dataset.checks.walk import at_conversation
from shared.dataset.conversation import Conversation, Declared
from shared.dataset.findings import Finding, Severity
from shared.dataset.totals import Totals

_MOST_NAMED = 3
_ADVICE = "Export the file again if something is missing; else `brightrun dataset fix` corrects it."


def scaffolding_findings(conversation: Conversation) -> Iterator[Finding]:
    """Labels that the file has a place for and leaves empty."""
    if not conversation.is_scaffolded:
        return
    labels = {
        "persona": conversation.persona,
        "emotional arc": conversation.emotional_arc,
        "training topic": conversation.training_topic,
    }
    empty = [name for name, label in labels.items() if not label.strip()]
    if empty:
        yield at_conversation(
            conversation,
            Severity.NOTE if empty == ["training topic"] else Severity.WARNING,
            "empty_scaffolding",
            f"the conversation has no {', no '.join(empty)}.",
            "Fill it in: train and held-out are balanced by persona and arc.",
        )


class DeclaredCounts:
    """Adds the conversations up, and compares them with what the metadata says."""

    def __init__(self) -> None:
        self.totals = Totals()
        self._last_turns = 0

    def add(self, conversation: Conversation) -> Iterator[Finding]:
        """Count it; a finding where its own `total_turns` is wrong."""
        turns, targets = len(conversation.pairs), len(conversation.targets)
        last_turn = max((pair.turn for pair in conversation.pairs), default=0)
        self.totals.add(conversation, turns)
        self._last_turns += last_turn
        declared = conversation.declared_turns
        if declared is not None and not _fits(declared, turns, targets, last_turn, 1):
            yield at_conversation(
                conversation,
                Severity.WARNING,
                "metadata_count",
                f"total_turns says {declared}, the conversation has {turns}.",
                _ADVICE,
            )

    def findings(self, declared: Declared) -> Iterator[Finding]:
        """Where the file's metadata and the file differ."""
        held = self.totals
        if declared.conversations not in (None, held.conversations):
            yield _difference("conversations", declared.conversations, held.conversations)
        if declared.pairs is not None and not _fits(
            declared.pairs, held.turns, held.targets, self._last_turns, held.conversations
        ):
            yield _difference("training pairs", declared.pairs, held.turns)
        yield from _distribution("personas", declared.personas, held.personas)
        yield from _distribution("emotional arcs", declared.emotional_arcs, held.emotional_arcs)
        yield from _distribution("training topics", declared.training_topics, held.training_topics)


def _fits(declared: int, turns: int, targets: int, last_turns: int, conversations: int) -> bool:
    """True if `declared` turns may be those of the file.

    JSONL keeps only turns with a target, while the totals count all: those up to the last target,
    and the user's last word of some conversations.
    """
    if targets == turns and last_turns <= declared <= last_turns + conversations:
        return True
    return declared == turns


def _difference(what: str, declared: int | None, counted: int) -> Finding:
    return Finding(
        Severity.WARNING,
        "metadata_count",
        f"the metadata says {declared} {what}, the file holds {counted}.",
        _ADVICE,
    )


def _distribution(
    what: str, declared: Mapping[str, int], counted: Mapping[str, int]
) -> Iterator[Finding]:
    if not declared:
        return
    names = sorted(name for name in {*declared, *counted} if name)
    wrong = [name for name in names if declared.get(name, 0) != counted.get(name, 0)]
    if wrong:
        listed = "; ".join(
            f"{clean_line(name[:60])}: {declared.get(name, 0)}, {counted.get(name, 0)} in the file"
            for name in wrong[:_MOST_NAMED]
        )
        more = f"; and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
        yield Finding(
            Severity.WARNING,
            "metadata_count",
            f"the metadata counts {what} otherwise ({listed}{more}).",
            _ADVICE,
        )
