"""Token counts, their distribution, and what truncation would take away."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.chat_format import IGNORED_LABEL, ChatEncoder
from shared.dataset.checks.checker import check_dataset
from shared.dataset.checks.lengths import distribution
from shared.dataset.conversation import Dataset
from shared.dataset.cut_targets import trained_rows
from shared.dataset.findings import Finding, Severity
from shared.dataset.folding import fold, unfold
from shared.dataset.reader import read_dataset
from shared.dataset.report import DatasetReport, LengthDistribution
from shared.dataset.sample import SAMPLE_JSON
from shared.dataset.token_counts import count_rows, count_tokens
from tests.shared.conftest import Base
from tests.shared.dataset.documents import asked, branched, dataset, talk

CLEAN = dataset(talk("c", "Hi", "Hello", "Well?", "Fine"))
SAMPLE = read_dataset(SAMPLE_JSON)
BRANCHED = dataset(
    branched(
        "c",
        asked(2, "Hi", target="Hello"),
        asked(4, "Hi", "Good day", "Well?", target="Fine"),
        asked(6, "Hi", "Good day", "Well?", "Fine", "So?", target="Bye"),
    )
)


def finding(report: DatasetReport) -> Finding:
    [only] = report.findings
    return only


@pytest.mark.parametrize("file", [SAMPLE, BRANCHED, CLEAN])
def test_the_counts_are_those_of_the_encoded_rows(file: Dataset, encoder: ChatEncoder) -> None:
    report = check_dataset(file, max_seq_length=4096, encoder=encoder)
    folded = [encoder.encode(row) for item in file.conversations for row in fold(item)]
    unfolded = [encoder.encode(row) for item in file.conversations for row in unfold(item)]
    assert report.tokens == sum(len(ids) for ids, _ in folded)
    assert report.longest_tokens == max(len(ids) for ids, _ in folded)
    assert report.unfolded_tokens == sum(len(ids) for ids, _ in unfolded)
    supervised = sum(label != IGNORED_LABEL for _, labels in folded for label in labels)
    assert report.supervised_tokens == supervised
    assert report.trained_targets == sum(report.row_targets) == len(unfolded)
    assert len(report.row_targets) == report.rows == len(folded)


def test_an_estimate_counts_characters_and_control_tokens() -> None:
    [row] = fold(CLEAN.conversations[0])
    [counts] = count_rows([row], None)
    assert counts.total == 4 + 4 * 5 + 1  # 16 characters, four messages, the beginning
    assert counts.messages == (7, 6, 6, 6)
    assert counts.supervised == 3 + 2  # 9 characters and two ends of turns


def test_an_estimate_is_the_same_row_by_row_and_message_by_message() -> None:
    rows = [row for item in SAMPLE.conversations for row in fold(item)]
    assert [its.total for its in count_rows(rows, None)] == [
        count_tokens(row, None) for row in rows
    ]
    assert all(count > 0 for its in count_rows(rows, None) for count in its.messages)


def test_an_estimate_is_near_the_count_of_the_real_tokenizer(real_file: Path) -> None:
    # 24,087 with Llama 3's own tokenizer (facts of the format, 2026-11).
    report = check_dataset(read_dataset(real_file), max_seq_length=8192)
    assert report.tokens == pytest.approx(24_087, rel=0.1)
    assert report.tokens_are_estimated
    assert 0.5 < report.supervised_tokens / report.tokens < 0.8
    assert report.unfolded_tokens / report.tokens == pytest.approx(2.1, rel=0.2)


# --- over-long rows ---------------------------------------------------------------------------


def test_a_row_as_long_as_the_limit_is_not_over_long(llama: Base) -> None:
    [row] = fold(CLEAN.conversations[0])
    length = len(llama.encoder.encode(row)[0])
    fits = check_dataset(CLEAN, max_seq_length=length, encoder=llama.encoder)
    assert fits.findings == ()
    assert (fits.tokens, fits.longest_tokens, fits.tokens_are_estimated) == (length, length, False)

    found = finding(check_dataset(CLEAN, max_seq_length=length - 1, encoder=llama.encoder))
    assert (found.code, found.severity) == ("over_long", Severity.ERROR)
    assert (found.conversation_id, found.turn, found.location) == ("c", 4, "conversations[0]")
    assert found.message.startswith(f"{length} tokens up to turn 4, ")
    assert f"Raise max_seq_length to {length} or more" in found.advice


def test_an_over_long_row_that_is_left_out_on_demand_is_a_warning(llama: Base) -> None:
    found = finding(
        check_dataset(CLEAN, max_seq_length=4, over_long="exclude", encoder=llama.encoder)
    )
    assert found.severity is Severity.WARNING
    assert "left out" in found.message


def test_an_estimate_never_refuses_a_file() -> None:
    report = check_dataset(CLEAN, max_seq_length=4)
    assert report.tokens_are_estimated
    assert finding(report).severity is Severity.WARNING
    assert finding(report).message.startswith("about ")


def test_it_is_said_what_truncation_would_take_away(llama: Base) -> None:
    turns = ["Hi", "Hello there. " * 20, "Well?", "Fine. " * 20, "So?", "Bye. " * 20]
    file = dataset(talk("c", *turns))
    [row] = trained_rows(file.conversations[0], "exclude")
    [counts] = llama.encoder.count_tokens([row])
    limit = sum(counts.messages[:2]) - 3
    report = check_dataset(file, max_seq_length=limit, encoder=llama.encoder)
    [cut] = report.over_long
    assert (cut.conversation_id, cut.location) == ("c", "conversations[0]")
    assert (cut.tokens, cut.cut_tokens) == (counts.total, counts.total - limit)
    assert (cut.lost_turns, cut.damaged_turns) == ((4, 6), (2,))
    assert (
        f"would cut {cut.cut_tokens} tokens: the targets of turns 4, 6 whole, turn 2 in part."
        in finding(report).message
    )


def test_a_target_of_which_only_the_header_is_left_is_lost_whole(llama: Base) -> None:
    file = dataset(talk("c", "Hi", "Hello there"))
    [counts] = llama.encoder.count_tokens(fold(file.conversations[0]))
    header = llama.encoder.header_tokens
    for extra, lost, damaged in ((header, (2,), ()), (header + 1, (), (2,))):
        limit = counts.messages[0] + extra
        [cut] = check_dataset(file, max_seq_length=limit, encoder=llama.encoder).over_long
        assert (cut.lost_turns, cut.damaged_turns) == (lost, damaged)


def test_the_longest_rows_come_first_and_all_are_counted() -> None:
    talks = [talk(str(n), f"Hi {n:03}", "word " * (100 + n % 100)) for n in range(300)]
    report = check_dataset(dataset(*talks), max_seq_length=50)
    lengths = [row.tokens for row in report.over_long]
    assert lengths == sorted(lengths, reverse=True)
    assert (len(lengths), report.over_long_count) == (200, 300)
    assert lengths[0] == report.longest_tokens
    # Equally long ones stand in file order, also at the end, where one of three is left out.
    names = [row.conversation_id for row in report.over_long]
    assert names[:3] == ["99", "199", "299"]
    assert names[-2:] == ["33", "133"]


# --- distribution -----------------------------------------------------------------------------


def test_nothing_has_no_distribution() -> None:
    assert distribution(array("Q")) == LengthDistribution()


def test_lengths_fall_into_bins() -> None:
    found = distribution(array("Q", [10, 40, 40, 300]))
    assert found.bin_tokens == 16
    assert found.counts[0] == found.counts[18] == 1
    assert found.counts[2] == 2
    assert (found.median, found.p90, found.p99) == (40, 300, 300)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=50))
def test_the_bins_hold_every_row_and_the_last_is_not_empty(lengths: list[int]) -> None:
    found = distribution(array("Q", lengths))
    assert sum(found.counts) == len(lengths)
    assert found.counts[-1] > 0
    assert len(found.counts) <= 24
    assert len(found.counts) > 12 or found.bin_tokens == 1
    assert found.median <= found.p90 <= found.p99 <= max(lengths)
