from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from shared.dataset.folding import count_targets, fold
from shared.dataset.reader import JSON_SHAPE, JSONL_SHAPE, read_dataset
from shared.dataset.sample import SAMPLE_JSON, SAMPLE_JSONL
from shared.errors import InvalidDataset
from tests.shared.dataset.conftest import REAL_FILES, Read
from tests.shared.dataset.documents import document, file_pair, file_pairs, jsonl, messages


def rows_of(path: Path) -> list[Any]:
    return [row for item in read_dataset(path).conversations for row in fold(item)]


def refusal(read: Read, content: str | bytes | dict[str, Any]) -> str:
    """The message with which the file is refused."""
    with pytest.raises(InvalidDataset) as caught:
        read(content)
    return str(caught.value)


def test_both_shapes_of_the_sample_give_equal_conversations() -> None:
    of_json, of_jsonl = (
        {
            item.conversation_id: [(pair.turn, pair.context, pair.target) for pair in item.targets]
            for item in read_dataset(path).conversations
        }
        for path in (SAMPLE_JSON, SAMPLE_JSONL)
    )
    assert len(of_json) == 28
    assert of_json == of_jsonl


def test_the_shape_is_found_in_the_content_not_in_the_name(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_bytes(SAMPLE_JSONL.read_bytes())
    assert read_dataset(path).shape == JSONL_SHAPE
    path.write_bytes(SAMPLE_JSON.read_bytes())
    assert read_dataset(path).shape == JSON_SHAPE


def test_the_real_file_holds_what_was_counted(real_file: Path) -> None:
    conversations = read_dataset(real_file).conversations
    assert len(conversations) == 12
    assert sum(len(item.targets) for item in conversations) == 44
    turns = sum(len(item.pairs) for item in conversations)
    assert turns == (89 if real_file.suffix == ".json" else 44)


@pytest.mark.skipif(not REAL_FILES.exists(), reason=f"the real files are not here: {REAL_FILES}")
def test_both_shapes_of_the_real_file_fold_to_equal_rows() -> None:
    name = "EQ-12-conversations-demo"
    of_json, of_jsonl = (rows_of(REAL_FILES / f"{name}{end}") for end in (".json", ".jsonl"))
    assert of_json == of_jsonl
    assert len(of_json) == 12
    assert count_targets(of_json) == 44


def test_nobody_speaks_twice_in_a_row_in_the_real_file(real_file: Path) -> None:
    for row in rows_of(real_file):
        assert all(one.role != other.role for one, other in pairwise(row.messages))


def test_nobody_speaks_twice_in_a_row_in_the_sample() -> None:
    for row in rows_of(SAMPLE_JSON):
        assert all(one.role != other.role for one, other in pairwise(row.messages))


def test_the_current_input_is_not_repeated_where_the_history_ends_with_it(read: Read) -> None:
    [conversation] = read(document(c=file_pairs("Hi", "Hello"))).conversations
    assert conversation.targets[0].context == messages("Hi", system="Be kind.")


def test_the_current_input_is_added_where_the_history_ends_without_it(read: Read) -> None:
    pair = file_pair(4, "Hi", "Hello", target="Fine", current_user_input="And you?")
    [conversation] = read(document(c=[pair])).conversations
    assert conversation.pairs[0].context == messages("Hi", "Hello", "And you?", system="Be kind.")


@pytest.mark.parametrize("target", [None, ""])
def test_a_pair_without_an_answer_is_kept_but_is_no_target(read: Read, target: str | None) -> None:
    pairs = [file_pair(1, "Hi", target=target), file_pair(2, "Hi", target="Hello")]
    [conversation] = read(document(c=pairs)).conversations
    assert [pair.turn for pair in conversation.pairs] == [1, 2]
    assert [pair.turn for pair in conversation.targets] == [2]


def test_the_outer_id_tells_conversations_apart_though_inner_ids_repeat(read: Read) -> None:
    found = read(document(a=file_pairs("Hi", "Hello"), b=file_pairs("Hi", "Good day")))
    assert [(item.conversation_id, item.targets[0].target) for item in found.conversations] == [
        ("a", "Hello"),
        ("b", "Good day"),
    ]


@pytest.mark.parametrize("field", ["system_prompt", "target_response", "turn_number", "id"])
def test_a_field_that_may_be_missing_may_be_missing(read: Read, field: str) -> None:
    pair = file_pair(2, "Hi", target="Hello")
    del pair[field]
    assert len(read(document(c=[pair])).conversations[0].pairs) == 1


def test_a_blank_system_prompt_is_none(read: Read) -> None:
    pair = file_pair(2, "Hi", target="Hello", system_prompt=" \n")
    assert read(document(c=[pair])).conversations[0].pairs[0].context == messages("Hi")


def test_unknown_keys_are_ignored(read: Read) -> None:
    pair = file_pair(2, "Hi", target="Hello", mood={"calm": 0.5})
    [conversation] = read({**document(c=[pair]), "consultant_profile": {}}).conversations
    assert conversation.targets[0].target == "Hello"


def test_empty_scaffolding_keys_give_way_to_the_names(read: Read) -> None:
    file = document(c=file_pairs("Hi", "Hello"))
    file["conversations"][0]["conversation_metadata"]["scaffolding"] = {
        "persona_key": "",
        "persona_archetype": "planner",
        "emotional_arc": "Fear → Calm",
        "training_topic": 3,
    }
    [item] = read(file).conversations
    assert (item.persona, item.emotional_arc, item.training_topic) == ("planner", "Fear → Calm", "")


def test_a_byte_order_mark_is_no_part_of_the_text(read: Read) -> None:
    talk = {"c": file_pairs("Hi", "Hello")}
    plain = read(document(**talk)).conversations
    assert read(b"\xef\xbb\xbf" + json.dumps(document(**talk)).encode()).conversations == plain
    assert read(b"\xef\xbb\xbf" + jsonl(**talk).encode()).shape == JSONL_SHAPE


def test_jsonl_may_have_blank_lines_a_last_line_break_or_none(read: Read) -> None:
    text = jsonl(a=file_pairs("Hi", "Hello"), b=file_pairs("Hi", "Hello"))
    plain = read(text).conversations
    spaced = read("\n \n" + text.replace("\n", "\r\n\r\n") + "\n\n").conversations
    assert [item.conversation_id for item in plain] == ["a", "b"]
    assert [item.location for item in plain] == ["line 2", "line 3"]
    assert [item.location for item in spaced] == ["line 5", "line 7"]
    assert [item.targets[0].target for item in spaced] == ["Hello", "Hello"]


def test_jsonl_needs_no_meta_line(read: Read) -> None:
    text = jsonl(a=file_pairs("Hi", "Hello")).partition("\n")[2]
    assert [item.conversation_id for item in read(text).conversations] == ["a"]


def test_line_separators_inside_a_text_do_not_end_a_line(read: Read) -> None:
    odd = "one\u2028two\u2029three\x85four"
    assert odd in jsonl(a=file_pairs("Hi", odd))
    assert read(jsonl(a=file_pairs("Hi", odd))).conversations[0].targets[0].target == odd


def test_turns_out_of_order_are_put_in_order(read: Read) -> None:
    pairs = file_pairs("Hi", "Hello", "Well?", "Fine")[::-1]
    for content in (document(c=pairs), jsonl(c=pairs)):
        [conversation] = read(content).conversations
        assert [pair.target for pair in conversation.targets] == ["Hello", "Fine"]


def test_lines_of_one_conversation_may_stand_apart(read: Read) -> None:
    meta, a2, a4, b2 = jsonl(
        a=file_pairs("Hi", "Hello", "Well?", "Fine"), b=file_pairs("Hi", "Good day")
    ).split("\n")
    first, second = read("\n".join([meta, a2, b2, a4])).conversations
    assert [pair.target for pair in first.pairs] == ["Hello", "Fine"]
    assert [pair.target for pair in second.pairs] == ["Good day"]


# --- files that are refused -------------------------------------------------------------------


def test_malformed_json_names_file_line_column_and_the_text_there(read: Read) -> None:
    text = '{\n  "conversations": [],\n  "training_file_metadata": {"a": "b" \\ }\n}'
    message = refusal(read, text)
    column = text.split("\n")[2].index("\\") + 1
    assert f"train.json: line 3, column {column}: " in message
    assert repr('{"a": "b" \\ }\n}')[1:-1] in message


def test_a_malformed_line_of_jsonl_is_named_with_its_column(read: Read) -> None:
    text = jsonl(a=file_pairs("Hi", "Hello", "Well?", "Fine"))
    broken = text[: text.rindex('"target_response"')] + "oops}"
    message = refusal(read, broken)
    column = len(broken.split("\n")[2]) - len("oops}") + 1
    assert f"train.json: line 3, column {column}: " in message
    assert "oops}" in message


def test_a_line_of_jsonl_that_is_no_object_is_named(read: Read) -> None:
    assert "line 2: is not a JSON object: '[1]'" in refusal(read, '{"_meta": {}}\n[1]')


def test_a_byte_that_is_not_utf8_is_named_with_its_line(read: Read) -> None:
    message = refusal(read, '{"conversations":\n["caf\xe9"]}'.encode("latin-1"))
    assert "train.json: line 2, column 6: byte 0xe9 is not UTF-8" in message


@pytest.mark.parametrize("content", [b"", b" \n\t\n"])
def test_an_empty_file_is_called_empty(read: Read, content: bytes) -> None:
    assert refusal(read, content).endswith("train.json: is empty.")


def test_a_directory_or_a_missing_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match=r"cannot be read \(Is a directory\)"):
        read_dataset(tmp_path)
    with pytest.raises(InvalidDataset, match=r"none\.json: cannot be read \(No such file"):
        read_dataset(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"message": []}', 'is a JSON object with "message"'),
        (
            '{"prompt": "a"}\n{"prompt": "b"}\n',
            'is JSONL, each line a JSON object with "prompt"',
        ),
        ("{}", "is a JSON object with no keys"),
        ("[\n1\n]", "is a JSON list"),
        ("3", "is a JSON int"),
        ('{"conversations": {}}', 'is a JSON object with "conversations"'),
    ],
)
def test_another_shape_is_told_which_shapes_are_read(read: Read, content: str, what: str) -> None:
    message = refusal(read, content)
    assert f"train.json: {what}, which is not a shape" in message
    assert JSON_SHAPE in message
    assert JSONL_SHAPE in message


