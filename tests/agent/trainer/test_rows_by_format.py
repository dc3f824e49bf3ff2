"""What the trainer feeds with formats that do not fold, and that the laptop plans the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.trainer.batches import TrainingData, prepare
from agent.trainer.models.base_model import template_renderer
from shared.base_models import read_encoder
from shared.chat_format import choose_chat_format
from shared.dataset.checks.checker import Checker
from shared.dataset.reader import read_dataset
from shared.errors import UnsupportedChatTemplate
from tests.agent.trainer.conftest import MakeAttempt
from tests.shared.chat_formats.families import family_tokenizer
from tui.services.training_plan import Outline, TrainingPlan, plan_training


def prepared(make_attempt: MakeAttempt, family: str, job_id: str, **values: object) -> TrainingData:
    """With the tokenizer and template of that family."""
    spec = make_attempt(job_id, **values).read_spec()
    tokenizer = family_tokenizer(family)
    render = template_renderer(tokenizer)
    encoder = choose_chat_format(tokenizer.backend_tokenizer, render)
    return prepare(spec.dataset_path, spec.job, encoder, render)


def planned(make_attempt: MakeAttempt, family: str, job_id: str, folder: Path) -> TrainingPlan:
    """By the laptop, from the tokenizer's files."""
    spec = make_attempt(job_id).read_spec()
    family_tokenizer(family).save_pretrained(folder)
    encoder = read_encoder(folder / "tokenizer.json", family)
    chosen = spec.job.hyperparameters
    checker, outline = (
        Checker(max_seq_length=chosen.max_seq_length, encoder=encoder),
        Outline(),
    )
    dataset = read_dataset(spec.dataset_path)
    for conversation in dataset.conversations:
        checker.add(conversation)
        outline.add(conversation, checker)
    checker.finish(dataset.shape, dataset.declared)
    outline.complete(checker)
    return plan_training(outline, chosen)


@pytest.mark.parametrize(
    ("family", "folds"),
    [("llama3_1", True), ("mistral_v7", True), ("mistral_v3", False), ("qwen3", False)],
)
def test_the_laptop_plans_the_rows_and_tokens_that_the_trainer_feeds(
    make_attempt: MakeAttempt, tmp_path: Path, family: str, folds: bool
) -> None:
    data = prepared(make_attempt, family, "trained")
    plan = planned(make_attempt, family, "planned", tmp_path / "model")
    assert plan.targets == data.targets
    assert plan.tokens_per_epoch == sum(len(example.input_ids) for example in data.train)
    assert plan.total_steps == len(data.steps)
    assert plan.longest_row_tokens == max(len(example.input_ids) for example in data.train)
    if folds:
        assert data.separate_rows == 0
        assert not [warning for warning in data.warnings if warning.startswith("separate_rows")]
    else:
        assert len(data.train) == data.targets
        assert data.separate_rows == data.targets - plan.train_conversations > 0


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("mistral_v3", "the system prompt stands in the last user turn"),
        ("qwen3", "earlier answers lose their block of reasoning"),
    ],
)
def test_rows_that_the_format_takes_apart_are_said_with_their_number_and_the_reason(
    make_attempt: MakeAttempt, family: str, reason: str
) -> None:
    data = prepared(make_attempt, family, "job")
    [said] = [warning for warning in data.warnings if warning.startswith("separate_rows")]
    assert said.startswith(f"separate_rows: {data.separate_rows} rows more, since with the ")
    assert reason in said


def test_histories_that_branch_are_said_with_the_number_of_their_rows(
    make_attempt: MakeAttempt, short_dataset: Path, tmp_path: Path
) -> None:
    document = json.loads(short_dataset.read_text(encoding="utf-8"))
    for conversation in document["conversations"]:
        for pair in conversation["training_pairs"][2:]:
            pair["conversation_history"][0]["content"] += " Or so."
    path = tmp_path / "branched.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    data = prepared(
        make_attempt, "llama3", "job", dataset=path, hyperparameters={"eval_fraction": 0}
    )
    assert data.separate_rows == len(document["conversations"])
    assert (
        f"separate_rows: {data.separate_rows} rows beyond one a conversation, where histories "
        "branch or differ, or the same context is answered twice"
    ) in data.warnings


def test_a_conversation_that_the_template_refuses_is_named(make_attempt: MakeAttempt) -> None:
    with pytest.raises(
        UnsupportedChatTemplate, match=r"conversation [0-9a-f-]{36}: .* System role not supported"
    ):
        prepared(make_attempt, "gemma", "job")
