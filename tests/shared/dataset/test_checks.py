from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.dataset.checks import (
    DatasetReport,
    Finding,
    Severity,
    check_dataset,
    trained_rows,
)
from shared.dataset.conversation import Dataset
from shared.dataset.folding import fold
from shared.dataset.reader import read_dataset
from shared.dataset.sample import SAMPLE_JSON, SAMPLE_JSONL
from tests.shared.conftest import Base
from tests.shared.dataset.documents import asked, branched, dataset, talk

CLEAN = dataset(talk("c", "Hi", "Hello", "Well?", "Fine"))
CUT = dataset(talk("c", "Hi", "Hello", "Well?", "And so I \\ "))


def check(found: Dataset, max_seq_length: int = 4096) -> DatasetReport:
    return check_dataset(found, max_seq_length=max_seq_length)


def finding(report: DatasetReport) -> Finding:
    [only] = report.findings
    return only


@pytest.mark.parametrize(
    ("code", "severity", "trigger", "twin"),
    [
        ("no_targets", Severity.ERROR, dataset(talk("c", "Hi")), CLEAN),
        ("no_targets", Severity.ERROR, dataset(), CLEAN),
        (
            "duplicate_conversation",
            Severity.ERROR,
            dataset(talk("c", "Hi", "Hello"), talk("c", "Hi", "Hello")),
            dataset(talk("c", "Hi", "Hello"), talk("d", "Hi", "Hello")),
        ),
        (
            "history_differs",
            Severity.WARNING,
            dataset(
                branched(
                    "c",
                    asked(2, "Hi", target="Hello"),
                    asked(4, "Hi", "Good day", "Well?", target="Fine"),
                )
            ),
            CLEAN,
        ),
        (
            "blank_target",
            Severity.ERROR,
            dataset(talk("c", "Hi", " \n")),
            dataset(talk("c", "Hi", " \n.")),
        ),
        ("cut_target", Severity.WARNING, CUT, dataset(talk("c", "Hi", "a \\ b", "Well?", "So."))),
        (
            "literal_newline",
            Severity.WARNING,
            dataset(talk("c", "Hi", "one\\ntwo")),
            dataset(talk("c", "Hi", "one\ntwo")),
        ),
        (
            "forged_special_token",
            Severity.WARNING,
            dataset(talk("c", "Hi <|eot_id|>", "Hello")),
            dataset(talk("c", "Hi eot_id", "Hello")),
        ),
        (
            "forged_special_token",
            Severity.WARNING,
            dataset(talk("c", "Hi", "Hello", system="<|im_start|>")),
            dataset(talk("c", "Hi", "Hello", system="im_start")),
        ),
        (
            "role_order",
            Severity.WARNING,
            dataset(branched("c", asked(2, "Hi", "Hello", target="Fine"))),
            dataset(branched("c", asked(2, "Hi", target="Fine", system="Be kind."))),
        ),
        (
            "over_long",
            Severity.WARNING,
            dataset(talk("c", "Hi", "word " * 4096)),
            dataset(talk("c", "Hi", "word " * 3000)),
        ),
    ],
)
def test_each_finding_is_reported_where_it_is_and_only_there(
    code: str, severity: Severity, trigger: Dataset, twin: Dataset
) -> None:
    found = finding(check(trigger))
    assert (found.code, found.severity) == (code, severity)
    assert found.message
    assert found.advice
    assert check(twin).findings == ()


def test_a_finding_about_a_target_names_conversation_turn_place_and_text() -> None:
    found = finding(check(CUT))
    assert (found.conversation_id, found.turn, found.location) == ("c", 4, "turn 4")
    assert found.snippet == "And so I \\"


def test_errors_come_before_warnings() -> None:
    report = check(dataset(talk("c", "Hi", "one\\ntwo", "Well?", " ")))
    assert [found.severity for found in report.findings] == [Severity.ERROR, Severity.WARNING]
    assert report.has_errors
    assert report.has_warnings


@pytest.mark.parametrize("path", [SAMPLE_JSON, SAMPLE_JSONL])
def test_the_sample_is_clean(path: Path, llama: Base) -> None:
    report = check_dataset(read_dataset(path), max_seq_length=4096, encoder=llama.encoder)
    assert report.findings == ()
    assert not report.has_errors
    assert not report.has_warnings
    assert report.conversations == report.rows == 28
    assert report.trained_targets == report.targets


def test_the_real_file_has_nothing_that_stops_it(real_file: Path, llama: Base) -> None:
    report = check_dataset(read_dataset(real_file), max_seq_length=8192, encoder=llama.encoder)
    assert not report.has_errors
    assert (report.conversations, report.targets, report.rows) == (12, 44, 12)


# --- cut targets ------------------------------------------------------------------------------


def test_a_cut_target_is_not_trained_but_counted_as_a_target() -> None:
    report = check_dataset(CUT, max_seq_length=4096)
    assert (report.targets, report.trained_targets) == (2, 1)
    assert "excluded from the loss" in finding(report).message


def test_a_cut_target_is_trained_on_demand_and_still_reported() -> None:
    report = check_dataset(CUT, max_seq_length=4096, cut_targets="train")
    assert (report.targets, report.trained_targets) == (2, 2)
    assert "trained all the same" in finding(report).message


def test_rows_are_folded_without_cut_targets() -> None:
    [conversation] = CUT.conversations
    [shorter] = trained_rows(conversation, "exclude")
    assert [message.content for message in shorter.messages] == ["Hi", "Hello"]
    assert trained_rows(conversation, "train") == fold(conversation)


# --- lengths ----------------------------------------------------------------------------------


def test_a_row_as_long_as_the_limit_is_not_over_long(llama: Base) -> None:
    [row] = fold(CLEAN.conversations[0])
    length = len(llama.encoder.encode(row)[0])
    fits = check_dataset(CLEAN, max_seq_length=length, encoder=llama.encoder)
    assert fits.findings == ()
    assert (fits.tokens, fits.longest_tokens, fits.tokens_are_estimated) == (length, length, False)

    found = finding(check_dataset(CLEAN, max_seq_length=length - 1, encoder=llama.encoder))
    assert (found.code, found.severity) == ("over_long", Severity.ERROR)
    assert (found.conversation_id, found.turn) == ("c", 4)
    assert found.message.startswith(f"{length} tokens up to turn 4, ")
    assert f"Raise max_seq_length to {length} or more" in found.advice


def test_an_over_long_row_that_is_left_out_on_demand_is_a_warning(llama: Base) -> None:
    found = finding(
        check_dataset(CLEAN, max_seq_length=4, over_long="exclude", encoder=llama.encoder)
    )
    assert found.severity is Severity.WARNING
    assert "left out" in found.message


def test_an_estimate_never_refuses_a_file() -> None:
    report = check(CLEAN, max_seq_length=4)
    assert report.tokens_are_estimated
    assert finding(report).severity is Severity.WARNING
    assert finding(report).message.startswith("about ")


def test_an_estimate_is_near_the_count_of_the_real_tokenizer(real_file: Path) -> None:
    # 24,087 with Llama 3's own tokenizer (facts of the format, 2026-11).
    assert check(read_dataset(real_file), 8192).tokens == pytest.approx(24_087, rel=0.1)


def test_a_report_becomes_json() -> None:
    report = check(CUT)
    as_json = json.loads(json.dumps(report.to_dict()))
    assert as_json["trained_targets"] == 1
    assert as_json["findings"] == [finding(report).to_dict()]
    assert as_json["findings"][0]["severity"] == "warning"
