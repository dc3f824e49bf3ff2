"""`dataset convert`, `dataset fix` and `dataset merge`, as typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.dataset.sample import SAMPLE_JSON, SAMPLE_JSONL
from tests.shared.dataset.documents import document, file_pairs
from tui import command_line
from tui.cli import run_app

EVIL = "\x1b]52;c;cm0=\x07[/][red]\u202e"

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dataset(capsys: pytest.CaptureFixture[str]) -> Typed:
    """Runs `brightrun dataset ...`; exit code, stdout, stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = run_app(command_line.app, ["dataset", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "train.json"
    path.write_text(json.dumps(document(**{f"c{EVIL}": file_pairs("Hi", rf"{EVIL}\nb")})))
    return path


def test_a_file_is_converted(dataset: Typed, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    code, text, _ = dataset("convert", SAMPLE_JSON, "--to", "openai", "-o", out)
    assert code == 0
    assert f"{out}: 28 conversations, 69 targets, 28 lines." in text
    assert "Only messages are kept" in text

    again = tmp_path / "out.json"
    code, text, _ = dataset("convert", out, "--to", "brightrun-json", "-o", again, "--json")
    found = json.loads(text)
    assert (found["conversations"], found["targets"], found["rows"]) == (28, 69, 138)
    assert any("consultant_profile" in note for note in found["notes"])


def test_nothing_is_overwritten(dataset: Typed, broken: Path) -> None:
    before = broken.read_bytes()
    for command in (("convert", "--to", "openai"), ("fix",), ("merge",)):
        code, text, said = dataset(*command, broken, "-o", broken)
        assert (code, text) == (2, "")
        assert "is there already" in said
    assert broken.read_bytes() == before


def test_a_repair_is_listed(dataset: Typed, broken: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    code, text, _ = dataset("fix", broken, "-o", out)
    assert code == 0
    assert "conversations[0].training_pairs[1].target_response: literal \\n: " in text
    assert "it holds 1 conversation, 1 target." in text

    code, text, _ = dataset("fix", out, "-o", tmp_path / "again.json")
    assert (code, text) == (0, f"{out}: nothing to repair; nothing was written.\n")
    assert not (tmp_path / "again.json").exists()


def test_a_repair_as_json_is_data_only(dataset: Typed, broken: Path, tmp_path: Path) -> None:
    found = json.loads(dataset("fix", broken, "-o", tmp_path / "out", "--json")[1])
    assert found["written"] == str(tmp_path / "out")
    assert found["counts"] == {"literal_newline": 1}
    assert found["repairs"][0]["after"].endswith("\nb")
    found = json.loads(dataset("fix", SAMPLE_JSON, "-o", tmp_path / "none", "--json")[1])
    assert (found["written"], found["repairs"]) == (None, [])


def test_files_are_merged(dataset: Typed, broken: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    code, text, _ = dataset("merge", SAMPLE_JSON, SAMPLE_JSONL, broken, "-o", out)
    assert code == 0
    assert f"{out}: 29 conversations, 70 targets, 28 duplicates left out." in text
    assert text.count("left out: ") == 20
    assert "--json lists all" in text

    names = ("merge", SAMPLE_JSON, SAMPLE_JSONL, "-o", tmp_path / "set.json", "--json")
    found = json.loads(dataset(*names)[1])
    assert (found["conversations"], len(found["duplicates"]), found["renamed"]) == (28, 28, [])


def test_a_file_cannot_steer_the_terminal(dataset: Typed, broken: Path, tmp_path: Path) -> None:
    (tmp_path / "two.json").write_text(
        json.dumps(document(**{f"c{EVIL}": file_pairs("Hi", "Other")}))
    )
    for command in (
        ("fix", broken, "-o", tmp_path / "a"),
        ("merge", broken, broken, tmp_path / "two.json", "-o", tmp_path / "b.json"),
        ("convert", broken, "--to", "llama3", "-o", tmp_path / "c"),
    ):
        code, text, said = dataset(*command)
        assert code == 0
        assert not set(text + said) & {"\x1b", "\x07", "\u202e"}
    written = (tmp_path / "c").read_text()
    assert not set(written) & {"\x1b", "\x07", "\u202e"}
