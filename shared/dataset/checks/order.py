"""Findings about who speaks when, and about histories that say something else than earlier turns.

One finding of a kind for each conversation, at the first place: every later pair repeats the fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.dataset.checks.personal_values import masked
from shared.dataset.checks.walk import at_pair, beginning, new_messages
from shared.dataset.conversation import Conversation, Message, TrainingPair
from shared.dataset.findings import Finding, Severity

_SNIPPET_CHARACTERS = 40


def order_findings(conversation: Conversation) -> Iterator[Finding]:
    """Roles that do not alternate, messages said twice, contradictions, changing instructions."""
    yield from _role_findings(conversation)
    yield from _history_findings(conversation)
    yield from _system_findings(conversation)


# --- roles ------------------------------------------------------------------------------------


def _role_findings(conversation: Conversation) -> Iterator[Finding]:
    said: set[str] = set()
    for pair, code, message, snippet in _role_faults(conversation):
        if code in said:
            continue
        said.add(code)
        yield at_pair(
            conversation.conversation_id,
            pair,
            Severity.WARNING,
            code,
            message,
            "Remove one of the two."
            if code == "repeated_user_turn"
            else "Check the conversation's history; the base model knows user and assistant in "
            "turns.",
            snippet=beginning(snippet, 2 * _SNIPPET_CHARACTERS),
        )


def _role_faults(
    conversation: Conversation,
) -> Iterator[tuple[TrainingPair, str, str, str]]:
    """Each fault: pair, code, message, snippet."""
    for pair, messages in new_messages(conversation):
        before = len(pair.context) - len(messages)
        last = pair.context[before - 1] if before else None
        for message in messages:
            if fault := _role_fault(last, message):
                code, words = fault
                yield pair, code, words, message.content
            last = message
        if pair.target is not None and (last is None or last.role != "user"):
            words = "what stands before the target is no user's message."
            yield pair, "role_order", words, last.content if last else ""


def _role_fault(last: Message | None, message: Message) -> tuple[str, str] | None:
    if message.role == "system":
        if last is None:
            return None
        return "role_order", "a system message stands inside the conversation."
    if last is None or last.role == "system":
        if message.role == "user":
            return None
        return "role_order", "the conversation begins with the assistant."
    if last.role != message.role:
        return None
    if message.role == "user" and last.content.strip() == message.content.strip():
        return "repeated_user_turn", "the user says the same message twice in a row."
    return "role_order", f"two messages of the {message.role} stand one after the other."


# --- history ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Contradiction:
    pair: TrainingPair
    message: str
    snippet: str


def _history_findings(conversation: Conversation) -> Iterator[Finding]:
    found = list(_contradictions(conversation))
    if not found:
        return
    more = f" More turns that differ: {len(found) - 1}." if len(found) > 1 else ""
    first = found[0]
    yield at_pair(
        conversation.conversation_id,
        first.pair,
        Severity.WARNING,
        "history_differs",
        first.message + more,
        "Make the history repeat the earlier turns; else it is trained as a row of its own, "
        "for more tokens.",
        snippet=first.snippet,
    )


def _contradictions(conversation: Conversation) -> Iterator[_Contradiction]:
    said: list[tuple[Message, int]] = []
    """What was said so far, each message with the turn that said it."""
    for pair, messages in new_messages(conversation):
        before = len(pair.context) - len(messages)
        spoken = [message for message in messages if message.role != "system"]
        # Most pairs go on from the one before: only what is new has to be looked at.
        start = sum(message.role != "system" for message in pair.context[:before])
        if contradiction := _compare(said, spoken, start, pair):
            yield contradiction
        said = said[:start] + _with_turns(said[start:], spoken, pair.turn)
        if pair.target is not None:
            said.append((Message("assistant", pair.target), pair.turn))


def _with_turns(
    said: Sequence[tuple[Message, int]], spoken: Sequence[Message], turn: int
) -> list[tuple[Message, int]]:
    """The messages, each with the turn that said it first."""
    return [
        (message, said[index][1] if index < len(said) and said[index][0] == message else turn)
        for index, message in enumerate(spoken)
    ]


def _compare(
    said: list[tuple[Message, int]], spoken: list[Message], start: int, pair: TrainingPair
) -> _Contradiction | None:
    for index, (earlier, turn) in enumerate(said[start:]):
        number = start + index + 1
        if index == len(spoken):
            if turn == pair.turn:
                words = f"there are two answers for turn {turn}"
            else:
                words = f"the history ends before message {number}, which turn {turn} has"
            return _Contradiction(pair, f"{words}.", _begin(earlier.content))
        if spoken[index] != earlier:
            return _Contradiction(
                pair,
                f"message {number} of the history contradicts turn {turn}.",
                _difference(earlier, spoken[index]),
            )
    return None


def _difference(earlier: Message, later: Message) -> str:
    """Both texts from where they part."""
    if earlier.content == later.content:
        return f"{earlier.role} there, {later.role} here: {_begin(later.content)}"
    parted = next(
        (i for i, (a, b) in enumerate(zip(earlier.content, later.content, strict=False)) if a != b),
        min(len(earlier.content), len(later.content)),
    )
    start = max(parted - 15, 0)
    there, here = masked(earlier.content)[start:], masked(later.content)[start:]
    return f"{_begin(there)!r} there, {_begin(here)!r} here"


def _begin(text: str) -> str:
    return beginning(text, _SNIPPET_CHARACTERS)


# --- system prompts ---------------------------------------------------------------------------


def _system_findings(conversation: Conversation) -> Iterator[Finding]:
    before: str | None = None
    for pair in conversation.pairs:
        prompt = _system_prompt(pair)
        if before is not None and prompt != before:
            yield at_pair(
                conversation.conversation_id,
                pair,
                Severity.NOTE,
                "system_prompt_differs",
                "the system prompt changes inside the conversation.",
                "From here on it is a row of its own, for more tokens. Use one prompt where you "
                "can.",
                snippet=beginning(prompt, 2 * _SNIPPET_CHARACTERS),
            )
            return
        before = prompt


def _system_prompt(pair: TrainingPair) -> str:
    """The instruction that the pair's context begins with; empty for none."""
    first = pair.context[0] if pair.context else None
    return first.content if first is not None and first.role == "system" else ""
