"""What is said of a checked file, from values alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from rich.cells import cell_len
from rich.text import Text

from shared.dataset.report import Group, LengthDistribution, OverLongRow
from shared.hyperparameters import Hyperparameters
from tests.tui.hostile import HOSTILE
from tests.tui.views.reports import report
from tui.views.dataset_report import (
    count_pairs,
    group_lines,
    length_lines,
    over_long_lines,
    steps_an_epoch,
)

HYPERPARAMETERS = Hyperparameters()


def plain(lines: Sequence[Text]) -> list[str]:
    return [line.plain for line in lines]


def test_every_figure_is_said_with_what_folding_saves() -> None:
    assert dict(count_pairs(report(), HYPERPARAMETERS)) == {
        "conversations": "12",
        "turns": "89",
        "targets": "44, 4 not trained",
        "null turns": "45 without a target",
        "system prompts": "1",
        "tokens folded": "24,000 an epoch",
        "tokens unfolded": "50,000: folding saves 52 %",
        "tokens trained": "12,000: 50 % of the folded",
        "steps an epoch": "3 folded, 3 unfolded (16 targets each)",
        "longest": "4,529 tokens",
        "max_seq_length": "4,096 is too short for 2 rows",
        "token counts": "exact, by the base model's own tokenizer",
    }


def test_an_estimate_is_called_one_wherever_tokens_stand() -> None:
    pairs = dict(count_pairs(report(tokens_are_estimated=True), HYPERPARAMETERS))

    for name in ("tokens folded", "tokens unfolded", "tokens trained", "longest"):
        assert pairs[name].startswith("about ")
    assert "estimated" in pairs["token counts"]
    assert "about" in length_lines(report(tokens_are_estimated=True), 80)[-1].plain


def test_an_empty_file_has_figures_as_well() -> None:
    empty = report(
        targets=0, trained_targets=0, rows=0, tokens=0, unfolded_tokens=0, supervised_tokens=0,
        row_targets=(), lengths=LengthDistribution(), system_prompts=0,
    )  # fmt: skip

    pairs = dict(count_pairs(empty, HYPERPARAMETERS))

    assert pairs["steps an epoch"].startswith("0 folded, 0 unfolded")
    assert (pairs["tokens trained"], pairs["system prompts"]) == ("0", "none")
    assert length_lines(empty, 80) == []


def test_steps_are_those_of_one_epoch_however_many_are_trained() -> None:
    one = steps_an_epoch(report(), Hyperparameters(num_epochs=1))

    assert steps_an_epoch(report(), Hyperparameters(num_epochs=5)) == one
    # Whole conversations overfill a step, so folding never takes more of them.
    assert steps_an_epoch(report(), Hyperparameters(batch_size=1)) == (8, 10)


def test_folded_steps_are_left_open_where_the_rows_are_not_known() -> None:
    pairs = dict(count_pairs(report(row_targets=()), HYPERPARAMETERS))

    assert pairs["steps an epoch"] == "3 unfolded (16 targets each)"


def test_the_lengths_are_a_picture_that_needs_no_colour() -> None:
    assert plain(length_lines(report(), 50)) == [
        "      0–499 │█████████▌ 3",
        "    500–999 │███████████████████ 6  median",
        "1,000–1,499 │",
        "1,500–1,999 │███▏ 1  p90",
        "2,000–4,499 ┊",
        "┄┄ max_seq_length 4,096: 2 rows longer ┄┄┄┄┄┄┄┄┄┄┄",
        "4,500–4,999 │██████▍ 2  p99",
        "tokens of a row: median 600 · p90 1,600 · p99 4,529 · longest 4,529",
    ]


def test_a_run_of_empty_bins_is_one_line_on_either_side_of_the_limit() -> None:
    lengths = LengthDistribution(100, (0, 0, 0, 5, 0, 0, *[0] * 10, 1), 350, 350, 1_600)

    lines = plain(length_lines(report(lengths=lengths, max_seq_length=1_000), 60))

    assert [line.split()[0] for line in lines] == [
        *("0–299", "300–399", "400–1,099", "┄┄", "1,100–1,599", "1,600–1,699", "tokens")
    ]


def test_a_limit_above_all_rows_stands_below_the_picture() -> None:
    lines = plain(length_lines(report(max_seq_length=131_072, over_long_count=0), 60))

    assert lines[-2].startswith("┄┄ max_seq_length 131,072: no row is longer")


def test_one_row_among_very_many_is_still_seen() -> None:
    lengths = LengthDistribution(100, (100_000, 1), 50, 50, 50)

    assert plain(length_lines(report(lengths=lengths), 60))[1] == "100–199 │▏ 1"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_picture_keeps_to_its_width(width: int) -> None:
    lengths = LengthDistribution(250, (70_000, 12, 90_000), 300, 300, 300)

    for line in length_lines(report(lengths=lengths), width)[:-1]:
        assert cell_len(line.plain) <= width


def test_groups_are_a_table_and_those_without_a_name_are_called_so() -> None:
    assert plain(group_lines(report().personas, "persona")) == [
        "persona          conversations  targets       tokens",
        "anxious_planner              8       30       16,000",
        "(none)                       4       14        8,000",
    ]


def test_a_file_without_scaffolding_has_no_table_of_it() -> None:
    assert group_lines((Group("", 12, 44, 24_000),), "persona") == []
    assert group_lines((), "persona") == []


def test_a_long_list_of_groups_is_cut_and_says_so() -> None:
    groups = [Group(f"topic {number}", 1, 1, 1) for number in range(30)]

    lines = plain(group_lines(groups, "topic", most=5))

    assert (len(lines), lines[-1]) == (7, "… and 25 more")


def test_what_cutting_would_lose_is_told_conversation_by_conversation() -> None:
    assert plain(over_long_lines(report(over_long_count=300))) == [
        "cutting at 4,096 tokens would lose, of the longest first:",
        "first  4,529 tokens, 433 too many: turns 10, 12 whole, turn 8 in part  conversations[3]",
        "second  4,500 tokens, 404 too many: turn 12 in part  conversations[5]",
        "… and 298 more",
    ]
    assert over_long_lines(report(over_long=(), over_long_count=0)) == []


def test_foreign_names_do_no_harm() -> None:
    evil = OverLongRow(HOSTILE, HOSTILE, 5_000, 904, (2,), ())
    groups = (Group(HOSTILE * 10, 1, 1, 1), Group("文" * 50, 1, 1, 1))

    lines = [*group_lines(groups, "persona"), *over_long_lines(report(over_long=(evil,)))]

    for line in lines:
        assert not set(line.plain) & {"\x1b", "\x07", "\u202e", "\n"}
    assert len({cell_len(line.plain) for line in lines[:3]}) == 1
