from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dataset.checks.checker import Checker, check_dataset
from shared.dataset.conversation import Dataset, Declared, Message, TrainingPair
from shared.dataset.cut_targets import trained_rows
from shared.dataset.findings import MOST_FINDINGS_OF_A_CODE, Finding, Severity
from shared.dataset.folding import fold
from shared.dataset.reader import read_dataset
from shared.dataset.report import DatasetReport
from shared.dataset.sample import SAMPLE_JSON, SAMPLE_JSONL
from tests.shared.conftest import Base
from tests.shared.dataset.documents import branched, dataset, talk

CLEAN = dataset(talk("c", "Hi", "Hello", "Well?", "Fine"))
LINE = Finding(Severity.ERROR, "invalid_json", "is no JSON.", "Mend it.", location="line 3")
CUT = dataset(talk("c", "Hi", "Hello", "Well?", "And so I \\ "))


def check(found: Dataset, max_seq_length: int = 4096) -> DatasetReport:
    return check_dataset(found, max_seq_length=max_seq_length)


def finding(report: DatasetReport) -> Finding:
    [only] = report.findings
    return only


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
    assert not report.has_errors
    assert not report.has_warnings
    assert report.conversations == report.rows == 28
    assert report.trained_targets == report.targets


def test_the_real_file_has_nothing_that_stops_it(real_file: Path, llama: Base) -> None:
    report = check_dataset(read_dataset(real_file), max_seq_length=8192, encoder=llama.encoder)
    assert not report.has_errors
    assert not report.has_warnings
    assert (report.conversations, report.targets, report.rows) == (12, 44, 12)
    assert report.turns == (89 if real_file.suffix == ".json" else 44)
    assert report.system_prompts == 1
    assert [group.conversations for group in report.personas] == [4, 4, 4]


def test_the_pair_ids_of_real_files_repeat_and_that_is_a_note(real_file: Path) -> None:
    report = check(read_dataset(real_file))
    codes = [found.code for found in report.findings]
    assert codes == (["pair_ids_repeat"] if real_file.suffix == ".json" else [])


# --- as a stream ------------------------------------------------------------------------------


def test_conversations_one_by_one_give_the_report_of_the_whole() -> None:
    found = dataset(talk("c", "Hi", "one\\ntwo"), talk("d", "So?", "Fine"), talk("d", "Oh", "No"))
    checker = Checker(max_seq_length=4096)
    for conversation in found.conversations:
        checker.add(conversation)
    assert checker.finish(found.shape, found.declared) == check(found)


def test_what_could_not_be_read_is_an_error_and_explains_wrong_totals() -> None:
    checker = Checker(max_seq_length=4096)
    checker.problem(LINE)
    checker.add(CLEAN.conversations[0])
    report = checker.finish("by hand", Declared(conversations=2))
    assert report.findings == (LINE,)
    assert report.has_errors


def test_a_damaged_file_is_counted_in_full_and_kept_in_part() -> None:
    checker = Checker(max_seq_length=4096)
    for _ in range(1000):
        checker.problem(LINE)
    checker.add(CLEAN.conversations[0])
    report = checker.finish("by hand", Declared())
    assert report.count(Severity.ERROR) == 1000
    assert len(report.findings) == MOST_FINDINGS_OF_A_CODE


def test_the_text_of_a_conversation_is_not_kept() -> None:
    checker = Checker(max_seq_length=4096)
    text = "kept nowhere " * 500

    def add(number: int) -> None:
        checker.add(talk(str(number), f"{text}?", f"{number} {text}."))

    add(0)
    tracemalloc.start()
    try:
        for number in range(1, 65):
            add(number)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 20 * len(text)  # 64 conversations hold 128 texts; two wait to be tokenized.


def test_a_file_whose_targets_are_all_cut_has_nothing_to_train() -> None:
    report = check(dataset(talk("c", "Hi", "So I \\")))
    assert report.findings[0].code == "no_targets"
    assert "all targets are cut" in report.findings[0].message


PIECES = [
    "a",
    " ",
    "\n",
    "\\",
    "\\n",
    "```",
    "**",
    "(",
    "<|eot_id|>",
    "\x00",
    "\u200d",
    "4" * 16,
    "@",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)


@st.composite
def any_pair(draw: st.DrawFn) -> TrainingPair:
    roles = draw(st.lists(st.sampled_from(["system", "user", "assistant"]), max_size=4))
    context = tuple(Message(role, draw(TEXTS)) for role in roles)  # type: ignore[arg-type]
    turn = draw(st.sampled_from([-1, 0, 1, 2, 10**30]))
    return TrainingPair(turn, context, draw(st.none() | TEXTS), "line 1", draw(TEXTS))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(any_pair(), max_size=4), max_size=3))
def test_whatever_could_be_read_gives_a_report(talks: list[list[TrainingPair]]) -> None:
    found = dataset(*(branched(f"c{n % 2}", *pairs) for n, pairs in enumerate(talks)))
    report = check(found, max_seq_length=20)
    assert report.targets + report.null_turns == sum(len(pairs) for pairs in talks)
    assert report.trained_targets == sum(report.row_targets)
    assert sum(report.lengths.counts) == report.rows
    assert report.over_long_count == report.finding_counts[Severity.WARNING].get("over_long", 0)
    json.dumps(report.to_dict())


# --- groups -----------------------------------------------------------------------------------


def test_groups_add_up_to_the_file(real_file: Path) -> None:
    report = check(read_dataset(real_file))
    for groups in (report.personas, report.emotional_arcs, report.training_topics):
        assert sum(group.conversations for group in groups) == report.conversations
        assert sum(group.targets for group in groups) == report.targets
        assert sum(group.tokens for group in groups) == report.tokens
        assert list(groups) == sorted(groups, key=lambda group: -group.conversations)


def test_a_file_without_personas_has_no_groups() -> None:
    assert check(CLEAN).personas == ()


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


def test_a_report_becomes_json() -> None:
    report = check(CUT)
    as_json = json.loads(json.dumps(report.to_dict()))
    assert as_json["trained_targets"] == 1
    assert as_json["findings"] == [finding(report).to_dict()]
    assert as_json["findings"][0]["severity"] == "warning"
