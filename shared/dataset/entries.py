"""From JSON values to conversations: which field means what, in every shape.

In real files the history of a trainable pair already ends with `current_user_input`, so the input
is added only where the history does not end with that same user message. A user's turn without an
answer (`target_response` null) is kept as a pair without a target. Unknown keys are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from shared.dataset.conversation import Conversation, Message, Role, TrainingPair
from shared.dataset.fields import OnProblem, count_or_none, field_problem, missing_field, wrong_type
from shared.dataset.findings import Finding, Severity
from shared.dataset.raw import RawConversation

_PERSONA = ("persona_key", "persona_archetype", "client_persona", "persona")
_EMOTIONAL_ARC = ("emotional_arc_key", "emotional_arc")
_TRAINING_TOPIC = ("training_topic_key", "training_topic", "topic")

_SCAFFOLDING = (*_PERSONA, *_EMOTIONAL_ARC, *_TRAINING_TOPIC)

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",  # OpenAI's newer name
    "user": "user",
    "human": "user",  # ShareGPT's names
    "assistant": "assistant",
    "gpt": "assistant",
}


class _Misread(Exception):
    """Leaves the entry that cannot be read; never leaves this module."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(finding.message)


def to_conversation(raw: RawConversation, on_problem: OnProblem) -> Conversation:
    """The typed conversation; a pair that cannot be read is told and left out."""
    read = _chat_pairs if raw.pairs is None else _training_pairs
    labels = raw.metadata.get("scaffolding")
    labels = labels if isinstance(labels, dict) else raw.metadata
    return Conversation(
        conversation_id=raw.conversation_id,
        pairs=tuple(sorted(read(raw, on_problem), key=lambda pair: pair.turn)),
        location=raw.location,
        persona=_text(labels, *_PERSONA),
        emotional_arc=_text(labels, *_EMOTIONAL_ARC),
        training_topic=_text(labels, *_TRAINING_TOPIC),
        is_scaffolded=any(
            name in labels for name in (*_PERSONA, *_EMOTIONAL_ARC, *_TRAINING_TOPIC)
        ),
        declared_turns=count_or_none(raw.metadata.get("total_turns")),
    )


# --- training pairs ---------------------------------------------------------------------------


def _training_pairs(raw: RawConversation, on_problem: OnProblem) -> Iterator[TrainingPair]:
    for location, entry in zip(raw.pair_locations, raw.pairs or (), strict=True):
        try:
            yield _training_pair(location, entry)
        except _Misread as misread:
            on_problem(misread.finding)


def _training_pair(location: str, entry: Any) -> TrainingPair:
    history = _field(location, entry, "conversation_history", list)
    user_input = _field(location, entry, "current_user_input", str)
    system_prompt = _optional_text(location, entry, "system_prompt")
    messages = [
        _message(f"{location}.conversation_history[{number}]", message)
        for number, message in enumerate(history)
    ]
    asked = Message("user", user_input)
    # In real files the history already ends with the input; adding it again would train a user who
    # says everything twice.
    if not messages or messages[-1] != asked:
        messages.append(asked)
    system = [Message("system", system_prompt)] if system_prompt.strip() else []
    turn, pair_id = entry.get("turn_number"), entry.get("id")
    return TrainingPair(
        turn=turn if isinstance(turn, int) else len(messages) + 1,
        context=(*system, *messages),
        target=_optional_text(location, entry, "target_response") or None,
        location=location,
        pair_id=pair_id if isinstance(pair_id, str) else "",
    )


def _message(location: str, entry: Any) -> Message:
    role = _role(location, entry, "role", ("user", "assistant"))
    return Message(role, _field(location, entry, "content", str))


# --- chat messages ----------------------------------------------------------------------------


def _chat_pairs(raw: RawConversation, on_problem: OnProblem) -> Iterator[TrainingPair]:
    """A pair for each message but the system's; every assistant message is a target.

    Behind a message that cannot be read nothing is: no later target would have its context.
    """
    context: list[Message] = []
    turn = 0
    for number, entry in enumerate(raw.messages or ()):
        location = f"{raw.location}, messages[{number}]"
        try:
            message = _chat_message(location, entry)
            is_trained = message.role == "assistant" and _weight(location, entry) != 0
        except _Misread as misread:
            on_problem(misread.finding)
            return
        if message.role != "system":
            turn += 1
            before = tuple(context)
            yield TrainingPair(
                turn=turn,
                context=before if message.role == "assistant" else (*before, message),
                target=message.content or None if is_trained else None,
                location=location,
            )
        context.append(message)


def _chat_message(location: str, entry: Any) -> Message:
    """`{role, content}` as OpenAI has it, or `{from, value}` as ShareGPT."""
    is_share_gpt = isinstance(entry, dict) and "from" in entry and "role" not in entry
    role_name, content_name = ("from", "value") if is_share_gpt else ("role", "content")
    role = _role(location, entry, role_name, tuple(_ROLES))
    content = entry.get(content_name)
    if isinstance(content, list):  # OpenAI's list of parts
        return Message(role, "".join(_text_parts(location, content)))
    return Message(role, _field(location, entry, content_name, str))


def _text_parts(location: str, parts: Iterable[Any]) -> Iterator[str]:
    for number, part in enumerate(parts):
        inside = f"{location}.content[{number}]"
        if not isinstance(part, dict) or part.get("type", "text") != "text":
            raise _Misread(
                Finding(
                    Severity.ERROR,
                    "not_text",
                    "is no text: images, sounds and tool calls cannot be trained.",
                    "Remove the part or the conversation.",
                    location=inside,
                )
            )
        yield _field(inside, part, "text", str)


def _weight(location: str, entry: dict[str, Any]) -> int:
    """OpenAI's `weight`: 0 keeps an answer as context only."""
    weight = entry.get("weight", 1)
    if weight in (0, 1) and not isinstance(weight, bool):
        return int(weight)
    raise _Misread(
        Finding(
            Severity.ERROR,
            "wrong_type",
            '"weight" must be 0 or 1.',
            "1 trains the answer, 0 keeps it as context.",
            location=location,
        )
    )


# --- fields -----------------------------------------------------------------------------------


def _role(location: str, entry: Any, name: str, known: tuple[str, ...]) -> Role:
    spelled = _field(location, entry, name, str)
    if spelled in known:
        return _ROLES[spelled]
    raise _Misread(
        Finding(
            Severity.ERROR,
            "wrong_role",
            f"role {spelled[:40]!r} is not {' or '.join(known)}.",
            "Only these can be trained: mend the role, or remove the message.",
            location=location,
        )
    )


def _optional_text(location: str, entry: dict[str, Any], name: str) -> str:
    """The text of a field that may be null or missing; empty then."""
    return "" if entry.get(name) is None else _field(location, entry, name, str)


def _field(location: str, entry: Any, name: str, kind: type) -> Any:
    """The value of a required field."""
    if not isinstance(entry, dict):
        raise _Misread(wrong_type("", dict, entry, location))
    if name not in entry:
        raise _Misread(missing_field(name, location))
    if problem := field_problem(entry[name], kind, location, name):
        raise _Misread(problem)
    return entry[name]


def _text(labels: dict[str, Any], *names: str) -> str:
    """The first of the fields that holds text; empty keys do occur in real files."""
    return next((labels[n] for n in names if isinstance(labels.get(n), str) and labels[n]), "")
