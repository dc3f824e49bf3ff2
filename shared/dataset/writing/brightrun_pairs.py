"""The conversations of any shape as brightrun-lora-v4 has them: JSON objects of training pairs.

Pairs that are there pass through as they stand. Those of chat shapes are built, and turns that
JSONL leaves out are built again from the histories of later ones. Nothing is invented: what the
source does not hold is left out, and names of persona, arc and topic are empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from shared.dataset.conversation import Conversation, Message, TrainingPair
from shared.dataset.raw import RawConversation
from shared.dataset.shapes import Kind, Shape
from shared.errors import InvalidDataset

_TURN_IN_ID = re.compile(r"turn\d+")


def whole_entry(raw: RawConversation, conversation: Conversation, layout: Shape) -> dict[str, Any]:
    """A member of `conversations` in a JSON document. `layout` is that of the source.

    Raises:
        InvalidDataset: training pairs cannot say it.
    """
    pairs = _pairs(raw, conversation)
    is_document = layout.kind is Kind.BRIGHTRUN and not layout.is_lines
    if is_document:
        metadata = {**raw.metadata, "conversation_id": raw.conversation_id}
        if "total_turns" in metadata:
            metadata["total_turns"] = len(pairs)
        return {"conversation_metadata": metadata, "training_pairs": pairs, **raw.others}
    if layout.is_lines and raw.pairs is not None:
        pairs = _with_silent_turns(pairs)
    metadata = _metadata(raw, conversation, len(pairs))
    return {"conversation_metadata": metadata, "training_pairs": pairs}


def trainable_lines(raw: RawConversation, conversation: Conversation) -> Iterator[dict[str, Any]]:
    """The lines of JSONL: pairs with a target, with ids that are unique in the file.

    Raises:
        InvalidDataset: training pairs cannot say it.
    """
    suffix = f"_{raw.conversation_id[:8]}"
    for pair in _pairs(raw, conversation):
        if pair.get("target_response"):
            line = {**pair, "conversation_id": raw.conversation_id}
            own_id = pair.get("id")
            if isinstance(own_id, str) and not _is_unique(own_id, raw.conversation_id):
                line["id"] = own_id + suffix
            yield line


def _is_unique(pair_id: str, conversation_id: str) -> bool:
    return pair_id.startswith(conversation_id) or pair_id.endswith(f"_{conversation_id[:8]}")


def _pairs(raw: RawConversation, conversation: Conversation) -> list[dict[str, Any]]:
    if raw.pairs is not None:
        return raw.pairs
    labels = _labels(raw, conversation)
    return [
        _built_pair(raw, pair, labels)
        for pair in conversation.pairs
        # An answer without loss is context; only what is trained must follow a user's message.
        if pair.target is not None or (pair.context and pair.context[-1].role == "user")
    ]


def _metadata(raw: RawConversation, conversation: Conversation, turns: int) -> dict[str, Any]:
    return {
        # Of chat shapes it is the conversation's own; of pairs it is the pair's, and stays there.
        **(raw.metadata if raw.messages is not None else {}),
        "conversation_id": raw.conversation_id,
        "total_turns": turns,
        "scaffolding": {
            "persona_key": conversation.persona,
            "persona_name": _label(raw, "persona_name"),
            "emotional_arc_key": conversation.emotional_arc,
            "emotional_arc": _label(raw, "emotional_arc"),
            "training_topic_key": conversation.training_topic,
            "training_topic": _label(raw, "training_topic"),
        },
    }


# --- pairs of chat messages -------------------------------------------------------------------


def _built_pair(raw: RawConversation, pair: TrainingPair, labels: dict[str, str]) -> dict[str, Any]:
    system, spoken = _without_system(raw, pair)
    is_users = pair.target is None and len(spoken) == pair.turn
    return {
        "id": f"{raw.conversation_id}_turn{pair.turn}",
        "conversation_id": raw.conversation_id,
        "turn_number": pair.turn,
        "conversation_metadata": labels,
        "system_prompt": system,
        "conversation_history": [
            {"turn": number, "role": message.role, "content": message.content}
            for number, message in enumerate(spoken[:-1] if is_users else spoken, start=1)
        ],
        "current_user_input": spoken[-1].content,
        "target_response": pair.target,
    }


def _without_system(raw: RawConversation, pair: TrainingPair) -> tuple[str, tuple[Message, ...]]:
    """The system prompt, and the messages behind it."""
    context = pair.context
    system = context[0].content if context and context[0].role == "system" else ""
    spoken = context[1:] if context and context[0].role == "system" else context
    if any(message.role == "system" for message in spoken):
        raise _cannot_be_said(raw, pair, "a system message stands behind the first message")
    if not spoken or spoken[-1].role != "user":
        raise _cannot_be_said(raw, pair, "an answer does not follow a user's message")
    return system, spoken


def _cannot_be_said(raw: RawConversation, pair: TrainingPair, why: str) -> InvalidDataset:
    return InvalidDataset(
        f"{pair.location}: conversation {raw.conversation_id!r}: {why}, which training pairs "
        "cannot say. Mend the conversation, leave it out, or convert to openai."
    )


def _labels(raw: RawConversation, conversation: Conversation) -> dict[str, str]:
    return {
        "persona_archetype": conversation.persona,
        "emotional_arc": _label(raw, "emotional_arc"),
        "emotional_arc_key": conversation.emotional_arc,
        "training_topic": _label(raw, "training_topic"),
        "training_topic_key": conversation.training_topic,
    }


def _label(raw: RawConversation, name: str) -> str:
    scaffolding = raw.metadata.get("scaffolding")
    labels = scaffolding if isinstance(scaffolding, dict) else raw.metadata
    found = labels.get(name)
    return found if isinstance(found, str) else ""


# --- turns that JSONL leaves out --------------------------------------------------------------


def _with_silent_turns(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pairs in order of turns, with those between them that later histories tell of."""
    by_turn = {pair.get("turn_number"): pair for pair in pairs}
    if len(by_turn) < len(pairs) or not all(_is_regular(pair) for pair in pairs):
        return pairs  # Branches, or turns that the histories do not number.
    whole: list[dict[str, Any]] = []
    turns_done = 0
    for pair in sorted(pairs, key=lambda pair: int(pair["turn_number"])):
        silent = (_silent_turn(pair, n) for n in range(turns_done + 1, pair["turn_number"]))
        whole += [*(turn for turn in silent if turn is not None), pair]
        turns_done = pair["turn_number"]
    return whole


def _is_regular(pair: dict[str, Any]) -> bool:
    turn = pair.get("turn_number")
    return isinstance(turn, int) and len(pair["conversation_history"]) == turn - 1


def _silent_turn(later: dict[str, Any], turn: int) -> dict[str, Any] | None:
    """The turn as a pair without a target; None for an answer that follows no user's message."""
    history = later["conversation_history"]
    is_users = history[turn - 1]["role"] == "user"
    asked = history[turn - 1 if is_users else max(turn - 2, 0)]
    if asked["role"] != "user":
        return None
    silent = {
        "id": _TURN_IN_ID.sub(f"turn{turn}", str(later.get("id", ""))),
        "turn_number": turn,
        "conversation_history": history[: turn - 1],
        "current_user_input": asked["content"],
        "target_response": None,
    }
    known = ("conversation_id", "conversation_metadata", "system_prompt")
    return {
        name: silent.get(name, later.get(name)) for name in later if name in silent or name in known
    }
