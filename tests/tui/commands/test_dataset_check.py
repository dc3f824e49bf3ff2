"""`brightrun dataset check`: what it prints, writes and returns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from tests.shared.dataset.documents import document, file_pairs, jsonl
from tui.commands import dataset_check
from tui.commands.dataset_check import CheckOptions, check_files
from tui.services.dataset_check import CheckSettings

pytestmark = pytest.mark.usefixtures("home")
TALK = ["How do I begin?", "With one small step, and then another.", "Which one?", "The nearest."]
CUT = ["Hi", "Cut in the mid\\", "And?", "Cut a\\", "So?", "All is well."]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.json"
    path.write_text(json.dumps(document(c1=file_pairs(*TALK))))
    return path


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    path = tmp_path / "cut.jsonl"
    path.write_text(jsonl(c2=file_pairs(*CUT)))
    return path


def options(*files: Path, **fields: object) -> CheckOptions:
    return CheckOptions(files, CheckSettings("tiny"), **fields)  # type: ignore[arg-type]


def test_each_file_is_told_with_its_figures_lengths_and_findings(
    sound: Path, cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_files(options(sound, cut)) == 0

    out, err = capsys.readouterr()
    assert err == ""
    for said in (
        f"{sound}: brightrun-lora-v4 JSON",
        f"{cut}: brightrun-lora-v4 JSONL",
        *("steps an epoch", "median", "max_seq_length 4,096: no row is longer"),
        *("cut_target (2 times)", "c2 · turn 2 · line 2", "2 warnings"),
    ):
        assert said in out, said


def test_the_worst_of_all_files_gives_the_exit_code(sound: Path, cut: Path, tmp_path: Path) -> None:
    assert check_files(options(sound, strict=True)) == 0
    assert check_files(options(sound, cut)) == 0
    assert check_files(options(sound, cut, strict=True)) == 1
    assert check_files(options(tmp_path / "none.json", sound)) == 2


def test_a_file_that_is_not_there_keeps_no_other_from_being_checked(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_files(options(tmp_path / "none.json", sound)) == 2

    out = capsys.readouterr().out
    assert f"{tmp_path / 'none.json'}: not readable" in out
    assert "1 error" in out and f"{sound}: brightrun-lora-v4 JSON" in out


def test_no_more_findings_of_a_kind_are_printed_than_asked_for(
    cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_files(options(cut, most_findings=1))

    out = capsys.readouterr().out
    assert "turn 2" in out and "turn 4" not in out and "… and 1 more" in out


def test_what_is_trained_must_not_be_held_out(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held_out = tmp_path / "held.jsonl"
    held_out.write_text(jsonl(other=file_pairs(*TALK)))

    assert check_files(options(sound, held_out)) == 0
    assert check_files(options(sound, held_out, strict=True)) == 1
    assert check_files(options(sound, held_out=(held_out,))) == 2
    assert "held.jsonl and sound.json\n\nerror    leak_between_files" in capsys.readouterr().out


def test_json_is_an_object_for_one_file_and_a_list_for_several(
    sound: Path, cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_files(options(cut, as_json=True))
    one = json.loads(capsys.readouterr().out)
    check_files(options(sound, cut, held_out=(sound,), as_json=True))
    several = json.loads(capsys.readouterr().out)

    assert (one["file"], one["base_model"], one["conversations"]) == (str(cut), "tiny", 1)
    assert len(one["sha256"]) == 64 and one["lengths"]["counts"]
    assert [finding["code"] for finding in one["findings"]] == ["cut_target", "cut_target"]
    assert "row_targets" not in one  # A figure for each row of 500 MB is nothing to print.
    assert [item["is_held_out"] for item in several] == [False, False, True]
    (leak,) = several[2]["between_files"]
    assert several[0]["between_files"] == []
    assert leak["other"] == str(sound) and leak["finding_counts"]["error"]


def test_a_page_is_written_beside_what_is_printed(
    sound: Path, cut: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"

    assert check_files(options(sound, cut, report_path=page, most_findings=1)) == 0

    assert str(page) in capsys.readouterr().err
    text = page.read_text()
    assert "sound.json" in text and text.count("Cut ") == 2


def test_a_training_file_is_never_replaced_by_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, link = tmp_path / "train.html", tmp_path / "link.html"
    path.write_text(jsonl(c1=file_pairs(*TALK)))
    link.symlink_to(path)
    before = path.read_bytes()

    for report_path in (path, link):
        with pytest.raises(InvalidInput, match="write the report elsewhere"):
            check_files(options(path, report_path=report_path))

    assert path.read_bytes() == before
    assert capsys.readouterr().out == ""  # It is said before anybody waits.


def test_ctrl_c_ends_it_without_a_traceback(
    sound: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset_check, "check_training_file", interrupted)

    assert check_files(options(sound)) == 130
    assert capsys.readouterr().err.strip() == "interrupted."
