"""What a job would train: which conversations, how many tokens, in how many optimizer steps.

Counts from an outline of the file, which holds no texts: some 500 bytes a conversation.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from shared.dataset.checks.checker import Checker
from shared.dataset.conversation import Conversation
from shared.dataset.similarity import content_hash
from shared.dataset.split import Member, Stratum, Unit, choose_held_out, units_of
from shared.dataset.step_plan import plan_steps
from shared.hyperparameters import Hyperparameters


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a job with these settings would train; the trainer counts the same way."""

    train_conversations: int
    held_out_conversations: int
    targets: int
    """Trained targets of one epoch, without those held out."""
    tokens_per_epoch: int
    """Of the training conversations, folded; an estimate where the report's tokens are."""
    total_steps: int
    longest_row_tokens: int = 0
    """Of the rows that are trained: the least that has to fit into memory together."""
    largest_step_tokens: int = 0
    """Of the optimizer step with most tokens: no micro-batch has more."""
    held_out_tokens: int = 0
    """Of all rows that are evaluated, folded."""


@dataclass
class Outline:
    """What of a training file its split and its steps depend on."""

    members: list[Member] = field(default_factory=list)
    """One for each conversation, in file order."""
    row_counts: array[int] = field(default_factory=lambda: array("I"))
    """Rows of each conversation."""
    tokens: array[int] = field(default_factory=lambda: array("Q"))
    """Of each row; those of one conversation follow each other."""
    targets: array[int] = field(default_factory=lambda: array("I"))
    """Trained ones, of each row."""

    def add(self, conversation: Conversation, checker: Checker) -> None:
        """Take over what the checker has just found out about this conversation."""
        contents = checker.contents
        member = Member(
            conversation.conversation_id,
            Stratum(conversation.persona, conversation.emotional_arc),
            contents.hashes[-1] or content_hash(conversation),
            contents.sketches[-1],
        )
        self.members.append(member)

    def complete(self, checker: Checker) -> None:
        """Take over what is known once the checker has finished."""
        lengths = checker.lengths
        self.row_counts, self.tokens = lengths.row_counts, lengths.tokens
        self.targets = lengths.targets

    @cached_property
    def units(self) -> list[Unit]:
        """Conversations that stay on one side of the split; the costly part of it."""
        return units_of(self.members)

    def rows(self, max_seq_length: int) -> Iterator[tuple[int, int, int]]:
        """(conversation, tokens, targets) of each row that is not left out as too long."""
        first = 0
        for index, count in enumerate(self.row_counts):
            for row in range(first, first + count):
                if self.tokens[row] <= max_seq_length:
                    yield index, self.tokens[row], self.targets[row]
            first += count


def plan_training(outline: Outline, hyperparameters: Hyperparameters) -> TrainingPlan:
    """Split and count; rows longer than max_seq_length are left out, as in the trainer."""
    held_out = choose_held_out(
        outline.members, outline.units, hyperparameters.eval_fraction, hyperparameters.seed
    )
    rows = list(outline.rows(hyperparameters.max_seq_length))
    trained = [row for row in rows if row[0] not in held_out]
    target_counts = [targets for _, _, targets in trained]
    row_tokens = [tokens for _, tokens, _ in trained]
    steps = plan_steps(target_counts, hyperparameters)
    return TrainingPlan(
        train_conversations=len({index for index, _, _ in trained}),
        held_out_conversations=len({index for index, _, _ in rows if index in held_out}),
        targets=sum(target_counts),
        tokens_per_epoch=sum(row_tokens),
        total_steps=len(steps),
        longest_row_tokens=max(row_tokens, default=0),
        largest_step_tokens=max(
            (sum(row_tokens[row] for row in step.examples) for step in steps), default=0
        ),
        held_out_tokens=sum(tokens for index, tokens, _ in rows if index in held_out),
    )
