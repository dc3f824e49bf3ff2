"""Training a folded conversation is training its pairs: same logits, same loss, same gradient."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from agent.trainer.base_model import backend, load_quantized, load_tokenizer, locate
from agent.trainer.base_model import template_renderer as renderer
from agent.trainer.loss import has_plain_head, summed_loss
from shared.chat_format import IGNORED_LABEL, ChatEncoder, choose_chat_format
from shared.dataset.folding import Row, fold, unfold
from shared.dataset.reader import read_dataset
from shared.dataset.sample import SAMPLE_JSON
from shared.hyperparameters import LLAMA_PROJECTIONS

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # raised inside transformers


@pytest.fixture(scope="module")
def encoder(models_directory: Path) -> ChatEncoder:
    tokenizer = load_tokenizer(locate("tiny", None, models_directory))
    return choose_chat_format(backend(tokenizer), renderer(tokenizer))


@pytest.fixture(params=["fp64", "nf4"])
def model(request: pytest.FixtureRequest, models_directory: Path) -> Iterator[PeftModel]:
    """The tiny Llama with an adapter that is not zero."""
    location = locate("tiny", None, models_directory)
    base = (
        load_quantized(location)
        if request.param == "nf4"
        else AutoModelForCausalLM.from_pretrained(location.name_or_path, dtype=torch.float64)
    )
    torch.manual_seed(7)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=list(LLAMA_PROJECTIONS)))
    dtype = torch.float32 if request.param == "nf4" else torch.float64
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
    yield adapted.eval()


def trained(model: PeftModel) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def loss_and_gradient(
    model: PeftModel, encoder: ChatEncoder, rows: list[Row]
) -> tuple[float, torch.Tensor]:
    """Summed loss over all rows, and its gradient as one long vector."""
    model.zero_grad()
    total = 0.0
    for row in rows:
        input_ids, labels = (torch.tensor([part]) for part in encoder.encode(row))
        base = model.get_base_model()
        hidden = base.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
        loss = summed_loss(hidden, labels, base.get_output_embeddings())
        loss.backward()
        total += loss.item()
    return total, torch.cat(
        [p.grad.flatten() for p in trained(model).values() if p.grad is not None]
    )


def test_loss_and_gradient_equal_those_of_the_unfolded_examples(
    model: PeftModel, encoder: ChatEncoder
) -> None:
    conversation = max(read_dataset(SAMPLE_JSON).conversations, key=lambda c: len(c.targets))
    folded, unfolded = fold(conversation), unfold(conversation)
    assert len(folded) == 1 < len(unfolded)
    loss, gradient = loss_and_gradient(model, encoder, folded)
    expected_loss, expected_gradient = loss_and_gradient(model, encoder, unfolded)
    relative_error = (gradient - expected_gradient).norm() / expected_gradient.norm()
    limit = 1e-5  # summed_loss projects in fp32, whatever the model computes in
    assert loss == pytest.approx(expected_loss, rel=limit)
    assert relative_error < limit


def test_logits_equal_those_of_the_unfolded_examples(
    model: PeftModel, encoder: ChatEncoder
) -> None:
    conversation = max(read_dataset(SAMPLE_JSON).conversations, key=lambda c: len(c.targets))
    (row,) = fold(conversation)
    whole = torch.tensor([encoder.encode(row)[0]])
    with torch.no_grad():
        folded_logits = model(input_ids=whole).logits[0]
        for pair_row in unfold(conversation):
            part = torch.tensor([encoder.encode(pair_row)[0]])
            length = part.shape[1]
            assert torch.equal(part[0], whole[0, :length])
            expected = model(input_ids=part).logits[0]
            torch.testing.assert_close(folded_logits[:length], expected, rtol=1e-4, atol=1e-4)


def test_the_loss_is_the_models_own_over_supervised_positions(
    model: PeftModel, encoder: ChatEncoder
) -> None:
    row = fold(read_dataset(SAMPLE_JSON).conversations[0])[0]
    input_ids, labels = (torch.tensor([part]) for part in encoder.encode(row))
    base = model.get_base_model()
    with torch.no_grad():
        expected = model(input_ids=input_ids, labels=labels).loss.item()
        hidden = base.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
        total = summed_loss(hidden, labels, base.get_output_embeddings()).item()
    supervised = int((labels != IGNORED_LABEL).sum())
    assert total / supervised == pytest.approx(expected, rel=1e-5)


def test_a_batch_without_supervised_positions_has_a_loss_of_zero_and_a_gradient(
    model: PeftModel,
) -> None:
    base = model.get_base_model()
    input_ids = torch.tensor([[5, 6, 7]])
    hidden = base.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
    loss = summed_loss(hidden, torch.full((1, 3), -100), base.get_output_embeddings())
    loss.backward()
    assert loss.item() == 0.0


def test_a_head_that_scales_its_logits_is_left_to_upstream() -> None:
    class Config:
        final_logit_softcapping = 30.0

    assert not has_plain_head(Config())
    assert has_plain_head(object())
