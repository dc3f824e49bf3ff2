"""What stands more than once: in a file, and in two files."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from shared.dataset.checks.between_files import leaks, repeats
from shared.dataset.checks.checker import Checker, check_dataset
from shared.dataset.checks.identity import Contents, Identities
from shared.dataset.conversation import Conversation
from shared.dataset.findings import Finding, Severity
from tests.shared.dataset.documents import branched, dataset, talk

LETTER = " ".join(f"word{number}" for number in range(120)) + "."
EDITED = LETTER.replace("word99", "other")
OTHER = LETTER.replace("word", "other")
EVIL = "\x1b]52;c;aGk=\x07d"


def findings(*conversations: Conversation) -> tuple[Finding, ...]:
    return check_dataset(dataset(*conversations), max_seq_length=4096).findings


def contents(*conversations: Conversation) -> Contents:
    checker = Checker(max_seq_length=4096)
    for conversation in conversations:
        checker.add(conversation)
    return checker.contents


# --- in one file ------------------------------------------------------------------------------


def test_conversations_with_one_id_are_counted() -> None:
    [found] = findings(talk("c", "Hi", "a"), talk("c", "Hi", "b"), talk("c", "Hi", "d"))
    assert found.message.startswith("3 conversations have this id")
    assert (found.conversation_id, found.location) == ("c", "conversations[0]")


def test_every_copy_names_the_first() -> None:
    found = findings(talk("c", "Hi", "a"), talk("d", "Hi", "a"), talk("e", "Hi", "a"))
    assert [(item.code, item.conversation_id) for item in found] == [
        ("duplicate", "d"),
        ("duplicate", "e"),
    ]
    assert {item.message for item in found} == {"the conversation says word for word what c says."}


def test_near_duplicates_are_one_finding_and_copies_are_not_among_them() -> None:
    found = findings(talk("c", "Hi", LETTER), talk("d", "Hi", EDITED), talk("e", "Hi", LETTER))
    assert [(item.code, item.conversation_id) for item in found] == [
        ("duplicate", "e"),
        ("near_duplicate", "c"),
    ]
    assert found[1].message == "the conversation says nearly the same as d."


def test_ids_in_messages_are_cleaned_and_few() -> None:
    copies = [talk(f"{EVIL}{n}", "Hi", LETTER.replace("word99", f"w{n}")) for n in range(6)]
    [found] = findings(*copies)
    assert found.message == "the conversation says nearly the same as d1, d2, d3 and 2 more."


def test_a_repeated_answer_is_one_finding_with_the_number_of_conversations() -> None:
    answer = LETTER[:250]
    talks = [
        talk(str(n), f"I ask {n}", LETTER.replace("word", f"n{n}x"), "So?", answer)
        for n in range(3)
    ]
    [found] = [item for item in findings(*talks) if item.code != "maybe_cut_target"]
    assert found.code == "repeated_target"
    assert found.message == "this answer stands word for word in 3 conversations, first in 0."
    assert (found.conversation_id, found.turn, found.location) == ("1", 4, "turn 4")
    assert found.snippet == answer[:80]


def test_a_short_answer_may_stand_in_many_conversations() -> None:
    assert findings(talk("c", "Hi", "You're welcome!"), talk("d", "Oh", "You're welcome!")) == ()


def test_an_answer_repeated_inside_one_conversation_is_no_repeat_between_them() -> None:
    assert findings(talk("c", "Hi", LETTER, "Once more?", LETTER)) == ()


def test_a_conversation_that_repeats_itself_counts_once() -> None:
    [found] = findings(
        talk("c", "Hi", LETTER, "Once more?", LETTER), talk("d", "Oh", OTHER, "?", LETTER)
    )
    assert found.message == "this answer stands word for word in 2 conversations, first in c."


def test_answers_of_near_duplicates_go_without_saying() -> None:
    longer = " ".join(f"more{number}" for number in range(120)) + "."
    found = findings(talk("c", "Hi", LETTER, "So?", longer), talk("d", "Hi", EDITED, "So?", longer))
    assert [item.code for item in found] == ["near_duplicate"]


def test_conversations_that_say_nothing_are_no_copies() -> None:
    found = findings(talk("c", "Hi", "Hello"), branched("d"), branched("e"))
    assert found == ()


def test_repeating_pair_ids_are_one_note_with_an_example() -> None:
    def numbered(name: str) -> Conversation:
        given = talk(name, f"Hi {name}", "Hello")
        pairs = [replace(pair, pair_id=f"turn{pair.turn}") for pair in given.pairs]
        return replace(given, pairs=tuple(pairs))

    [found] = findings(numbered("c"), numbered("d"), numbered("e"))
    assert (found.code, found.severity, found.snippet) == (
        "pair_ids_repeat",
        Severity.NOTE,
        "turn1",
    )
    assert found.message.startswith("4 training pairs ")


def test_a_conversation_takes_few_bytes() -> None:
    """100,000 of them must fit beside a tokenizer."""
    identities = Identities()
    tracemalloc.start()
    try:
        for number in range(300):
            words = " ".join(f"w{number}x{i}" for i in range(80))
            identities.add(talk(str(number), "Hi", words, "So?", words[::-1]))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / 300 < 1000


# --- in two files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"), [(LETTER, "has the same as c."), (EDITED, "has nearly the same as c.")]
)
def test_a_held_out_conversation_that_is_trained_is_an_error(answer: str, words: str) -> None:
    train = contents(talk("b", "Oh", OTHER), talk("c", "Hi", LETTER))
    held_out = contents(talk("d", "Hi", answer), talk("e", "And?", LETTER.replace("word", "n")))
    [found] = leaks(train, held_out)
    assert (found.code, found.severity) == ("leak_between_files", Severity.ERROR)
    assert (found.conversation_id, found.location) == ("d", "conversations[0]")
    assert words in found.message


def test_files_that_share_nothing_have_no_leak() -> None:
    train = contents(talk("c", "Hi", LETTER), branched("x"))
    held_out = contents(talk("c", "Hi", OTHER), branched("x"))
    assert leaks(train, held_out) == []
    assert repeats(train, held_out) == []


def test_a_conversation_in_two_files_of_one_set_is_a_warning() -> None:
    first = contents(talk("c", "Hi", LETTER), talk("x", "Oh", OTHER))
    second = contents(talk("d", "Hi", LETTER), talk("e", "Oh", OTHER.replace("other99", "n")))
    same, near = repeats(first, second)
    assert (same.code, same.severity) == ("repeat_between_files", Severity.WARNING)
    assert "has the same as c." in same.message
    assert "merge" in same.advice
    assert "has nearly the same as x." in near.message


def test_near_duplicates_inside_the_held_out_file_are_no_leak() -> None:
    held_out = contents(talk("d", "Hi", LETTER), talk("e", "Hi", EDITED))
    assert leaks(contents(talk("c", "Hi", OTHER)), held_out) == []
