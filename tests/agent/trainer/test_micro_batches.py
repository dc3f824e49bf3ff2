"""Rows of a step in micro-batches: each once, none over the limit, none scored across a border."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.trainer.batches import Example
from agent.trainer.micro_batches import model_inputs, pack
from agent.trainer.models.attention import Attention

SDPA_ROWS = Attention("sdpa_rows", True, "")
FLASH = Attention("flash_attention_2", True, "")


def example(*ids: int) -> Example:
    return Example("c", list(ids), [-100, *ids[1:]], 1, ())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 5000), max_size=20), st.integers(1, 8192))
def test_every_row_is_in_one_micro_batch_and_only_a_long_row_is_over_the_limit(
    lengths: list[int], limit: int
) -> None:
    packs = pack(range(len(lengths)), lengths, limit)
    assert sorted(row for rows in packs for row in rows) == list(range(len(lengths)))
    for rows in packs:
        assert len(rows) == 1 or sum(lengths[row] for row in rows) <= limit


def test_rows_fill_the_room_that_is_there() -> None:
    assert pack([3, 1, 0], [600, 300, 9999, 400], limit=1000) == [(0, 3), (1,)]


def test_without_a_limit_every_row_is_alone_and_in_order() -> None:
    assert pack([2, 0], [5, 5, 5], limit=0) == [(2,), (0,)]


def test_a_row_is_never_scored_against_the_beginning_of_the_next() -> None:
    first, second = example(1, 2, 3), Example("d", [4, 5], [4, 5], 1, ())
    inputs = model_inputs([first, second])
    assert inputs.input_ids.tolist() == [[1, 2, 3, 4, 5]]
    assert inputs.labels.tolist() == [[-100, 2, 3, -100, 5]]


def test_one_row_needs_no_positions_and_several_begin_anew() -> None:
    assert model_inputs([example(1, 2)]).keywords(SDPA_ROWS) == {}
    told = model_inputs([example(1, 2), example(3, 4, 5)]).keywords(SDPA_ROWS)
    assert told["position_ids"].tolist() == [[0, 1, 0, 1, 2]]  # type: ignore[attr-defined]
    assert told["row_lengths"] == (2, 3)


@pytest.mark.parametrize("name", ["cu_seq_lens_q", "cu_seq_lens_k"])
def test_flash_attention_is_told_the_borders(name: str) -> None:
    told = model_inputs([example(1, 2), example(3, 4, 5)]).keywords(FLASH)
    assert told[name].tolist() == [0, 2, 5]  # type: ignore[attr-defined]
    assert told["max_length_q"] == told["max_length_k"] == 3
