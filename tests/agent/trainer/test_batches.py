"""What goes into each optimizer step, and what never gets that far."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.run_directory import AttemptDirectory
from agent.trainer.batches import TrainingData, prepare
from agent.trainer.models.base_model import backend, load_tokenizer, locate, template_renderer
from shared.chat_format import choose_chat_format
from shared.dataset.step_plan import plan_steps
from shared.errors import InvalidDataset
from shared.hyperparameters import Hyperparameters
from tests.agent.trainer.conftest import MakeAttempt


def prepared(attempt: AttemptDirectory) -> TrainingData:
    spec = attempt.read_spec()
    tokenizer = load_tokenizer(locate("tiny", None, spec.models_directory))
    render = template_renderer(tokenizer)
    encoder = choose_chat_format(backend(tokenizer), render)
    return prepare(spec.dataset_path, spec.job, encoder, render)


def changed_dataset(source: Path, destination: Path, target: str) -> Path:
    """The file with another first target."""
    document: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    document["conversations"][0]["training_pairs"][1]["target_response"] = target
    del document["conversations"][0]["training_pairs"][2:]
    destination.write_text(json.dumps(document), encoding="utf-8")
    return destination


@given(
    target_counts=st.lists(st.integers(1, 6), min_size=1, max_size=40),
    batch_size=st.integers(1, 8),
    accumulation=st.integers(1, 4),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_every_example_is_trained_once_an_epoch_in_steps_counted_in_targets(
    target_counts: list[int], batch_size: int, accumulation: int, epochs: int, seed: int
) -> None:
    chosen = Hyperparameters(
        batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        num_epochs=epochs,
        seed=seed,
    )
    steps = plan_steps(target_counts, chosen)
    trained = Counter(index for step in steps for index in step.examples)
    assert trained == dict.fromkeys(range(len(target_counts)), epochs)
    for step in steps:
        *all_but_last, _ = step.examples
        assert sum(target_counts[i] for i in all_but_last) < chosen.targets_per_step
        held = sum(target_counts[i] for i in step.examples)
        assert held >= chosen.targets_per_step or step.epoch_end.is_integer()
    assert [step.epoch_end for step in steps if step.epoch_end.is_integer()] == [
        float(epoch + 1) for epoch in range(epochs)
    ]
    assert steps == plan_steps(target_counts, chosen)


def test_two_seeds_give_two_orders() -> None:
    counts = [1] * 30
    orders = [
        [step.examples for step in plan_steps(counts, Hyperparameters(seed=seed))]
        for seed in (1, 2)
    ]
    assert orders[0] != orders[1]


def test_a_conversation_is_on_one_side_of_the_split(make_attempt: MakeAttempt) -> None:
    data = prepared(make_attempt(hyperparameters={"eval_fraction": 0.4}))
    train = {example.conversation_id for example in data.train}
    held_out = {example.conversation_id for example in data.held_out}
    assert len(held_out) == 3
    assert train.isdisjoint(held_out)


def test_an_over_long_conversation_stops_the_job_and_is_named(make_attempt: MakeAttempt) -> None:
    attempt = make_attempt(hyperparameters={"max_seq_length": 300})
    with pytest.raises(InvalidDataset, match=r"[0-9a-f-]{36}, turn \d+, .*: [\d,]+ tokens"):
        prepared(attempt)


def test_an_over_long_conversation_can_be_left_out(make_attempt: MakeAttempt) -> None:
    whole = prepared(make_attempt("whole"))
    lengths = sorted(len(example.input_ids) for example in (*whole.train, *whole.held_out))
    shorter = prepared(
        make_attempt(
            "shorter", over_long="exclude", hyperparameters={"max_seq_length": lengths[-2]}
        )
    )
    kept = sorted(len(example.input_ids) for example in (*shorter.train, *shorter.held_out))
    assert kept == lengths[:-1]


def test_a_cut_target_is_excluded_and_said_unless_it_is_wanted(
    make_attempt: MakeAttempt, short_dataset: Path, tmp_path: Path
) -> None:
    cut = changed_dataset(short_dataset, tmp_path / "cut.json", "It helps to\\")
    excluded = prepared(make_attempt("one", dataset=cut, hyperparameters={"eval_fraction": 0}))
    wanted = prepared(
        make_attempt("two", dataset=cut, cut_targets="train", hyperparameters={"eval_fraction": 0})
    )
    assert excluded.targets == wanted.targets - 1
    [said] = [warning for warning in excluded.warnings if warning.startswith("cut_target")]
    assert "excluded from the loss" in said
    assert "training_pairs[" in said


def test_what_is_found_many_times_is_one_warning(
    make_attempt: MakeAttempt, short_dataset: Path, tmp_path: Path
) -> None:
    document = json.loads(short_dataset.read_text(encoding="utf-8"))
    for conversation in document["conversations"]:
        conversation["conversation_metadata"]["scaffolding"] = {"persona_key": ""}
    unlabelled = tmp_path / "unlabelled.json"
    unlabelled.write_text(json.dumps(document), encoding="utf-8")
    warnings = prepared(make_attempt(dataset=unlabelled)).warnings
    [said] = [warning for warning in warnings if warning.startswith("empty_scaffolding: ")]
    assert "(7 times, first in " in said


def test_a_file_without_a_trainable_target_is_refused(
    make_attempt: MakeAttempt, short_dataset: Path, tmp_path: Path
) -> None:
    document = json.loads(short_dataset.read_text(encoding="utf-8"))
    for conversation in document["conversations"]:
        for pair in conversation["training_pairs"]:
            pair["target_response"] = None
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InvalidDataset, match="nothing in this file can be trained"):
        prepared(make_attempt(dataset=empty))
