"""Looks into a training file the way a job will: the checks, and what would be trained. Blocks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.base_models import BUILT_MODELS, find_encoder
from shared.chat_format import ChatEncoder
from shared.dataset.checks import DatasetReport, check_dataset, count_tokens, trained_rows
from shared.dataset.conversation import Conversation, Dataset
from shared.dataset.folding import Row
from shared.dataset.reader import read_dataset
from shared.dataset.split import split
from shared.dataset.step_plan import plan_steps
from shared.hyperparameters import Hyperparameters
from tui.config import load_config
from tui.services.hosts.names import LOCAL

CutTargets = Literal["exclude", "train"]
OverLong = Literal["refuse", "exclude"]


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


def encoder_of(base_model: str, host: str = LOCAL) -> ChatEncoder | None:
    """The base model's own tokenizer, where it is on this machine; else None.

    A directory on another host is none of this machine's, whatever lies here at the same path.
    """
    if host != LOCAL and base_model not in BUILT_MODELS:
        return None
    return find_encoder(base_model, load_config().agent_root / "models")


def inspect_file(
    path: Path,
    *,
    base_model: str,
    max_seq_length: int,
    cut_targets: CutTargets = "exclude",
    over_long: OverLong = "refuse",
    host: str = LOCAL,
) -> DatasetReport:
    """Read and check the file, for a job on this host.

    Token counts are exact where the base model's tokenizer is on this machine, and else estimates;
    the trainer counts exactly, and refuses before it loads a model.

    Raises:
        InvalidDataset: the file cannot be read at all.
    """
    return check_dataset(
        read_dataset(path),
        max_seq_length=max_seq_length,
        cut_targets=cut_targets,
        over_long=over_long,
        encoder=encoder_of(base_model, host),
    )


def plan_training(
    dataset: Dataset,
    hyperparameters: Hyperparameters,
    *,
    cut_targets: CutTargets = "exclude",
    encoder: ChatEncoder | None = None,
) -> TrainingPlan:
    """Split and count; rows longer than max_seq_length are left out, as in the trainer."""
    train, held_out = split(
        dataset.conversations, hyperparameters.eval_fraction, hyperparameters.seed
    )

    def rows_of(conversations: list[Conversation]) -> list[tuple[Row, int]]:
        rows = [row for item in conversations for row in trained_rows(item, cut_targets)]
        counted = [(row, count_tokens(row, encoder)) for row in rows]
        return [item for item in counted if item[1] <= hyperparameters.max_seq_length]

    rows = rows_of(train)
    target_counts = [len(row.trained) for row, _ in rows]
    return TrainingPlan(
        train_conversations=len({row.conversation_id for row, _ in rows}),
        held_out_conversations=len({row.conversation_id for row, _ in rows_of(held_out)}),
        targets=sum(target_counts),
        tokens_per_epoch=sum(tokens for _, tokens in rows),
        total_steps=len(plan_steps(target_counts, hyperparameters)),
    )
