"""The shapes that people bring, and what is read of each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.dataset.conversation import Conversation, Dataset
from shared.errors import InvalidDataset
from tests.shared.dataset.conftest import Read
from tests.shared.dataset.documents import document, file_pairs, jsonl, messages

CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Well?"},
    {"role": "assistant", "content": "Fine"},
]
SHARE_GPT = [
    {
        "from": {"user": "human", "assistant": "gpt"}.get(entry["role"], "system"),
        "value": entry["content"],
    }
    for entry in CHAT
]
PAIRS = file_pairs("Hi", "Hello", "Well?", "Fine")
ENRICHED = {
    "dataset_metadata": {"dataset_name": "conversation_5"},
    "consultant_profile": {},
    "training_pairs": PAIRS,
}


def lines(*entries: Any) -> str:
    return "\n".join(json.dumps(entry) for entry in entries)


def what_is_trained(conversation: Conversation) -> list[Any]:
    return [(pair.context, pair.target) for pair in conversation.targets]


FILES = {
    "brightrun-lora-v4 JSON": json.dumps(document(a=PAIRS)),
    "brightrun-lora-v4 JSONL": jsonl(a=PAIRS),
    "single brightrun-lora-v4 conversation": json.dumps(ENRICHED, indent=2),
    "turns JSONL": lines({"conversation_id": "a", "turns": CHAT}),
    "turns JSON": json.dumps({"conversation_id": "a", "turns": CHAT}, indent=1),
    "OpenAI messages JSONL": lines({"messages": CHAT}, {"messages": CHAT}),
    "OpenAI messages JSON": json.dumps([{"messages": CHAT}], indent=2),
    "conversations JSONL": lines({"conversations": CHAT}),
    "conversations JSON": json.dumps({"conversations": SHARE_GPT}, indent=2),
}


@pytest.mark.parametrize("shape", FILES)
def test_every_shape_gives_the_same_targets_in_the_same_contexts(read: Read, shape: str) -> None:
    found = read(FILES[shape])
    assert found.shape == shape
    assert what_is_trained(found.conversations[0]) == [
        (messages("Hi", system="Be kind."), "Hello"),
        (messages("Hi", "Hello", "Well?", system="Be kind."), "Fine"),
    ]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_of_chats_is_read_however_it_is_written(read: Read, indent: int | None) -> None:
    content = json.dumps([{"messages": CHAT}, {"messages": CHAT[:3]}], indent=indent)
    assert [len(item.targets) for item in read(content).conversations] == [2, 1]


def test_share_gpt_is_read_a_line_each(read: Read) -> None:
    found = read(lines({"conversations": SHARE_GPT}, {"conversations": SHARE_GPT[:3]}))
    assert [len(item.targets) for item in found.conversations] == [2, 1]


def test_version_5_is_read_like_version_4_and_called_by_its_name(read: Read) -> None:
    five = document(a=PAIRS) | {"training_file_metadata": {"format_spec": "brightrun-lora-v5"}}
    assert read(five).shape == "brightrun-lora-v5 JSON"
    meta, *rest = jsonl(a=PAIRS).split("\n")
    five_lines = "\n".join([json.dumps({"_meta": {"version": "5.0.0"}}), *rest])
    assert read(five_lines).shape == "brightrun-lora-v5 JSONL"
    of_five, of_four = read(five_lines), read("\n".join([meta, *rest]))
    assert of_five.conversations == of_four.conversations


def ids(found: Dataset) -> list[str]:
    return [item.conversation_id for item in found.conversations]


def test_ids_are_taken_from_where_each_shape_has_them(read: Read) -> None:
    assert ids(read(lines({"conversation_id": "x", "turns": CHAT}))) == ["x"]
    assert ids(read(lines({"id": 7, "messages": CHAT}))) == ["7"]
    assert ids(read(lines({"messages": CHAT}, {"messages": CHAT}))) == [
        "conversation-1",
        "conversation-2",
    ]
    assert ids(read(ENRICHED)) == ["fp_conversation"]
    nameless = [{**pair, "conversation_id": None} for pair in PAIRS]
    assert ids(read({**ENRICHED, "training_pairs": nameless})) == ["conversation_5"]


def test_an_enriched_file_whose_pairs_have_several_ids_holds_several_conversations(
    read: Read,
) -> None:
    others = [{**pair, "conversation_id": "other"} for pair in PAIRS]
    found = read({**ENRICHED, "training_pairs": [*PAIRS, *others]})
    assert ids(found) == ["fp_conversation", "other"]
    assert [len(item.targets) for item in found.conversations] == [2, 2]


def test_labels_of_a_chat_stand_in_its_metadata(read: Read) -> None:
    [found] = read(lines({"messages": CHAT, "metadata": {"persona": "planner"}})).conversations
    assert (found.persona, found.emotional_arc, found.is_scaffolded) == ("planner", "", True)


def test_an_answer_of_weight_0_is_context_only(read: Read) -> None:
    chat = [dict(entry) for entry in CHAT]
    chat[2]["weight"] = 0
    [found] = read(lines({"messages": chat})).conversations
    assert [pair.target for pair in found.pairs] == [None, None, None, "Fine"]
    assert found.targets[0].context == messages("Hi", "Hello", "Well?", system="Be kind.")


def test_text_in_parts_is_joined(read: Read) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    chat = [CHAT[1], {"role": "assistant", "content": parts}]
    [found] = read(lines({"messages": chat})).conversations
    assert found.targets[0].target == "Hello"


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"role": "tool", "content": "4"}, "line 1, messages[1]: role 'tool' is not system or"),
        ({"role": "user"}, 'line 1, messages[1]: the field "content" is missing'),
        ({"role": "assistant", "content": None}, '"content" must be text, not null'),
        (
            {"role": "user", "content": [{"type": "image_url"}]},
            "messages[1].content[0]: is no text: images",
        ),
        ({"role": "assistant", "content": "a", "weight": 0.5}, '"weight" must be 0 or 1'),
        ("Hi", "messages[1]: expected an object, found"),
    ],
)
def test_a_message_that_cannot_be_trained_is_named(read: Read, entry: Any, complaint: str) -> None:
    with pytest.raises(InvalidDataset) as caught:
        read(lines({"messages": [CHAT[1], entry]}))
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\x1f\x8b\x08\x00" + b"\x00" * 20, "is compressed (gzip). Unpack it first."),
        ("{}".encode("utf-16"), "is UTF-16 text, not UTF-8."),
        ("{}".encode("utf-32"), "is UTF-32 text, not UTF-8."),
        (b"\x00" * 100, "line 1, column 1: Expecting value"),
        ("﻿", "is empty"),
    ],
)
def test_files_that_are_no_text_are_told_by_what_they_are(
    read: Read, content: str | bytes, complaint: str
) -> None:
    with pytest.raises(InvalidDataset) as caught:
        read(content)
    assert complaint in str(caught.value)


def test_jsonl_whose_first_line_is_broken_is_still_jsonl(read: Read) -> None:
    with pytest.raises(InvalidDataset, match="line 1, column 14: "):
        read('{"messages": \n' + lines({"messages": CHAT}))
