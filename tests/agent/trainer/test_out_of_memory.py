"""A step that runs out of memory is done again in smaller pieces, with the same update."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from agent.run_directory import AttemptDirectory
from agent.trainer.memory_guard import is_out_of_memory
from agent.trainer.scored_model import ScoredModel
from shared import events
from shared.lifecycle import StopReason
from tests.agent.trainer.conftest import MakeAttempt, attempts_in
from tests.agent.trainer.in_process import train_here
from tests.agent.trainer.running import finish_of, metrics_by_step, read_events

pytestmark = [
    # Raised inside transformers and peft, about each other.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

TWO_STEPS = {"gradient_accumulation_steps": 6, "lora_dropout": 0.1}


class RunsOut(torch.autograd.Function):
    """Passes the loss on, and has no memory for its gradient."""

    @staticmethod
    def forward(ctx: object, loss: torch.Tensor) -> torch.Tensor:
        return loss.clone()

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def run_out(
    monkeypatch: pytest.MonkeyPatch, is_too_much: Callable[[ScoredModel, tuple[int, ...]], bool]
) -> None:
    """In the backward pass where there is one, which leaves half of the gradients behind."""
    honest = ScoredModel.forward

    def forward(self: ScoredModel, inputs: object) -> torch.Tensor:
        loss = honest(self, inputs)  # type: ignore[arg-type]
        if not is_too_much(self, inputs.row_lengths):  # type: ignore[attr-defined]
            return loss
        if loss.requires_grad:
            # Other rows of the step have left their gradients, and this one leaves a part.
            return loss + RunsOut.apply(loss)  # type: ignore[no-untyped-call]
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB")

    monkeypatch.setattr(ScoredModel, "forward", forward)


def losses(attempt: AttemptDirectory) -> list[float | None]:
    found = metrics_by_step(attempt)
    return [found[step].loss for step in sorted(found)]


def grad_norms(attempt: AttemptDirectory) -> list[float | None]:
    found = metrics_by_step(attempt)
    return [found[step].grad_norm for step in sorted(found)]


def warnings_of(attempt: AttemptDirectory) -> list[str]:
    return [e.message for e in read_events(attempt) if isinstance(e, events.LogLine)]


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
    models_directory: object,
    short_dataset: object,
) -> AttemptDirectory:
    """The same job with enough memory, every row alone."""
    folder = tmp_path_factory.mktemp("undisturbed")
    make = attempts_in(folder, models_directory, short_dataset)  # type: ignore[arg-type]
    attempt = make(hyperparameters={**TWO_STEPS, "lora_dropout": 0.0})
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert train_here(attempt, monkeypatch) is None
    return attempt


def test_a_pack_that_is_too_large_is_split_and_stays_split(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch, undisturbed: AttemptDirectory
) -> None:
    tried: list[int] = []

    def is_too_much(model: ScoredModel, row_lengths: tuple[int, ...]) -> bool:
        tried.append(sum(row_lengths))
        return len(row_lengths) > 2

    run_out(monkeypatch, is_too_much)
    attempt = make_attempt(
        hyperparameters={**TWO_STEPS, "lora_dropout": 0.0}, attention="sdpa_rows"
    )
    assert train_here(attempt, monkeypatch) is None
    assert losses(attempt) == pytest.approx(losses(undisturbed), rel=1e-5)
    assert grad_norms(attempt) == pytest.approx(grad_norms(undisturbed), rel=1e-4)
    said = [words for words in warnings_of(attempt) if words.startswith("out of memory: ")]
    assert said
    assert "is split; from now on at most" in said[0]
    limit = int(said[-1].split("at most ")[1].split(" tokens")[0].replace(",", ""))
    # Nothing larger is tried again, in training or in evaluation.
    last_failure = max(i for i, tokens in enumerate(tried) if tokens > limit)
    assert all(tokens <= limit for tokens in tried[last_failure + 1 :])
    assert len(tried) - last_failure > 5


def test_a_single_row_that_is_too_large_computes_its_activations_again(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch, undisturbed: AttemptDirectory
) -> None:
    run_out(monkeypatch, lambda model, _: model.training and not _checkpoints_activations(model))
    attempt = make_attempt(hyperparameters={**TWO_STEPS, "lora_dropout": 0.0})
    assert train_here(attempt, monkeypatch) is None
    assert losses(attempt) == losses(undisturbed)
    assert grad_norms(attempt) == grad_norms(undisturbed)
    said = [words for words in warnings_of(attempt) if words.startswith("out of memory: ")]
    assert len(said) == 1
    assert "activations are computed again" in said[0]
    assert "2.00 GiB" in said[0]


def test_memory_that_never_suffices_ends_the_run_with_its_reason(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_out(monkeypatch, lambda model, _: model.training)
    attempt = make_attempt()
    assert train_here(attempt, monkeypatch) == 3
    assert finish_of(attempt).stop_reason is StopReason.OUT_OF_MEMORY
    assert "2.00 GiB" in finish_of(attempt).detail


def test_evaluation_goes_row_by_row_where_a_pack_is_too_large(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch, undisturbed: AttemptDirectory
) -> None:
    run_out(monkeypatch, lambda model, lengths: not model.training and len(lengths) > 1)
    attempt = make_attempt(
        hyperparameters={**TWO_STEPS, "lora_dropout": 0.0}, attention="sdpa_rows"
    )
    assert train_here(attempt, monkeypatch) is None
    found, expected = (
        [event.loss for event in read_events(each) if isinstance(event, events.Evaluation)]
        for each in (attempt, undisturbed)
    )
    assert len(found) == 2
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you ..."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_known_by_type_or_by_torchs_words(
    error: Exception, expected: bool
) -> None:
    assert is_out_of_memory(error) is expected


def _checkpoints_activations(model: ScoredModel) -> bool:
    return bool(model.model.is_gradient_checkpointing)
