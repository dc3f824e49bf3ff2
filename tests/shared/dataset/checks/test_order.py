"""Who speaks when, and histories that contradict what was said."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dataset.checks.order import order_findings
from shared.dataset.conversation import Conversation, Message, TrainingPair
from shared.dataset.findings import Finding
from shared.dataset.reader import read_dataset
from shared.dataset.sample import SAMPLE_JSON
from tests.shared.dataset.documents import asked, branched, talk


def only(conversation: Conversation) -> Finding:
    [found] = order_findings(conversation)
    return found


def test_a_contradiction_is_told_with_turn_message_and_both_texts() -> None:
    found = only(
        branched(
            "c",
            asked(2, "Hi", target="I would begin with the rent."),
            asked(4, "Hi", "I would begin with the card.", "Why?", target="Fine"),
        )
    )
    assert (found.turn, found.location) == (4, "turn 4")
    assert found.message == "message 2 of the history contradicts turn 2."
    assert found.snippet == "'begin with the rent.' there, 'begin with the card.' here"


def test_the_system_prompt_is_no_message_of_the_history() -> None:
    found = only(
        branched(
            "c",
            asked(2, "Hi", target="Hello", system="Be kind."),
            asked(4, "Hi", "Good day", "Why?", target="Fine", system="Be kind."),
        )
    )
    assert found.message == "message 2 of the history contradicts turn 2."


def test_a_turn_without_target_contradicts_too() -> None:
    pairs = (asked(2, "Hi", target="Hello"), asked(3, "Hi", "Good day", "Why?", target=None))
    found = only(branched("c", *pairs))
    assert (found.code, found.turn) == ("history_differs", 3)


def test_the_turn_that_said_it_is_the_one_whose_context_first_had_it() -> None:
    found = only(
        branched(
            "c",
            asked(2, "Hi", target="Hello"),
            asked(4, "Hi", "Hello", "Well?", target="Fine"),
            asked(6, "Hi", "Hello", "Well!", "Fine", "So?", target="Bye"),
        )
    )
    assert found.message == "message 3 of the history contradicts turn 4."


def test_a_contradiction_that_later_turns_keep_to_is_one() -> None:
    found = only(
        branched(
            "c",
            asked(2, "Hi", target="Hello"),
            asked(4, "Hi", "Good day", "Well?", target="Fine"),
            asked(6, "Hi", "Good day", "Well?", "Fine", "So?", target="Bye"),
        )
    )
    assert "More turns" not in found.message


def test_a_conversation_that_contradicts_itself_again_and_again_is_one_finding() -> None:
    pairs = [asked(2, "Hi", target="Hello")]
    pairs += [asked(turn, "Hi", f"No {turn}", "Well?", target="Fine") for turn in (4, 6, 8)]
    assert only(branched("c", *pairs)).message.endswith(" More turns that differ: 2.")


def test_a_history_that_ends_too_early_is_told() -> None:
    found = only(
        branched(
            "c",
            asked(2, "Hi", target="Hello"),
            asked(4, "Hi", "Hello", "Well?", target="Fine"),
            asked(6, "Hi", target="Bye"),
        )
    )
    assert found.message == "the history ends before message 2, which turn 2 has."


def test_an_answer_that_stands_only_in_the_history_contradicts_nothing() -> None:
    pairs = (
        asked(1, "Hi", target=None),
        asked(2, "Hi", target=None),
        asked(4, "Hi", "Hello", "Well?", target="Fine"),
    )
    assert list(order_findings(branched("c", *pairs))) == []


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ("au", "begins with the assistant"),
        ("ua", "before the target"),
        ("uuaau", "two messages of the user"),
        ("usu", "a system message stands inside"),
        ("ssu", "a system message stands inside"),
        ("", "before the target"),
    ],
)
def test_the_order_of_roles_is_told_in_words(roles: str, words: str) -> None:
    names = {"s": "system", "u": "user", "a": "assistant"}
    context = tuple(
        Message(names[role], f"text {number}")  # type: ignore[arg-type]
        for number, role in enumerate(roles)
    )
    pair = TrainingPair(2, context, "Fine", "turn 2")
    assert words in only(branched("c", pair)).message


def test_a_fault_that_every_later_history_repeats_is_told_once() -> None:
    pairs = [
        TrainingPair(turn, _said(turn), f"Fine {turn}", f"turn {turn}") for turn in range(2, 12, 2)
    ]
    found = only(branched("c", *pairs))
    assert (found.code, found.turn) == ("repeated_user_turn", 2)


def _said(turn: int) -> tuple[Message, ...]:
    said = [Message("user", "Hi"), Message("user", "Hi")]
    for earlier in range(2, turn, 2):
        said += [Message("assistant", f"Fine {earlier}"), Message("user", f"Next {earlier}")]
    return tuple(said)


def test_the_sample_is_in_order() -> None:
    found = [order_findings(item) for item in read_dataset(SAMPLE_JSON).conversations]
    assert [finding for findings in found for finding in findings] == []


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["a", "b", "c "]), max_size=9), st.sampled_from(["", "Be kind."]))
def test_a_conversation_that_repeats_itself_exactly_never_contradicts(
    texts: list[str], system: str
) -> None:
    numbered = [f"{text}{number}" for number, text in enumerate(texts)]
    assert list(order_findings(talk("c", *numbered, system=system))) == []
