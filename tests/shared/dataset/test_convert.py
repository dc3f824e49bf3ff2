from __future__ import annotations

import json
import os
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dataset.convert import Converted, Form, write_converted
from shared.dataset.cut_targets import trained_rows
from shared.dataset.raw import RawConversation
from shared.dataset.reader import open_training_file, read_dataset
from shared.dataset.sample import SAMPLE_JSON, SAMPLE_JSONL
from shared.errors import InvalidDataset, InvalidInput
from tests.shared.dataset.documents import document, file_pair, file_pairs, jsonl

READABLE = (Form.OPENAI, Form.BRIGHTRUN_JSON, Form.BRIGHTRUN_JSONL)
TALK = ("Hi", "Hello", "Well?", "Fine")


def write(path: Path, content: str | dict[str, Any] | list[Any]) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def convert(source: Path, target: Path, form: Form) -> Converted:
    return write_converted(open_training_file(source), target, form)


def rows(path: Path) -> list[tuple[Any, ...]]:
    """What is trained from a file, in order."""
    return [
        (row.messages, row.trained)
        for conversation in read_dataset(path).conversations
        for row in trained_rows(conversation, "exclude")
    ]


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().split("\n")]


# --- nothing is lost --------------------------------------------------------------------------

texts = st.sampled_from(
    ["a", "b", " ", "½ →\n\n- 文", "<|eot_id|>", 'say "\\n"', "cut off\\", "\u2028\x00", "C:\\new"]
)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Training pairs: histories may say something else than the turns, prompts may change."""
    said = draw(st.lists(texts, min_size=2, max_size=7))
    pairs = file_pairs(*said)
    for pair in pairs:
        if draw(st.integers(0, 5)) == 0:
            pair["system_prompt"] = draw(texts)
        if pair["conversation_history"] and draw(st.integers(0, 5)) == 0:
            pair["conversation_history"][0]["content"] = draw(texts)
        if draw(st.integers(0, 5)) == 0:
            pair["target_response"] = None
    return pairs


@pytest.mark.parametrize("form", READABLE)
@given(st.lists(conversations(), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_every_form_trains_the_same_targets_in_the_same_contexts(
    form: Form, talks: list[list[dict[str, Any]]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        content = document(**{f"c{number}": talk for number, talk in enumerate(talks)})
        source = write(Path(folder, "train.json"), content)
        target = Path(folder, f"out{form.suffix}")
        try:
            convert(source, target, form)
        except InvalidDataset:
            assert not any(pair["target_response"] for talk in talks for pair in talk) or not rows(
                source
            )
            return
        assert rows(target) == rows(source)


@pytest.mark.parametrize("source", [SAMPLE_JSON, SAMPLE_JSONL])
@pytest.mark.parametrize("form", READABLE)
def test_the_sample_trains_the_same_in_every_form(source: Path, form: Form, tmp_path: Path) -> None:
    first = tmp_path / f"first{form.suffix}"
    convert(source, first, form)
    assert rows(first) == rows(source)
    back = tmp_path / "back.json"
    convert(first, back, Form.BRIGHTRUN_JSON)
    assert rows(back) == rows(source)


def test_a_real_file_trains_the_same_in_every_form(real_file: Path, tmp_path: Path) -> None:
    for form in READABLE:
        target = tmp_path / f"{form.value}{form.suffix}"
        convert(real_file, target, form)
        assert rows(target) == rows(real_file)
    assert len(rows(real_file)) == 12


def test_the_samples_jsonl_is_made_of_its_json_byte_for_byte(tmp_path: Path) -> None:
    convert(SAMPLE_JSON, tmp_path / SAMPLE_JSON.name, Form.BRIGHTRUN_JSON)
    assert (tmp_path / SAMPLE_JSON.name).read_bytes() == SAMPLE_JSON.read_bytes()
    convert(SAMPLE_JSON, tmp_path / SAMPLE_JSONL.name, Form.BRIGHTRUN_JSONL)
    assert (tmp_path / SAMPLE_JSONL.name).read_bytes() == SAMPLE_JSONL.read_bytes()


def test_unknown_members_pass_through(tmp_path: Path) -> None:
    content = document(a=file_pairs(*TALK))
    content["extra"] = {"kept": 1}
    content["training_file_metadata"]["vertical"] = "finance"
    content["conversations"][0]["extra"] = [2]
    content["conversations"][0]["conversation_metadata"]["extra"] = 3.0
    content["conversations"][0]["training_pairs"][1]["extra"] = {"x": "\ud800"}
    convert(write(tmp_path / "f.json", content), tmp_path / "out.json", Form.BRIGHTRUN_JSON)
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["conversations"] == content["conversations"]
    assert found["extra"] == {"kept": 1}
    assert found["training_file_metadata"]["vertical"] == "finance"


# --- each form --------------------------------------------------------------------------------


def test_openai_lines_give_no_weight_to_what_is_not_trained(tmp_path: Path) -> None:
    source = write(tmp_path / "f.json", document(a=file_pairs("Hi", "Hel\\", "Well?", "Fine")))
    converted = convert(source, tmp_path / "out.jsonl", Form.OPENAI)
    assert lines(tmp_path / "out.jsonl") == [
        {
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hel\\", "weight": 0},
                {"role": "user", "content": "Well?"},
                {"role": "assistant", "content": "Fine"},
            ]
        }
    ]
    assert (converted.conversations, converted.targets, converted.rows) == (1, 1, 1)
    assert "Cut in mid-sentence and not trained: 1 target." in converted.notes


def test_a_branch_is_a_line_of_its_own(tmp_path: Path) -> None:
    pairs = [
        file_pair(2, "Hi", target="Hello"),
        file_pair(4, "Hi", "Good day", "Well?", target="Fine"),
    ]
    source = write(tmp_path / "f.json", document(a=pairs))
    assert convert(source, tmp_path / "out.jsonl", Form.OPENAI).rows == 2
    assert convert(source, tmp_path / "out.txt", Form.LLAMA3).rows == 2
    assert "row 2 of 2; trained: turn 4" in (tmp_path / "out.txt").read_text()


def test_metadata_count_what_is_there(tmp_path: Path) -> None:
    content = document(a=file_pairs(*TALK), b=file_pairs("Hi", "Hello", "Bye"))
    content["training_file_metadata"] |= {"total_conversations": 9, "quality_summary": {"avg": 3}}
    for entry, persona in zip(content["conversations"], ("x", ""), strict=True):
        entry["conversation_metadata"] |= {
            "total_turns": 9,
            "scaffolding": {"persona_key": persona},
        }
    source = write(tmp_path / "f.json", content)
    convert(source, tmp_path / "out.json", Form.BRIGHTRUN_JSON)
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["training_file_metadata"] == {
        "version": "4.0.0",
        "total_conversations": 2,
        "quality_summary": {"avg": 3},
        "file_name": "out",
        "format_spec": "brightrun-lora-v4",
        "total_training_pairs": 7,
        "scaffolding_distribution": {
            "personas": {"x": 1},
            "emotional_arcs": {},
            "training_topics": {},
        },
    }
    turns = [entry["conversation_metadata"]["total_turns"] for entry in found["conversations"]]
    assert turns == [4, 3]

    write_converted(
        open_training_file(source),
        tmp_path / "part.json",
        Form.BRIGHTRUN_JSON,
        lambda raw: raw.conversation_id == "b",
    )
    part = json.loads((tmp_path / "part.json").read_text())["training_file_metadata"]
    assert (part["total_conversations"], part["total_training_pairs"]) == (1, 3)
    assert "quality_summary" not in part


def test_jsonl_holds_trainable_pairs_with_ids_of_their_own(tmp_path: Path) -> None:
    pairs = {"11111111-a": file_pairs(*TALK), "22222222-b": file_pairs("Hi", "Hello", "Bye")}
    source = write(tmp_path / "f.json", document(**pairs))
    convert(source, tmp_path / "out.jsonl", Form.BRIGHTRUN_JSONL)
    assert not (tmp_path / "out.jsonl").read_text().endswith("\n")
    meta, *found = lines(tmp_path / "out.jsonl")
    assert meta == {"_meta": {"file_name": "out", "total_pairs": 7, "version": "4.0.0"}}
    assert [(line["id"], line["conversation_id"]) for line in found] == [
        ("fp_conversation_turn2_11111111", "11111111-a"),
        ("fp_conversation_turn4_11111111", "11111111-a"),
        ("fp_conversation_turn2_22222222", "22222222-b"),
    ]
    again = tmp_path / "again" / "out.jsonl"
    again.parent.mkdir()
    convert(tmp_path / "out.jsonl", again, Form.BRIGHTRUN_JSONL)
    assert again.read_bytes() == (tmp_path / "out.jsonl").read_bytes()


@pytest.mark.parametrize(("declared", "counted"), [(3, 4), (4, 4), (5, 5), (6, 4)])
def test_the_pairs_that_jsonl_declares_are_kept_where_they_may_be_right(
    declared: int, counted: int, tmp_path: Path
) -> None:
    # A user's last word leaves no trace in JSONL, but is counted.
    meta, *others = jsonl(a=file_pairs(*TALK)).split("\n")
    meta = json.dumps({"_meta": {"total_pairs": declared, "version": "4.0.0", "extra": 1}})
    source = write(tmp_path / "f.jsonl", "\n".join([meta, *others]))
    convert(source, tmp_path / "out.jsonl", Form.BRIGHTRUN_JSONL)
    found = lines(tmp_path / "out.jsonl")[0]["_meta"]
    assert (found["total_pairs"], found["extra"]) == (counted, 1)


def test_turns_that_jsonl_leaves_out_are_built_of_later_histories(tmp_path: Path) -> None:
    talk = file_pairs(*TALK)
    text = jsonl(c1=[talk[3]])
    convert(write(tmp_path / "f.jsonl", text), tmp_path / "out.json", Form.BRIGHTRUN_JSON)
    [entry] = json.loads((tmp_path / "out.json").read_text())["conversations"]
    found = [
        (pair["turn_number"], pair["current_user_input"], pair["target_response"])
        for pair in entry["training_pairs"]
    ]
    assert found == [(1, "Hi", None), (2, "Hi", None), (3, "Well?", None), (4, "Well?", "Fine")]
    assert entry["training_pairs"][0]["id"] == "fp_conversation_turn1"
    assert entry["training_pairs"][0]["system_prompt"] == "Be kind."
    assert entry["conversation_metadata"]["total_turns"] == 4
    histories = [len(pair["conversation_history"]) for pair in entry["training_pairs"]]
    assert histories == [0, 1, 2, 3]


def test_pairs_are_built_of_chats(tmp_path: Path) -> None:
    chat = {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hel", "weight": 0},
            {"role": "user", "content": "Well?"},
            {"role": "assistant", "content": "Fine"},
            {"role": "user", "content": "Bye"},
        ],
        "tools": [],
    }
    source = write(tmp_path / "f.jsonl", json.dumps(chat))
    converted = convert(source, tmp_path / "out.json", Form.BRIGHTRUN_JSON)
    [entry] = json.loads((tmp_path / "out.json").read_text())["conversations"]
    turns = entry["training_pairs"]
    assert [(turn["current_user_input"], turn["target_response"]) for turn in turns] == [
        ("Hi", None),
        ("Hi", None),
        ("Well?", None),
        ("Well?", "Fine"),
        ("Bye", None),
    ]
    assert [len(turn["conversation_history"]) for turn in turns] == [0, 1, 2, 3, 4]
    assert entry["conversation_metadata"]["total_turns"] == 5
    assert set(entry["conversation_metadata"]["scaffolding"].values()) == {""}
    assert rows(tmp_path / "out.json") == rows(source)
    said = " ".join(converted.notes)
    for missing in (
        "emotional_context",
        "consultant_profile",
        '"tools"',
        "Persona, arc or topic stay empty in 1 conversation.",
    ):
        assert missing in said


@pytest.mark.parametrize("form", [Form.BRIGHTRUN_JSON, Form.BRIGHTRUN_JSONL])
@pytest.mark.parametrize(
    ("roles", "why"),
    [
        (["user", "assistant", "assistant"], "does not follow a user's message"),
        (["assistant"], "does not follow a user's message"),
        (["user", "system", "user", "assistant"], "a system message stands behind"),
    ],
)
def test_a_conversation_that_pairs_cannot_say_is_named(
    form: Form, roles: list[str], why: str, tmp_path: Path
) -> None:
    chat = {"conversation_id": "odd one", "turns": [{"role": r, "content": r} for r in roles]}
    source = write(tmp_path / "f.jsonl", json.dumps(chat))
    with pytest.raises(InvalidDataset, match=f"'odd one'.*{why}"):
        convert(source, tmp_path / "out", form)
    assert os.listdir(tmp_path) == ["f.jsonl"]
    convert(source, tmp_path / "out", Form.OPENAI)
    assert rows(tmp_path / "out") == rows(source)


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("form", list(Form))
def test_a_broken_place_stops_it_and_nothing_is_written(form: Form, tmp_path: Path) -> None:
    pairs = [*file_pairs(*TALK), file_pair(6, "Hi", target="x", current_user_input=7)]
    source = write(tmp_path / "f.json", document(a=file_pairs(*TALK), b=pairs))
    with pytest.raises(InvalidDataset, match=r"conversations\[1\]\.training_pairs\[4\]"):
        convert(source, tmp_path / "out", form)
    assert os.listdir(tmp_path) == ["f.json"]


@pytest.mark.parametrize("form", list(Form))
def test_nothing_is_overwritten_neither_the_source(form: Form, tmp_path: Path) -> None:
    source = write(tmp_path / "f.json", document(a=file_pairs(*TALK)))
    before = source.read_bytes()
    with pytest.raises(InvalidInput, match="is there already"):
        convert(source, source, form)
    assert source.read_bytes() == before


@pytest.mark.parametrize("form", [Form.OPENAI, Form.LLAMA3, Form.BRIGHTRUN_JSONL])
def test_a_file_without_targets_gives_no_empty_one(form: Form, tmp_path: Path) -> None:
    source = write(tmp_path / "f.json", document(a=file_pairs("Hi")))
    with pytest.raises(InvalidDataset, match="there is no"):
        convert(source, tmp_path / "out", form)
    assert os.listdir(tmp_path) == ["f.json"]


def test_two_conversations_with_one_id_cannot_become_lines(tmp_path: Path) -> None:
    content = document(a=file_pairs(*TALK))
    content["conversations"] *= 2
    with pytest.raises(InvalidDataset, match="another conversation has this id"):
        convert(write(tmp_path / "f.json", content), tmp_path / "out", Form.BRIGHTRUN_JSONL)


def test_a_number_that_json_has_not_is_named(tmp_path: Path) -> None:
    content = document(a=[{**pair, "quality": float("nan")} for pair in file_pairs(*TALK)])
    with pytest.raises(InvalidDataset, match=r"conversation 'a'.*NaN"):
        convert(write(tmp_path / "f.json", content), tmp_path / "out", Form.BRIGHTRUN_JSON)


def test_one_conversation_is_in_memory_at_a_time(tmp_path: Path) -> None:
    text = jsonl(**{f"c{number}": file_pairs("Hi", "x" * 20_000) for number in range(200)})
    source = open_training_file(write(tmp_path / "f.jsonl", text))

    def keep(raw: RawConversation) -> bool:
        return True

    tracemalloc.start()
    write_converted(source, tmp_path / "out.json", Form.BRIGHTRUN_JSON, keep)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert source.size_bytes > 4_000_000
    assert peak_bytes < 2_500_000
