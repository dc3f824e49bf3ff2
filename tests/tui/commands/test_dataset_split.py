"""`brightrun dataset split`: what it prints, writes and returns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.dataset.sample import SAMPLE_JSON
from shared.errors import InvalidHyperparameter
from tests.shared.dataset.documents import document, file_pairs
from tui.cli import run_app
from tui.command_line import app
from tui.commands.dataset_split import SplitOptions, show_split


def write(path: Path, **talks: str) -> Path:
    """A file with an answer for each id."""
    pairs = {name: file_pairs("Hi", answer) for name, answer in talks.items()}
    path.write_text(json.dumps(document(**pairs)))
    return path


def test_each_stratum_is_a_line_and_all_is_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert show_split(SplitOptions(SAMPLE_JSON)) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert "20 conversations trained, 8 held out (eval_fraction 0.1, seed 42)." in out
    assert "holds out more than the fraction: up to 30 %, to come to 10." in out
    assert ["careful_beginner", "shame_to_self_respect"] in [line[:2] for line in lines]
    assert next(line for line in lines if line[:1] == ["all"])[1::2] == ["20", "8"]
    assert "too few" not in out


def test_where_the_file_gives_what_is_wanted_no_more_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_split(SplitOptions(SAMPLE_JSON, eval_fraction=0.4))
    out = capsys.readouterr().out
    assert "17 conversations trained, 11 held out (eval_fraction 0.4, seed 42)." in out
    assert "more than the fraction" not in out


@pytest.mark.parametrize(
    ("answers", "fraction", "warning"),
    [
        (
            ["a", "b", "c"],
            0.1,
            "1 conversation held out: too few to prove anything, 8 are the least.",
        ),
        (["a", "b", "c"], 0.0, "nothing is held out: no held-out loss"),
        (["a", "a", "a"], 0.1, "nothing can be held out: all conversations are one, or repeats"),
        (["a", "a", "b", "b"], 0.5, "1 conversation held out, repeats counted once: too few"),
    ],
)
def test_too_few_held_out_conversations_are_a_warning(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    answers: list[str],
    fraction: float,
    warning: str,
) -> None:
    talks = {f"c{number}": answer for number, answer in enumerate(answers)}
    assert show_split(SplitOptions(write(tmp_path / "t.json", **talks), fraction)) == 0
    assert f"warning  {warning}" in capsys.readouterr().out


def test_what_is_kept_together_is_shown_cleaned_and_in_bounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[31m[red]"
    path = write(tmp_path / "t.json", **{f"{evil}{number}": "Hello." for number in range(6)})
    show_split(SplitOptions(path))
    out = capsys.readouterr().out
    assert "trained   same texts: " in out
    assert "[red]3 and 2 more" in out
    assert "\x1b" not in out


def test_as_json_it_says_all_of_it_on_stdout_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "t.json", a="One.", b="Two.", c="Two.")
    out = tmp_path / "out"
    assert show_split(SplitOptions(path, seed=7, out=out, form="openai", as_json=True)) == 0
    printed, err = capsys.readouterr()
    said = json.loads(printed)
    assert err == ""
    # One unit is a, the other the two repeats, which are trained where possible.
    assert (said["seed"], said["eval_fraction"], said["held_out_ids"]) == (7, 0.1, ["a"])
    assert said["strata"] == [
        {
            "persona": "",
            "emotional_arc": "",
            "train_conversations": 2,
            "train_targets": 2,
            "held_out_conversations": 1,
            "held_out_targets": 1,
        }
    ]
    assert said["kept_together"] == [
        {"conversation_ids": ["b", "c"], "why": "same texts", "is_held_out": False}
    ]
    assert said["written"]["train"] == str(out / "t-train.jsonl")
    assert len((out / "t-held-out.jsonl").read_text().splitlines()) == 1
    assert len(said["warnings"]) == 1


def test_a_value_out_of_range_is_refused_as_for_a_job() -> None:
    with pytest.raises(InvalidHyperparameter, match="eval_fraction"):
        show_split(SplitOptions(SAMPLE_JSON, eval_fraction=0.9))


def test_the_command_line_takes_it_and_refuses_a_format_for_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "t.json", a="One.", b="Two.")
    command = ["dataset", "split", str(path)]
    assert run_app(app, [*command, "--format", "openai"]) == 2
    command += ["--out", str(tmp_path / "out")]
    assert run_app(app, command) == 0
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["t-held-out.json", "t-train.json"]
    assert run_app(app, command) == 2
    assert "is there already" in capsys.readouterr().err
