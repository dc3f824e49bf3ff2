"""The plan of a training, counted without the texts: it is what splitting the texts gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.dataset.cut_targets import trained_rows
from shared.dataset.reader import read_dataset
from shared.dataset.sample import SAMPLE_JSON
from shared.dataset.split import split
from shared.dataset.step_plan import plan_steps
from shared.dataset.token_counts import count_tokens
from shared.hyperparameters import Hyperparameters
from tests.shared.dataset.documents import asked, branched, talk
from tests.shared.dataset.documents import dataset as dataset_of
from tui.services.dataset_check import CheckSettings, check_training_file
from tui.services.training_plan import Outline, TrainingPlan, plan_training


def outline_of(path: Path) -> Outline:
    outline = check_training_file(path, CheckSettings("tiny"), None).outline
    assert outline is not None
    return outline


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"eval_fraction": 0},
        {"eval_fraction": 0.5, "seed": 7},
        {"max_seq_length": 700, "num_epochs": 2, "batch_size": 1},
    ],
)
def test_the_plan_is_that_of_the_split_texts(values: dict[str, object]) -> None:
    hyperparameters = Hyperparameters.from_values(values)
    conversations = read_dataset(SAMPLE_JSON).conversations
    sides = []
    for side in split(conversations, hyperparameters.eval_fraction, hyperparameters.seed):
        rows = [row for conversation in side for row in trained_rows(conversation, "exclude")]
        counted = [(row, count_tokens(row, None)) for row in rows]
        sides.append([item for item in counted if item[1] <= hyperparameters.max_seq_length])
    train, held_out = sides
    targets = [len(row.trained) for row, _ in train]
    tokens = [tokens for _, tokens in train]
    steps = plan_steps(targets, hyperparameters)

    assert plan_training(outline_of(SAMPLE_JSON), hyperparameters) == TrainingPlan(
        train_conversations=len({row.conversation_id for row, _ in train}),
        held_out_conversations=len({row.conversation_id for row, _ in held_out}),
        targets=sum(targets),
        tokens_per_epoch=sum(tokens),
        total_steps=len(steps),
        longest_row_tokens=max(tokens),
        largest_step_tokens=max(sum(tokens[row] for row in step.examples) for step in steps),
        held_out_tokens=sum(tokens for _, tokens in held_out),
    )


def test_each_row_knows_its_conversation_whatever_number_of_rows_that_has() -> None:
    from shared.dataset.checks.checker import Checker

    nothing = branched("b", asked(1, "Hi", target=None))
    apart = branched("c", asked(2, "Hi", target="One."), asked(2, "Hello", target="Two."))
    checker, outline = Checker(max_seq_length=4096), Outline()
    for conversation in dataset_of(talk("a", "Hi", "Hello"), nothing, apart).conversations:
        checker.add(conversation)
        outline.add(conversation, checker)
    report = checker.finish("by hand", dataset_of().declared)
    outline.complete(checker)

    assert [(index, targets) for index, _, targets in outline.rows(4096)] == [
        (0, 1),
        (2, 1),
        (2, 1),
    ]
    assert sum(tokens for _, tokens, _ in outline.rows(4096)) == report.tokens
    assert list(outline.rows(5)) == []
