"""Which rows of a step go through the model together, and as which tensors.

Rows of a micro-batch lie one behind the other in one sequence, without padding; positions begin
anew with each row. How that is kept apart is the attention's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from agent.trainer.batches import Example
from agent.trainer.models.attention import Attention
from shared.chat_format import IGNORED_LABEL

MicroBatch = tuple[int, ...]
"""Indices into the examples, longest row first."""


def pack(rows: Sequence[int], lengths: Sequence[int], limit: int) -> list[MicroBatch]:
    """The rows in micro-batches of at most `limit` tokens; a longer row stands alone.

    First fit, longest first (Johnson, 1973: at most 11/9 of the fewest possible). `lengths` are
    those of all examples. A `limit` of 0 leaves every row alone, in the order given.
    """
    if limit == 0:
        return [(row,) for row in rows]
    packs: list[list[int]] = []
    room: list[int] = []
    for row in sorted(rows, key=lambda index: (-lengths[index], index)):
        length = lengths[row]
        place = next((i for i, free in enumerate(room) if length <= free), None)
        if place is None:
            packs.append([row])
            room.append(limit - length)
        else:
            packs[place].append(row)
            room[place] -= length
    return [tuple(rows) for rows in packs]


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """A micro-batch as tensors."""

    input_ids: torch.Tensor
    """(1, T)"""
    labels: torch.Tensor
    """(1, T), not shifted; -100 where nothing is trained, and on the first token of each row."""
    row_lengths: tuple[int, ...]

    def to(self, device: torch.device) -> ModelInputs:
        """The same on `device`."""
        return ModelInputs(self.input_ids.to(device), self.labels.to(device), self.row_lengths)

    def keywords(self, attention: Attention) -> dict[str, object]:
        """What the model's forward takes besides the ids: nothing where there is one row."""
        if len(self.row_lengths) < 2:
            return {}
        device = self.input_ids.device
        positions = torch.cat([torch.arange(length) for length in self.row_lengths])
        told: dict[str, object] = {"position_ids": positions[None].to(device)}
        if not attention.is_flash:
            return {**told, "row_lengths": self.row_lengths}
        ends = torch.tensor((0, *self.row_lengths), dtype=torch.int32).cumsum(0, dtype=torch.int32)
        borders, longest = ends.to(device), max(self.row_lengths)
        return {
            **told,
            "cu_seq_lens_q": borders,
            "cu_seq_lens_k": borders,
            "max_length_q": longest,
            "max_length_k": longest,
        }


def model_inputs(examples: Sequence[Example]) -> ModelInputs:
    """The rows one behind the other, on the CPU."""
    # The last token of a row must not be scored against the first one of the next.
    labels = [[IGNORED_LABEL, *example.labels[1:]] for example in examples]
    return ModelInputs(
        torch.tensor([[token for example in examples for token in example.input_ids]]),
        torch.tensor([[label for row in labels for label in row]]),
        tuple(len(example.input_ids) for example in examples),
    )
