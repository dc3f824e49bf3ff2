from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dataset.literal_newlines import replace_literal_newlines
from shared.dataset.reader import read_dataset
from shared.dataset.repair.repair import Repaired, repair
from shared.dataset.sample import SAMPLE_JSON, SAMPLE_JSONL
from shared.errors import InvalidDataset, InvalidInput
from tests.shared.dataset.documents import document, file_pair, file_pairs, jsonl

TALK = (r"Hi.\nWell?", r"One:\n\n- two", "So?", "Fine")


class Folder:
    """A file to be repaired, and what becomes of it."""

    def __init__(self, path: Path) -> None:
        self.source = path / "train"
        self.target = path / "out"

    def repaired(self, content: str | bytes | dict[str, Any], **options: bool) -> Repaired:
        text = json.dumps(content, indent=2) if isinstance(content, dict) else content
        self.source.write_bytes(text.encode() if isinstance(text, str) else text)
        return repair(self.source, self.target, **options)

    @property
    def text(self) -> str:
        return self.target.read_bytes().decode()

    @property
    def names(self) -> list[str]:
        return sorted(os.listdir(self.source.parent))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def places(repaired: Repaired, what: str) -> list[tuple[str, int]]:
    return [(each.location, each.places) for each in repaired.repairs if each.what == what]


# --- literal line breaks ----------------------------------------------------------------------


def test_line_breaks_are_put_in_wherever_a_text_stands(folder: Folder) -> None:
    repaired = folder.repaired(document(a=file_pairs(*TALK)))
    mended = [replace_literal_newlines(text) for text in TALK]
    assert json.loads(folder.text) == document(a=file_pairs(*mended))
    where = "conversations[0].training_pairs"
    assert places(repaired, "literal_newline") == [
        (f"{where}[0].current_user_input", 6),
        (f"{where}[1].target_response", 3),
    ]
    assert repaired.repairs[1].before == r"One:\n\n- two"
    assert repaired.repairs[1].after == "One:\n\n- two"
    assert (repaired.conversations, repaired.targets, repaired.remaining) == (1, 2, 0)


def test_what_is_not_repaired_stays_byte_for_byte(folder: Folder) -> None:
    meta, *found = jsonl(a=file_pairs("Hi", "½ → yes", "So?", r"One:\nTwo")).split("\n")
    odd = json.dumps({**json.loads(found[0]), "x": 1.50, "é": "é"}).replace(": ", " :  ")
    second = found[1].replace("{", '{"number":1.50e2,', 1)
    folder.repaired(f"{meta}\r\n\n{odd}  \n{second}\r\n")
    assert folder.text == f"{meta}\r\n\n{odd}  \n{second}\r\n".replace(r"\\n", r"\n")


@pytest.mark.parametrize("indent", [None, 1, 4, "\t"])
def test_a_document_keeps_its_indents_and_escapes(folder: Folder, indent: int | str | None) -> None:
    content = document(a=file_pairs("é", r"One:\nTwo ½"))
    for ensure_ascii in (True, False):
        text = json.dumps(content, indent=indent, ensure_ascii=ensure_ascii)
        folder.target.unlink(missing_ok=True)
        folder.repaired(text)
        assert folder.text == text.replace(r"\\n", r"\n")


CHATS: list[Any] = [
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "<>"}]},
    {"turns": [{"role": "user", "content": "<>"}, {"role": "assistant", "content": "Hi"}]},
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "<>"}]},
    {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "<>"}]},
            {"role": "assistant", "content": "Hi"},
        ]
    },
]


@pytest.mark.parametrize("chat", CHATS)
def test_line_breaks_are_put_into_chats(folder: Folder, chat: dict[str, Any]) -> None:
    for text in (
        json.dumps(chat),
        f"{json.dumps(chat)}\n{json.dumps(chat)}",
        json.dumps([chat], indent=2),
    ):
        folder.target.unlink(missing_ok=True)
        repaired = folder.repaired(text.replace("<>", r"One:\\nb"))
        assert repaired.counts == {"literal_newline": text.count("<>")}
        assert folder.text == text.replace("<>", r"One:\nb")


def test_a_single_enriched_conversation_is_repaired(folder: Folder) -> None:
    content = {"dataset_metadata": {}, "training_pairs": file_pairs(*TALK)}
    repaired = folder.repaired(content)
    assert repaired.counts == {"literal_newline": 2}
    mended = [replace_literal_newlines(text) for text in TALK]
    assert json.loads(folder.text)["training_pairs"] == file_pairs(*mended)


