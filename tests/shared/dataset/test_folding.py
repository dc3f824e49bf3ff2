from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shared.dataset.conversation import Conversation, Message, TrainingPair
from shared.dataset.folding import Row, count_targets, fold, unfold
from tests.shared.dataset.documents import asked, branched, messages, talk


def trained(row: Row) -> list[str]:
    """Texts that carry loss, in their order."""
    return [row.messages[index].content for index in sorted(row.trained)]


def test_a_conversation_folds_to_one_row_with_every_target() -> None:
    conversation = talk("c", "Hi", "Hello", "Well?", "Fine", "So?", "Bye", system="Be kind.")
    [row] = fold(conversation)
    assert row.messages == messages("Hi", "Hello", "Well?", "Fine", "So?", "Bye", system="Be kind.")
    assert trained(row) == ["Hello", "Fine", "Bye"]
    assert row.conversation_id == "c"


def test_an_unanswered_last_turn_is_left_out() -> None:
    [row] = fold(talk("c", "Hi", "Hello", "Are you there?"))
    assert row.messages == messages("Hi", "Hello")


def test_a_conversation_without_targets_gives_no_row() -> None:
    assert fold(talk("c", "Hi")) == []


def test_a_history_that_says_something_else_starts_a_row_of_its_own() -> None:
    conversation = branched(
        "c",
        asked(2, "Hi", target="Hello"),
        asked(4, "Hi", "Good day", "Well?", target="Fine"),
        asked(6, "Hi", "Good day", "Well?", "Fine", "So?", target="Bye"),
    )
    first, second = fold(conversation)
    assert trained(first) == ["Hello"]
    assert second.messages == messages("Hi", "Good day", "Well?", "Fine", "So?", "Bye")
    assert trained(second) == ["Fine", "Bye"]


def test_two_answers_to_the_same_context_give_two_rows() -> None:
    pairs = [asked(2, "Hi", target="Hello"), asked(2, "Hi", target="Good day")]
    assert [trained(row) for row in fold(branched("c", *pairs))] == [["Hello"], ["Good day"]]


def test_another_system_prompt_starts_a_row_of_its_own() -> None:
    conversation = branched(
        "c",
        asked(2, "Hi", target="Hello", system="Be kind."),
        asked(4, "Hi", "Hello", "Well?", target="Fine", system="Be brief."),
        asked(6, "Hi", "Hello", "Well?", "Fine", "So?", target="Bye"),
    )
    assert [row.messages[0].content for row in fold(conversation)] == [
        "Be kind.",
        "Be brief.",
        "Hi",
    ]


def test_an_excluded_target_stays_as_context() -> None:
    conversation = talk("c", "Hi", "Hello", "Well?", "Fi\\", "So?", "Bye")
    [row] = fold(conversation, lambda pair: pair.target != "Fi\\")
    assert row.messages == messages("Hi", "Hello", "Well?", "Fi\\", "So?", "Bye")
    assert trained(row) == ["Hello", "Bye"]


def test_unfolding_gives_one_row_a_target_with_its_own_context() -> None:
    rows = unfold(talk("c", "Hi", "Hello", "Well?", "Fine"))
    assert [(row.messages, trained(row)) for row in rows] == [
        (messages("Hi", "Hello"), ["Hello"]),
        (messages("Hi", "Hello", "Well?", "Fine"), ["Fine"]),
    ]


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """Pairs that go on from what was said, go back, change what was said, or have no target."""
    text = st.sampled_from(["a", "b"])
    said = messages("a", system=draw(st.sampled_from(["", "kind"])))
    pairs = []
    for turn in range(draw(st.integers(0, 8))):
        target = draw(st.none() | text)
        pairs.append(TrainingPair(turn, said, target, f"turn {turn}"))
        if draw(st.booleans()):
            said = (*said, Message("assistant", target or "a"), Message("user", draw(text)))
        if draw(st.integers(0, 3)) == 0:
            kept = draw(st.integers(0, len(said) - 1))
            said = (*said[:kept], Message("user", draw(text)))
    return branched("c", *pairs)


def targets_in_context(rows: list[Row]) -> Counter[tuple[tuple[Message, ...], Message]]:
    return Counter(
        (row.messages[:index], row.messages[index]) for row in rows for index in row.trained
    )


@given(conversations(), st.sampled_from([{"a"}, {"b"}, {"a", "b"}]))
def test_every_trained_target_occurs_once_in_its_own_context(
    conversation: Conversation, kept: set[str]
) -> None:
    pairs = [pair for pair in conversation.targets if pair.target in kept]
    rows = fold(conversation, lambda pair: pair.target in kept)
    assert targets_in_context(rows) == Counter(
        (pair.context, Message("assistant", pair.target or "")) for pair in pairs
    )
    assert targets_in_context(rows) == targets_in_context(
        unfold(conversation, lambda pair: pair.target in kept)
    )
    assert count_targets(rows) == len(pairs)
