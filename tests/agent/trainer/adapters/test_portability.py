"""A job is completed only when a fresh load of its adapter answers as the trainer did."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerBase

from agent.run_directory import AttemptDirectory
from agent.trainer import __main__ as trainer_process
from agent.trainer.adapters.portability import (
    CONVERSATION_PROMPTS,
    NEW_TOKENS,
    TOLERANCE,
    Answer,
    compare,
    decode_greedily,
    read_answers,
)
from agent.trainer.models.base_model import compute_dtype, load_quantized, load_tokenizer, locate
from shared import events, manifest
from shared.errors import AdapterRejected
from shared.lifecycle import StopReason
from tests.agent.trainer.running import finish_of, read_events

pytestmark = [
    # Raised inside transformers and peft, about each other.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

WEIGHTS = "adapter_model.safetensors"
ALLOWED = TOLERANCE[compute_dtype()]


@pytest.fixture
def attempt(trained: AttemptDirectory, tmp_path: Path) -> AttemptDirectory:
    """A copy of the trained attempt, to be damaged."""
    return AttemptDirectory(Path(shutil.copytree(trained.path, tmp_path / "1")))


def verify(attempt: AttemptDirectory) -> int:
    """Exit code of the verifying phase, in this process."""
    return trainer_process.main([str(attempt.path), "--verify"])


def commit_again(
    attempt: AttemptDirectory, change: Callable[[Path], None], without_facts: str = ""
) -> None:
    """The adapter with some change, under a manifest whose hashes hold."""

    def write_files(partial: Path) -> dict[str, object]:
        facts = json.loads((attempt.adapter_path / manifest.MANIFEST_NAME).read_bytes())
        shutil.copytree(attempt.adapter_path, partial, dirs_exist_ok=True)
        (partial / manifest.MANIFEST_NAME).unlink()
        change(partial)
        return {
            name: value for name, value in facts.items() if name not in ("files", without_facts)
        }

    manifest.commit(attempt.adapter_path, write_files)


# --- through the whole process ----------------------------------------------------------------


def test_a_fresh_load_comes_to_the_trainers_own_logits(attempt: AttemptDirectory) -> None:
    assert verify(attempt) == 0
    verified = next(e for e in read_events(attempt) if isinstance(e, events.AdapterVerified))
    assert verified.prompts == CONVERSATION_PROMPTS + 1
    assert verified.logit_difference is not None
    # With parameters that were not rounded first it is 4e-4.
    assert verified.logit_difference < 1e-5 < ALLOWED
    assert (verified.generated_tokens, verified.prompt != "") == (NEW_TOKENS, True)
    assert verified.manifest_sha256 == manifest.manifest_sha256(attempt.adapter_path)


def test_an_adapter_that_is_one_percent_weaker_is_rejected_with_the_figures(
    attempt: AttemptDirectory,
) -> None:
    def weaken(partial: Path) -> None:
        tensors = {
            name: tensor * (0.99 if "lora_B" in name else 1)
            for name, tensor in load_file(partial / WEIGHTS).items()
        }
        save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})

    commit_again(attempt, weaken)
    assert verify(attempt) == 3
    finish = finish_of(attempt)
    assert finish.stop_reason is StopReason.ADAPTER_REJECTED
    assert "logits differ by up to 0.0" in finish.detail
    assert "0.001 is allowed" in finish.detail


def test_an_adapter_of_the_time_before_this_check_still_verifies(attempt: AttemptDirectory) -> None:
    def as_it_was(partial: Path) -> None:
        for name in ("portability.json", "curves.svg"):
            (partial / name).unlink()

    attempt.portability_path.unlink()
    commit_again(attempt, as_it_was, without_facts="portability")
    assert verify(attempt) == 0
    verified = next(e for e in read_events(attempt) if isinstance(e, events.AdapterVerified))
    assert (verified.prompts, verified.logit_difference) == (1, None)


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_without_the_trainers_answers_nothing_is_taken_for_proved(
    attempt: AttemptDirectory, damage: str
) -> None:
    if damage == "gone":
        attempt.portability_path.unlink()
    else:
        attempt.portability_path.write_text('{"answers": []}')
    assert verify(attempt) == 3
    finish = finish_of(attempt)
    assert finish.stop_reason is StopReason.ADAPTER_REJECTED
    assert "portability.json: is not what the trainer wrote" in finish.detail


def test_an_adapter_that_vllm_would_not_serve_is_rejected(attempt: AttemptDirectory) -> None:
    def ask_for_dora(partial: Path) -> None:
        path = partial / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "use_dora": True}))

    commit_again(attempt, ask_for_dora)
    assert verify(attempt) == 3
    assert "vLLM would not serve the adapter: adapter_config.json: use_dora" in (
        finish_of(attempt).detail
    )


# --- what counts as the same ------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer(trained: AttemptDirectory) -> PreTrainedTokenizerBase:
    spec = trained.read_spec()
    return load_tokenizer(locate(spec.job.base_model, None, spec.models_directory))


@pytest.fixture(scope="module")
def loaded(trained: AttemptDirectory) -> PeftModel:
    spec = trained.read_spec()
    base = load_quantized(locate(spec.job.base_model, None, spec.models_directory))
    model = PeftModel.from_pretrained(base, str(trained.adapter_path))
    return model.eval()


@pytest.fixture
def model(loaded: PeftModel) -> Iterator[PeftModel]:
    """The adapter as it was loaded; what a test does to it is undone."""
    kept = {name: p.detach().clone() for name, p in loaded.named_parameters() if "lora_" in name}
    yield loaded
    for name, parameter in loaded.named_parameters():
        if name in kept:
            parameter.data = kept[name]


@pytest.fixture
def neutral(trained: AttemptDirectory) -> list[Answer]:
    return read_answers(trained.adapter_path / "portability.json")


def b_matrices(model: PeftModel) -> list[torch.nn.Parameter]:
    return [parameter for name, parameter in model.named_parameters() if "lora_B" in name]


def test_parameters_of_another_run_are_rejected(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, neutral: list[Answer]
) -> None:
    torch.manual_seed(7)
    for parameter in b_matrices(model):
        parameter.data = torch.randn_like(parameter) * parameter.data.std()
    with pytest.raises(AdapterRejected, match="logits differ by up to"):
        compare(model, tokenizer, neutral, ALLOWED)


def test_a_single_matrix_that_was_not_loaded_is_rejected(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, neutral: list[Answer]
) -> None:
    b_matrices(model)[5].data.zero_()
    with pytest.raises(AdapterRejected, match="logits differ by up to"):
        compare(model, tokenizer, neutral, ALLOWED)


def test_parameters_that_change_nothing_are_rejected_whatever_is_allowed(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, neutral: list[Answer]
) -> None:
    for parameter in b_matrices(model):
        parameter.data.zero_()
    with pytest.raises(AdapterRejected, match="changes nothing"):
        compare(model, tokenizer, neutral, tolerance=100)


def test_a_wide_tolerance_lets_no_foreign_parameters_pass(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, neutral: list[Answer]
) -> None:
    for parameter in b_matrices(model):
        parameter.data *= -1
    with pytest.raises(AdapterRejected, match="no nearer to those of the trainer"):
        compare(model, tokenizer, neutral, tolerance=100)


def test_logits_that_are_not_finite_are_rejected(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, neutral: list[Answer]
) -> None:
    b_matrices(model)[0].data[0, 0] = torch.nan
    with pytest.raises(AdapterRejected, match="not finite"):
        compare(model, tokenizer, neutral, ALLOWED)


def test_another_greedy_token_is_rejected_unless_the_two_were_tied(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, neutral: list[Answer]
) -> None:
    known = neutral[0]
    # As if the trainer had chosen its second best token last: no logits depend on that one.
    other = replace(known, new_ids=[*known.new_ids[:-1], known.top_ids[-1][1]])
    best, second = known.top_logits[-1][:2]
    with pytest.raises(AdapterRejected, match=f"new token {len(known.new_ids)}; they were"):
        compare(model, tokenizer, [other], ALLOWED)
    compare(model, tokenizer, [other], tolerance=best - second)


def test_the_trainers_answers_disclose_nothing_of_the_training_file(
    trained: AttemptDirectory, tokenizer: PreTrainedTokenizerBase
) -> None:
    stays = read_answers(trained.portability_path)
    assert len(stays) == CONVERSATION_PROMPTS
    goes_out = (trained.adapter_path / "portability.json").read_text()
    for answer in stays:
        assert answer.prompt.text in trained.read_spec().dataset_path.read_text()
        assert answer.prompt.text not in goes_out
    for answer in read_answers(trained.adapter_path / "portability.json"):
        decoded = tokenizer.decode(answer.prompt.input_ids)
        assert decoded.count("<|start_header_id|>") == 2  # Our question, and where it answers.


def test_decoding_goes_on_from_the_prompt(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, neutral: list[Answer]
) -> None:
    assert decode_greedily(model, tokenizer, neutral[0].prompt.input_ids) == neutral[0].new_ids


def test_answers_that_are_something_else_are_named(tmp_path: Path) -> None:
    path = tmp_path / "portability.json"
    for content in ("", "[]", '{"answers": [{"prompt": {}}]}', '{"answers": [1]}'):
        path.write_text(content)
        with pytest.raises(AdapterRejected, match=r"portability\.json"):
            read_answers(path)