# --- counts -----------------------------------------------------------------------------------


def counted(conversations: Any, pairs: Any, turns: Any, personas: dict[str, int]) -> dict[str, Any]:
    content = document(a=file_pairs("Hi", "Yes", "Bye"))
    content["training_file_metadata"] |= {
        "total_conversations": conversations,
        "total_training_pairs": pairs,
        "scaffolding_distribution": {"personas": personas, "emotional_arcs": {}},
    }
    scaffolding = {"persona_key": "x", "emotional_arc_key": ""}
    content["conversations"][0]["conversation_metadata"] |= {
        "total_turns": turns,
        "scaffolding": scaffolding,
    }
    return content


def test_counts_are_what_the_file_holds(folder: Folder) -> None:
    repaired = folder.repaired(counted(2, "89", None, {"y": 1, "x": 3}))
    assert folder.text == json.dumps(counted(1, 3, 3, {"x": 1}), indent=2)
    assert {each.location: (each.before, each.after) for each in repaired.repairs} == {
        "conversations[0].conversation_metadata.total_turns": ("None", "3"),
        "training_file_metadata.total_conversations": ("2", "1"),
        "training_file_metadata.total_training_pairs": ("89", "3"),
        "training_file_metadata.scaffolding_distribution.personas": ("y: 1, x: 3", "x: 1"),
    }


@pytest.mark.parametrize("personas", [{"x": 1}, {"x": 1, "": 4}])
def test_right_counts_are_left_alone(folder: Folder, personas: dict[str, int]) -> None:
    assert not folder.repaired(counted(1, 3, 3, personas)).is_written


@pytest.mark.parametrize(("declared", "mended"), [(3, 4), (4, 4), (5, 5), (6, 4)])
def test_the_pairs_of_jsonl_count_turns_that_are_not_there(
    folder: Folder, declared: int, mended: int
) -> None:
    # Turns 2 and 4 are there; 1 and 3 are in their histories, and there may have been a fifth.
    text = jsonl(a=file_pairs("Hi", "Yes", "So?", "Fine"))
    start = '{"_meta": {"version": "4.0.0", "total_pairs": '
    text = text.replace('{"_meta": {"version": "4.0.0"', f"{start}{declared}")
    repaired = folder.repaired(text)
    assert repaired.is_written is (declared != mended)
    if repaired.is_written:
        assert folder.text == text.replace(f"{start}{declared}", f"{start}{mended}")


# --- text behind the JSON ---------------------------------------------------------------------


@pytest.mark.parametrize("trailing", ["}", "\n```\n", "\nDone.", ",", "\x00\x00"])
def test_text_behind_a_document_is_taken_away(folder: Folder, trailing: str) -> None:
    text = json.dumps(document(a=file_pairs("Hi", "Yes")), indent=2)
    repaired = folder.repaired(text + trailing)
    assert folder.text == text + ("\n" if trailing.endswith("\n") else "")
    assert repaired.counts == {"trailing_text": 1}


def test_text_behind_a_line_is_taken_away(folder: Folder) -> None:
    text = jsonl(a=file_pairs("Hi", "Yes", "So?", "Fine"))
    meta, second, third = text.split("\n")
    repaired = folder.repaired(f"{meta}\n{second},\n{third} ;")
    assert folder.text == text
    assert places(repaired, "trailing_text") == [
        (f"line 2, column {len(second) + 1}", 1),
        (f"line 3, column {len(third) + 2}", 1),
    ]


def test_what_may_be_more_of_the_data_is_not_taken_away(folder: Folder) -> None:
    text = json.dumps(document(a=file_pairs("Hi", "Yes")), indent=2)
    count = text.count("\n") + 2
    with pytest.raises(InvalidDataset, match=rf"train: line {count}, column 1: more JSON"):
        folder.repaired(f"{text}\n{text}")
    assert folder.names == ["train"]


# --- encoding ---------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("sample", [SAMPLE_JSON, SAMPLE_JSONL])
def test_other_encodings_of_unicode_become_utf8(
    folder: Folder, sample: Path, encoding: str
) -> None:
    text = sample.read_bytes().decode()
    repaired = folder.repaired(text.encode(encoding))
    assert folder.text == text
    assert repaired.counts == {"encoding": 1}


