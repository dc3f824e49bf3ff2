"""One conversation out of a file, in every shape, without reading all of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.dataset.reader import read_dataset
from shared.errors import InvalidDataset
from tests.shared.dataset.documents import document, file_pairs, jsonl
from tui.services.conversation_finder import ConversationFinder, Wanted
from tui.services.found_conversation import Found

Put = Callable[[str], Path]
TALKS: dict[str, list[dict[str, Any]]] = {
    "alpha-1": file_pairs("Hello.", "Hi.", "And?", "Well."),
    "alpha-2": file_pairs("Good day.", "Yes?"),
    "b½ta": file_pairs("Psst.", "What is it?"),
}


def chat(*texts: str, **fields: Any) -> dict[str, Any]:
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return {"messages": messages, **fields}


CHATS = [chat("Hello.", "Hi.", id="alpha-1"), chat("Good day.", "Yes?"), chat("Psst.", "What?")]
LINES = "\n".join(map(json.dumps, CHATS))


@pytest.fixture
def put(tmp_path: Path) -> Put:
    def write(text: str) -> Path:
        path = tmp_path / "train.json"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture(params=["document", "lines", "lines that stand apart", "escaped lines"])
def finder(request: pytest.FixtureRequest, put: Put) -> ConversationFinder:
    """The same three conversations."""
    lines = jsonl(**TALKS)
    if request.param == "document":
        return ConversationFinder(put(json.dumps(document(**TALKS))))
    if request.param == "lines that stand apart":
        meta, first, second, *others = lines.split("\n")
        lines = "\n".join([meta, first, *others, second])
    if request.param == "escaped lines":
        lines = "\n".join(json.dumps(json.loads(line)) for line in lines.split("\n"))
    return ConversationFinder(put(lines))


def targets(found: Found) -> list[str | None]:
    return [pair.target for pair in found.conversation.targets]


def test_a_conversation_is_found_by_number_id_or_the_beginning_of_one(
    finder: ConversationFinder,
) -> None:
    for number, name in enumerate(TALKS, start=1):
        found = finder.find(Wanted(number=number))
        assert (found.number, found.conversation.conversation_id) == (number, name)
        assert finder.find(Wanted(conversation_id=name)).conversation == found.conversation

    assert targets(finder.find(Wanted())) == ["Hi.", "Well."]
    assert targets(finder.find(Wanted(conversation_id="b"))) == ["What is it?"]


def test_the_list_has_all_of_them_and_each_can_be_read(finder: ConversationFinder) -> None:
    done: list[int] = []
    places = list(finder.places(done.append))

    assert [(place.number, place.conversation_id) for place in places] == list(enumerate(TALKS, 1))
    assert targets(finder.read(places[0])) == ["Hi.", "Well."]
    assert targets(finder.read(places[2])) == ["What is it?"]
    assert done == sorted(done)
    assert done[-1] <= finder.size_bytes


def test_an_unknown_id_is_answered_with_those_close_to_it(finder: ConversationFinder) -> None:
    with pytest.raises(InvalidDataset, match="none of the 3 conversations has the id 'alhpa-2'"):
        finder.find(Wanted(conversation_id="alhpa-2"))
    with pytest.raises(InvalidDataset, match=r"Close to it: alpha-2, alpha-1"):
        finder.find(Wanted(conversation_id="alhpa-2"))
    with pytest.raises(InvalidDataset, match=r"2 conversations have ids that begin with 'alpha'"):
        finder.find(Wanted(conversation_id="alpha"))


def test_a_number_beyond_the_last_is_answered_with_how_many_there_are(
    finder: ConversationFinder,
) -> None:
    for number in (0, 4):
        with pytest.raises(InvalidDataset, match=f"no conversation {number}; it has 3 conv"):
            finder.find(Wanted(number=number))


def test_a_line_gives_the_whole_conversation_that_it_belongs_to(put: Put) -> None:
    finder = ConversationFinder(put(jsonl(**TALKS)))

    for line in (2, 3):
        found = finder.find(Wanted(line=line))
        assert targets(found) == ["Hi.", "Well."]
        assert [pair.location for pair in found.conversation.pairs] == ["line 2", "line 3"]
    with pytest.raises(InvalidDataset, match="line 1: belongs to no conversation"):
        finder.find(Wanted(line=1))
    with pytest.raises(InvalidDataset, match="has no line 9"):
        finder.find(Wanted(line=9))


def test_a_document_has_no_lines_to_look_at(put: Put) -> None:
    finder = ConversationFinder(put(json.dumps(document(**TALKS))))
    with pytest.raises(InvalidDataset, match="Give a conversation's number or id"):
        finder.find(Wanted(line=1))


@pytest.mark.parametrize("text", [LINES, json.dumps(CHATS)], ids=["lines", "document"])
def test_chats_are_found_by_number_and_by_the_id_that_the_reader_gives_them(
    put: Put, text: str
) -> None:
    path = put(text)
    expected = read_dataset(path).conversations
    finder = ConversationFinder(path)

    assert [item.conversation_id for item in expected][1:] == ["conversation-2", "conversation-3"]
    for number, conversation in enumerate(expected, start=1):
        assert finder.find(Wanted(number=number)).conversation == conversation
        wanted = Wanted(conversation_id=conversation.conversation_id)
        assert finder.find(wanted).conversation == conversation
    places = list(finder.places())
    assert tuple(finder.read(place).conversation for place in places) == expected


def test_the_line_of_a_chat_is_that_chat_whatever_stands_before_it(put: Put) -> None:
    path = put("\n" + LINES.replace("\n", "\n\n"))
    found = ConversationFinder(path).find(Wanted(line=4))

    assert (found.number, found.conversation) == (2, read_dataset(path).conversations[1])
    with pytest.raises(InvalidDataset, match="line 3: holds no conversation"):
        ConversationFinder(path).find(Wanted(line=3))


def test_an_id_that_others_only_speak_of_is_theirs_alone(put: Put) -> None:
    talks = {"one": file_pairs("two", "Hi."), "two": file_pairs("Hello.", "one")}
    for name, target in (("one", "Hi."), ("two", "one")):
        found = ConversationFinder(put(jsonl(**talks))).find(Wanted(conversation_id=name))
        assert targets(found) == [target]


def test_what_cannot_be_read_is_told_beside_the_rest(put: Put) -> None:
    good, bad = file_pairs("Hello.", "Hi.", "And?", "Well.")[1::2]
    bad["conversation_history"] = "gone"
    finder = ConversationFinder(put(jsonl(c=[good, bad])))

    for found in (finder.find(Wanted()), *map(finder.read, list(finder.places()))):
        assert targets(found) == ["Hi."]
        [problem] = found.problems
        assert (problem.code, problem.location) == ("wrong_type", "line 3")


def test_a_broken_line_is_said_where_it_is_wanted_and_passed_over_elsewhere(put: Put) -> None:
    path = put(LINES.replace('{"messages"', "{messages", 1))
    finder = ConversationFinder(path)

    for wanted in (Wanted(line=1), Wanted(number=1)):
        with pytest.raises(InvalidDataset, match="line 1, column 2: Expecting property name"):
            finder.find(wanted)
    assert [place.conversation_id for place in finder.places()] == [
        "conversation-1",
        "conversation-2",
    ]
    found = finder.find(Wanted(conversation_id="conversation-1"))
    assert targets(found) == ["Yes?"]


def test_a_file_that_was_cut_short_meanwhile_gives_an_error(put: Put) -> None:
    path = put(jsonl(**TALKS))
    finder = ConversationFinder(path)
    places = list(finder.places())
    path.write_text('{"_meta": {}}\n')

    with pytest.raises(InvalidDataset, match="holds no conversation"):
        finder.read(places[2])


def test_in_a_file_where_all_lines_have_one_id_only_the_first_are_read(
    put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.services.line_conversations._MOST_LINES", 3)
    pairs = [pair for _ in range(9) for pair in file_pairs("Hello.", "Hi.")]
    finder = ConversationFinder(put(jsonl(same=pairs)))

    [place] = finder.places()
    for found in (finder.find(Wanted()), finder.read(place)):
        assert len(found.conversation.pairs) == 3


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("3", Wanted(number=3)),
        ("#12", Wanted(number=12)),
        (" #0 ", Wanted(number=0)),
        ("85d3", Wanted(conversation_id="85d3")),
        ("#x", Wanted(conversation_id="#x")),
        ("³", Wanted(conversation_id="³")),
    ],
)
def test_digits_are_a_number_and_all_else_an_id(typed: str, wanted: Wanted) -> None:
    assert Wanted.typed(typed) == wanted
