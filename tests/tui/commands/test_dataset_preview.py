"""`brightrun dataset preview`: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.shared.dataset.documents import document, file_pairs, jsonl
from tests.shared.small_tokenizer import put_small_model, small_encoder
from tests.tui.hostile import HOSTILE
from tui.cli import run_app
from tui.command_line import app
from tui.commands.dataset_preview import marked
from tui.views.token_text import Look, Span

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(put_small_model(tmp_path / "model"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "train.json"
    talks = {"c-one": file_pairs("hello", "Hi."), "c-two": file_pairs(f"So?{HOSTILE}", "Well.")}
    path.write_text(json.dumps(document(**talks)))
    return path


def preview(*arguments: str | Path) -> int:
    return run_app(app, ["dataset", "preview", *map(str, arguments)])


def test_in_a_pipe_brackets_say_what_is_trained_and_what_is_a_control_token(
    file: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert preview(file, "--model", model) == 0

    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "1 · c-one · conversations[0]"
    assert lines[1].endswith("tokens, 4 trained, none cut at max_seq_length 4,096")
    assert lines[2] == "context  [[trained]]  {<|control token|>}  ~~beyond max_seq_length~~"
    assert lines[-7:] == [
        "Be kind.{<|eot_id|>}",
        "{<|start_header_id|>}user{<|end_header_id|>}↵",
        "↵",
        "hello{<|eot_id|>}",
        "{<|start_header_id|>}assistant{<|end_header_id|>}↵",
        "↵",
        "[[Hi.{<|eot_id|>}]]",
    ]


def test_what_is_beyond_max_seq_length_is_marked_as_cut(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "long.json"
    path.write_text(json.dumps(document(c=file_pairs("hello", "a" * 90))))
    preview(path, "--model", model, "--max-seq-length", "64")

    out = capsys.readouterr().out
    assert "91 trained" in out
    assert "~~[[" + "a" * 5 in out
    assert out.endswith("{<|eot_id|>}]]~~\n")


def test_ids_stand_behind_their_tokens(
    file: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    preview(file, "--model", model, "--ids")
    tokens = small_encoder()._tokenizer
    assert f"hello⟨{tokens.token_to_id('hello')}⟩" in capsys.readouterr().out


def test_as_json_it_is_every_token_with_what_it_is(
    file: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert preview(file, "c-t", "--model", model, "--max-seq-length", "64", "--json") == 0

    shown = json.loads(capsys.readouterr().out)
    assert (shown["conversation_id"], shown["number"]) == ("c-two", 2)
    [row] = shown["rows"]
    texts = "".join(token["text"] for token in row["tokens"] if token["is_trained"])
    assert texts == "Well.<|eot_id|>"
    assert [token["is_cut"] for token in row["tokens"]] == [
        place >= 64 for place in range(shown["tokens"])
    ]
    assert row["tokens"][0] == {
        "id": row["tokens"][0]["id"],
        "text": "<|begin_of_text|>",
        "message": 0,
        "is_special": True,
        "is_trained": False,
        "is_cut": False,
    }
    assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]


def test_without_the_tokenizer_the_text_is_shown_and_that_is_said(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert preview(file, "1", "--model", "nobody/has-this") == 0

    out, err = capsys.readouterr()
    assert "the tokenizer of the base model is not here" in err
    assert "about " in out
    assert "── assistant ──\n[[Hi.]]\n" in out


def test_foreign_text_steers_no_terminal(
    file: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    preview(file, "2", "--model", model)
    out = capsys.readouterr().out
    assert "<U+001B>]52;c;aGk=<U+0007>" in out
    assert all(character.isprintable() for character in out.replace("\n", ""))


def test_a_line_of_jsonl_is_its_conversation(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(jsonl(one=file_pairs("hello", "Hi."), two=file_pairs("So?", "Well.")))
    assert preview(path, "--line", "3", "--model", model) == 0
    assert "two · line 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["c-tree"], "Close to it: c-"),
        (["9"], "there is no conversation 9; it has 2 conversations"),
        (["--line", "1"], "is one JSON document"),
        (["1", "--line", "1"], "not both"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    file: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert preview(file, *arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_brackets_close_with_the_last_line_that_they_hold_something_of() -> None:
    lines = [
        [Span("a", Look.CONTEXT), Span("b", Look.TRAINED)],
        [Span("c", Look.TRAINED), Span("⟨7⟩", Look.MARK), Span("<|e|>", Look.TRAINED_SPECIAL)],
        [Span("<|s|>", Look.SPECIAL), Span("d", Look.TRAINED, is_cut=True)],
        [Span("e", Look.CONTEXT, is_cut=True)],
    ]
    assert list(marked(lines)) == [
        "a[[b",
        "c⟨7⟩{<|e|>}]]",
        "{<|s|>}~~[[d]]",
        "e~~",
    ]