def test_single_bytes_of_windows_1252_are_decoded_and_each_is_listed(folder: Folder) -> None:
    text = json.dumps(document(a=file_pairs("It’s ½", "Yes – “no”…")), ensure_ascii=False)
    raw = text.encode().replace("’".encode(), b"\x92", 1).replace("”…".encode(), b"\x94\x85")
    repaired = folder.repaired(raw)
    assert folder.text == text
    listed = [each for each in repaired.repairs if each.what == "encoding"]
    assert [each.location.split(",")[0] for each in listed] == ["line 1"] * 2
    assert r"It\x92s ½" in listed[0].before
    assert "It’s ½" in listed[0].after


@pytest.mark.parametrize(
    "raw", [b"a\x81b", "Привет".encode("cp1251"), b"cut \xe2\x80 off", b"\xff\xd8\xff\xe0\x10"]
)
def test_bytes_that_may_be_anything_are_an_error(folder: Folder, raw: bytes) -> None:
    text = jsonl(a=file_pairs("Hi", "<>")).encode().replace(b"<>", raw)
    with pytest.raises(InvalidDataset, match=r"train: line 2, column \d+: is neither UTF-8"):
        folder.repaired(text)
    assert folder.names == ["train"]


def test_half_of_a_utf16_file_is_an_error(folder: Folder) -> None:
    with pytest.raises(InvalidDataset, match="UTF-16"):
        folder.repaired(SAMPLE_JSON.read_text().encode("utf-16")[:1001])


def test_a_packed_file_is_refused_with_advice(folder: Folder) -> None:
    with pytest.raises(InvalidDataset, match=r"gzip.*Unpack"):
        folder.repaired(b"\x1f\x8b\x08" + bytes(20))


# --- cut targets ------------------------------------------------------------------------------


def test_cut_targets_of_a_document_become_null(folder: Folder) -> None:
    content = document(a=file_pairs("Hi", "Hel\\", "So?", "Fine"))
    assert not folder.repaired(content).is_written
    repaired = folder.repaired(content, exclude_cut=True)
    content["conversations"][0]["training_pairs"][1]["target_response"] = None
    assert folder.text == json.dumps(content, indent=2)
    assert places(repaired, "cut_target") == [
        ("conversations[0].training_pairs[1].target_response", 1)
    ]


@pytest.mark.parametrize("end", ["", "\n"])
def test_lines_with_cut_targets_are_left_out(folder: Folder, end: str) -> None:
    text = jsonl(
        a=file_pairs("Hi", "Hel\\", "So?", "Fine"), b=file_pairs("Hi", "Hello", "Well", "\\")
    )
    kept = [line for number, line in enumerate(text.split("\n")) if number not in (1, 4)]
    repaired = folder.repaired(text + end, exclude_cut=True)
    assert folder.text == "\n".join(kept) + end
    assert places(repaired, "cut_target") == [("line 2", 1), ("line 5", 1)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    ("message", "mended"),
    [
        (
            {"role": "assistant", "content": "Hel\\", "name": "x"},
            {"role": "assistant", "content": "Hel\\", "weight": 0, "name": "x"},
        ),
        (
            {"weight": 1, "role": "assistant", "content": "Hel\\"},
            {"weight": 0, "role": "assistant", "content": "Hel\\"},
        ),
    ],
)
def test_cut_answers_of_chats_get_no_weight(
    folder: Folder, message: dict[str, Any], mended: dict[str, Any], indent: int | None
) -> None:
    def chat(answer: dict[str, Any]) -> str:
        asked = {"role": "user", "content": "Hi\\"}
        last = {"role": "assistant", "content": "Hello"}
        return json.dumps({"messages": [asked, answer, asked, last]}, indent=indent)

    assert folder.repaired(chat(message), exclude_cut=True).targets == 1
    assert folder.text == chat(mended)
    folder.source, folder.target = folder.target, folder.source.with_name("again")
    assert not repair(folder.source, folder.target, exclude_cut=True).is_written


def test_if_nothing_is_left_nothing_is_written(folder: Folder) -> None:
    with pytest.raises(InvalidDataset, match="nothing would be left"):
        folder.repaired(jsonl(a=file_pairs("Hi", "Hel\\")), exclude_cut=True)
    assert folder.names == ["train"]


# --- the rest ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [SAMPLE_JSON, SAMPLE_JSONL])
def test_where_nothing_is_to_be_repaired_nothing_is_written(folder: Folder, sample: Path) -> None:
    repaired = folder.repaired(sample.read_bytes())
    assert (repaired.is_written, repaired.repairs) == (False, ())
    assert folder.names == ["train"]


