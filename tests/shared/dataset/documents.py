"""Small training files and conversations, spelled as lists of texts: user, assistant, user, ..."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from shared.dataset.conversation import Conversation, Dataset, Message, Role, TrainingPair


def messages(*texts: str, system: str = "") -> tuple[Message, ...]:
    """Alternating messages that begin with the user's, behind the system prompt if there is one."""
    before = (Message("system", system),) if system else ()
    roles: Sequence[Role] = ("user", "assistant")
    return before + tuple(
        Message(role, text) for role, text in zip(cycle(roles), texts, strict=False)
    )


def asked(turn: int, *texts: str, target: str | None, system: str = "") -> TrainingPair:
    """A pair whose context is `texts`."""
    return TrainingPair(turn, messages(*texts, system=system), target, f"turn {turn}")


def talk(conversation_id: str, *texts: str, system: str = "") -> Conversation:
    """A conversation as real files have it: one pair a turn, the user's without a target."""
    pairs = [
        asked(
            turn,
            *texts[: turn if turn % 2 else turn - 1],
            target=None if turn % 2 else texts[turn - 1],
            system=system,
        )
        for turn in range(1, len(texts) + 1)
    ]
    return Conversation(conversation_id, tuple(pairs), "conversations[0]")


def branched(conversation_id: str, *pairs: TrainingPair) -> Conversation:
    """A conversation of whatever pairs."""
    return Conversation(conversation_id, pairs, "conversations[0]")


def dataset(*conversations: Conversation) -> Dataset:
    """The conversations as if they had been read."""
    return Dataset(Path("train.json"), "by hand", conversations)


# --- as they stand in a file ------------------------------------------------------------------


def file_pair(turn: int, *texts: str, target: str | None, **fields: Any) -> dict[str, Any]:
    """A training pair of a file; `fields` replace or add to its own."""
    history = [
        {"turn": number, "role": message.role, "content": message.content}
        for number, message in enumerate(messages(*texts), start=1)
    ]
    return {
        "id": f"fp_conversation_turn{turn}",
        "conversation_id": "fp_conversation",
        "turn_number": turn,
        "system_prompt": "Be kind.",
        "conversation_history": history,
        "current_user_input": texts[-1],
        "target_response": target,
        **fields,
    }


def file_pairs(*texts: str) -> list[dict[str, Any]]:
    """The training pairs of a whole conversation."""
    return [
        file_pair(turn, *texts[:turn], target=None)
        if turn % 2
        else file_pair(turn, *texts[: turn - 1], target=texts[turn - 1])
        for turn in range(1, len(texts) + 1)
    ]


def document(**conversations: list[dict[str, Any]]) -> dict[str, Any]:
    """A JSON document; a keyword for each conversation's id."""
    return {
        "training_file_metadata": {"version": "4.0.0"},
        "conversations": [
            {"conversation_metadata": {"conversation_id": name}, "training_pairs": pairs}
            for name, pairs in conversations.items()
        ],
    }


def jsonl(**conversations: list[dict[str, Any]]) -> str:
    """The same as JSONL: only pairs with a target, and no line break at the end."""
    lines = [
        {**pair, "conversation_id": name}
        for name, pairs in conversations.items()
        for pair in pairs
        if pair["target_response"] is not None
    ]
    return "\n".join(
        json.dumps(line, ensure_ascii=False) for line in [{"_meta": {"version": "4.0.0"}}, *lines]
    )
