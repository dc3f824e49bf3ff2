"""Totals that the metadata states, and what stands in the file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.dataset.checks.metadata import DeclaredCounts
from shared.dataset.conversation import Conversation, Declared
from shared.dataset.findings import Finding
from tests.shared.dataset.documents import asked, branched, talk

AS_LINES = branched(
    "c", asked(2, "Hi", target="Hello"), asked(4, "Hi", "Hello", "Well?", target="Fine")
)
"""JSONL keeps the turns that have a target: of four or five turns, two."""


def differences(declared: Declared, *conversations: Conversation) -> list[Finding]:
    totals = DeclaredCounts()
    found = [finding for item in conversations for finding in totals.add(item)]
    return [*found, *totals.findings(declared)]


@pytest.mark.parametrize(("pairs", "is_right"), [(7, False), (8, True), (10, True), (11, False)])
def test_totals_of_a_file_without_null_turns_may_count_them(pairs: int, is_right: bool) -> None:
    assert (differences(Declared(pairs=pairs), AS_LINES, AS_LINES) == []) is is_right


def test_totals_of_a_file_without_null_turns_may_also_leave_them_out() -> None:
    assert differences(Declared(pairs=2), AS_LINES) == []


def test_totals_of_a_file_with_null_turns_are_exact() -> None:
    [found] = differences(Declared(pairs=5), talk("c", "Hi", "Hello", "Well?", "Fine"))
    assert found.message == "the metadata says 5 training pairs, the file holds 4."


def test_a_file_that_declares_nothing_is_right() -> None:
    assert differences(Declared(), AS_LINES) == []


def test_a_wrong_distribution_names_what_differs() -> None:
    talks = [replace(talk(str(n), "Hi"), persona=f"p{n % 3}") for n in range(9)]
    wrong = {"p0": 3, "p1": 2, "\x1b[31mp5": 1, "p6": 1, "p7": 1}
    [found] = differences(Declared(personas=wrong), *talks)
    assert found.message == (
        "the metadata counts personas otherwise (p5: 1, 0 in the file; p1: 2, 3 in the file; "
        "p2: 0, 3 in the file; and 2 more)."
    )


def test_conversations_without_a_label_are_not_in_a_distribution() -> None:
    labelled = replace(talk("c", "Hi"), emotional_arc="a")
    declared = Declared(emotional_arcs={"a": 1, "": 4})
    assert differences(declared, labelled, talk("d", "Oh")) == []


def test_a_wrong_number_of_turns_is_told_with_the_conversation() -> None:
    [found] = differences(Declared(), replace(talk("c", "Hi", "Hello"), declared_turns=3))
    assert found.message == "total_turns says 3, the conversation has 2."
    assert (found.conversation_id, found.location) == ("c", "conversations[0]")