@pytest.mark.parametrize("name", ["train", "other"])
def test_nothing_is_overwritten(folder: Folder, name: str) -> None:
    folder.target = folder.source.with_name(name)
    folder.target.write_text("first")
    with pytest.raises(InvalidInput, match="is there already"):
        repair(folder.source, folder.target)
    assert folder.target.read_text() == "first"


def test_json_that_is_broken_otherwise_is_an_error_with_its_place(folder: Folder) -> None:
    text = json.dumps(document(a=file_pairs(*TALK)), indent=2)
    broken = text.replace('"turn_number"', '\\"turn_number"', 1)
    with pytest.raises(InvalidDataset, match=r"train: line \d+, column \d+: "):
        folder.repaired(broken)
    lines = jsonl(a=file_pairs(*TALK)).split("\n")
    with pytest.raises(InvalidDataset, match=r"train: line 2, column \d+: "):
        folder.repaired("\n".join([lines[0], lines[1][:-20], lines[2]]))
    with pytest.raises(InvalidDataset, match="train: line 3: is not a JSON object"):
        folder.repaired("\n".join([lines[0], lines[1], "[1]", lines[2]]))
    assert folder.names == ["train"]


def test_what_a_check_would_find_is_counted_and_left(folder: Folder) -> None:
    pairs = [*file_pairs(*TALK), file_pair(6, "Hi", target="x", current_user_input=7)]
    repaired = folder.repaired(document(a=pairs))
    assert (repaired.remaining, repaired.counts["literal_newline"]) == (1, 2)


texts = st.lists(
    st.sampled_from([r"One:\nTwo", r"\n", "a\\", "½", "`", "```\n", r"C:\new", "\u2028", "<|x|>"]),
    max_size=3,
).map("".join)


@pytest.mark.parametrize("is_lines", [False, True])
@given(said=st.lists(texts, min_size=2, max_size=6))
@settings(max_examples=50, deadline=None)
def test_a_repair_is_the_same_for_each_text_and_leaves_nothing_to_repair(
    is_lines: bool, said: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    write = jsonl if is_lines else _document_text
    pairs = file_pairs(*said)
    if is_lines and not any(pair["target_response"] for pair in pairs):
        return
    folder = Folder(tmp_path_factory.mktemp("repair"))
    repaired = folder.repaired(write(a=pairs))
    mended = write(a=file_pairs(*map(replace_literal_newlines, said)))
    if not repaired.is_written:
        assert write(a=pairs) == mended
        return
    folder.source.write_text(mended)
    found, wanted = (
        [(*pair.context, pair.target) for pair in read_dataset(path).conversations[0].pairs]
        for path in (folder.target, folder.source)
    )
    assert found == wanted
    assert not repair(folder.target, folder.target.with_name("again")).is_written


def _document_text(**talks: list[dict[str, Any]]) -> str:
    return json.dumps(document(**talks))


_MATERIAL = [
    json.dumps(document(a=file_pairs(r"Hi\nso", "Hel\\")), indent=1),
    jsonl(a=file_pairs(r"Hi\nso", "Hel\\", "So?", "Fine")),
    *map(json.dumps, CHATS),
    json.dumps({"dataset_metadata": {}, "training_pairs": file_pairs("Hi", "Yes")}),
]
_BYTES = st.sampled_from(
    [
        *(b"", b"\\", b'"', b"{", b"}", b",", b"[", b"null", b"1e999", b"NaN", b"\\ud800"),
        *(b"\n", b"\x00", b"\x92", b"\xe2\x80", b"\xff\xfe", b"\xef\xbb\xbf"),
        *(b"9" * 5000, b"[" * 3000),
    ]
)


@given(
    st.sampled_from(_MATERIAL),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), _BYTES), max_size=3),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_damage_gives_clean_errors_and_never_half_a_file(
    tmp_path_factory: pytest.TempPathFactory,
    text: str,
    damages: list[tuple[float, int, bytes]],
    exclude_cut: bool,
) -> None:
    raw = text.encode()
    for where, length, inserted in damages:
        start = round(where * len(raw))
        raw = raw[:start] + inserted + raw[start + length :]
    folder = Folder(tmp_path_factory.mktemp("damage"))
    try:
        repaired = folder.repaired(raw, exclude_cut=exclude_cut)
    except InvalidInput as error:
        assert "decoded" not in str(error) and "texts" not in str(error)
        assert folder.names == ["train"]
        return
    assert folder.names == (["out", "train"] if repaired.is_written else ["train"])
    if repaired.is_written:
        again = repair(folder.target, folder.target.with_name("again"), exclude_cut=exclude_cut)
        assert again.counts == {}