PAIR = "conversations[0].training_pairs[0]"
TURN = f"{PAIR}.conversation_history[0]"


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (
            {"conversation_history": None},
            f'{PAIR}: "conversation_history" must be a list, not null',
        ),
        ({"current_user_input": 3}, f'{PAIR}: "current_user_input" must be text, not 3'),
        ({"system_prompt": ["a"]}, f'{PAIR}: "system_prompt" must be text, not ["a"]'),
        ({"target_response": 0}, f'{PAIR}: "target_response" must be text, not 0'),
        ({"conversation_history": ["a"]}, f'{TURN}: expected an object, found "a"'),
        ({"conversation_history": [{"role": "user"}]}, f'{TURN}: the field "content" is missing'),
        (
            {"conversation_history": [{"role": "tool", "content": ""}]},
            f"{TURN}: role 'tool' is not user or assistant",
        ),
        ({"target_response": "cut \ud83d"}, f'{PAIR}: "target_response" holds half a character'),
    ],
)
def test_a_wrong_field_of_a_pair_is_named_by_its_path(
    read: Read, fields: dict[str, Any], complaint: str
) -> None:
    assert complaint in refusal(read, document(c=[file_pair(2, "Hi", target="Hello", **fields)]))


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (7, "conversations[0]: expected an object, found 7"),
        ({}, 'conversations[0]: the field "training_pairs" is missing'),
        (
            {"training_pairs": [], "conversation_metadata": {}},
            'conversations[0].conversation_metadata: the field "conversation_id" is missing',
        ),
    ],
)
def test_a_wrong_conversation_is_named_by_its_path(read: Read, entry: Any, complaint: str) -> None:
    assert complaint in refusal(read, {"conversations": [entry]})


def test_a_wrong_field_of_jsonl_is_named_by_its_line(read: Read) -> None:
    pair = file_pair(2, "Hi", target="Hello", current_user_input=None)
    assert 'line 2: "current_user_input" must be text' in refusal(read, jsonl(c=[pair]))


@pytest.mark.parametrize("before", ["", '{"_meta": {}}\n'])
def test_deep_nesting_is_refused(read: Read, before: str) -> None:
    assert "nested too deeply" in refusal(read, before + "[" * 200_000)


def test_a_huge_integer_is_refused_with_its_line(read: Read) -> None:
    line = '{"turn_number": ' + "9" * 5_000 + "}"
    assert "line 2, column 1: Exceeds the limit" in refusal(read, '{"_meta": {}}\n' + line)
