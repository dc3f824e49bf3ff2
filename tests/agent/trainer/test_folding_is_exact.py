"""Training a folded conversation is training its pairs: same logits, same loss, same gradient.

So is training several rows in one micro-batch, however the attention keeps them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from agent.trainer.batches import Example
from agent.trainer.loss import has_plain_head, summed_loss, summed_loss_of_logits
from agent.trainer.micro_batches import ModelInputs, model_inputs
from agent.trainer.models.attention import SDPA_ROWS, Attention
from agent.trainer.models.base_model import backend, load_quantized, load_tokenizer, locate
from agent.trainer.models.base_model import template_renderer as renderer
from agent.trainer.scored_model import ScoredModel
from shared.chat_format import IGNORED_LABEL, ChatEncoder, choose_chat_format
from shared.dataset.conversation import Conversation, Message
from shared.dataset.folding import Row, fold, unfold
from shared.dataset.reader import read_dataset
from shared.dataset.sample import SAMPLE_JSON
from shared.hyperparameters import LLAMA_PROJECTIONS

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # raised inside transformers

GRADIENT_ERROR = 1e-5
"""Relative; the loss projects in fp32, whatever the model computes in."""

SDPA = Attention("sdpa", False, "transformers makes a mask from the positions")
ROW_BY_ROW = Attention(SDPA_ROWS, True, "no mask is made")


@pytest.fixture(scope="module")
def encoder(models_directory: Path) -> ChatEncoder:
    tokenizer = load_tokenizer(locate("tiny", None, models_directory))
    return choose_chat_format(backend(tokenizer), renderer(tokenizer))


@pytest.fixture(scope="module", params=["fp64", "nf4"])
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


@pytest.fixture(params=[SDPA, ROW_BY_ROW], ids=["mask", "row by row"])
def attention(request: pytest.FixtureRequest, model: PeftModel) -> Iterator[Attention]:
    """What keeps the rows of a pack apart, switched on in the model."""
    chosen: Attention = request.param
    model.get_base_model().set_attn_implementation(chosen.implementation)
    yield chosen
    model.get_base_model().set_attn_implementation("sdpa")


@pytest.fixture(scope="module")
def chain() -> Conversation:
    """The sample's conversation with the most targets, each history a prefix of the next.

    Every message is cut to its beginning: how long they are changes nothing but the time it takes.
    """
    whole = max(read_dataset(SAMPLE_JSON).conversations, key=lambda item: len(item.targets))
    pairs = [
        replace(
            pair,
            context=tuple(replace(said, content=said.content[:80]) for said in pair.context),
            target=(pair.target or "")[:80],
        )
        for pair in whole.targets
    ]
    return replace(whole, pairs=tuple(pairs))


@pytest.fixture(scope="module")
def branching(chain: Conversation) -> Conversation:
    """The same, answered twice at its second turn, and with its first answer differing later."""
    first, second, third, *_ = chain.targets
    retold = tuple(
        Message("assistant", "I was told something else.") if said.role == "assistant" else said
        for said in third.context
    )
    return replace(
        chain,
        pairs=(first, second, replace(second, target="Again."), replace(third, context=retold)),
    )


def encoded(encoder: ChatEncoder, rows: Sequence[Row]) -> list[Example]:
    return [Example("c", *encoder.encode(row), len(row.trained), row.messages) for row in rows]


def loss_and_gradient(
    model: PeftModel, micro_batches: Sequence[ModelInputs], attention: Attention = SDPA
) -> tuple[float, torch.Tensor]:
    """Summed loss of micro-batches as the trainer has them, and its gradient as one vector."""
    model.zero_grad()
    scored = ScoredModel(model, attention, nullcontext)
    total = 0.0
    for inputs in micro_batches:
        loss = scored(inputs)
        loss.backward()
        total += loss.item()
    return total, gradient_of(model)


def reference(
    model: PeftModel, encoder: ChatEncoder, rows: Sequence[Row]
) -> tuple[float, torch.Tensor]:
    """The same of whole rows one by one, by the model's own forward and torch's cross-entropy."""
    model.zero_grad()
    total = 0.0
    for row in rows:
        input_ids, labels = (torch.tensor([part]) for part in encoder.encode(row))
        logits = model(input_ids=input_ids, use_cache=False).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="sum")
        loss.backward()
        total += loss.item()
    return total, gradient_of(model)


def gradient_of(model: PeftModel) -> torch.Tensor:
    """Of all LoRA parameters."""
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(gradient is not None for gradient in gradients)
    return torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])


def assert_same(found: tuple[float, torch.Tensor], expected: tuple[float, torch.Tensor]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=GRADIENT_ERROR)
    error = (found[1] - expected[1]).norm() / expected[1].norm()
    assert error < GRADIENT_ERROR


def test_a_chain_of_histories_is_one_row_with_the_loss_and_gradient_of_its_pairs(
    model: PeftModel, encoder: ChatEncoder, chain: Conversation
) -> None:
    folded, unfolded = fold(chain), unfold(chain)
    assert len(folded) == 1 < len(unfolded)
    rows = [model_inputs([example]) for example in encoded(encoder, folded)]
    assert_same(loss_and_gradient(model, rows), reference(model, encoder, unfolded))


def test_branching_histories_are_several_rows_with_the_loss_and_gradient_of_their_pairs(
    model: PeftModel, encoder: ChatEncoder, branching: Conversation
) -> None:
    folded, unfolded = fold(branching), unfold(branching)
    assert (len(folded), len(unfolded)) == (3, 4)
    rows = [model_inputs([example]) for example in encoded(encoder, folded)]
    assert_same(loss_and_gradient(model, rows), reference(model, encoder, unfolded))


def test_a_pack_of_rows_has_the_loss_and_gradient_of_their_pairs(
    model: PeftModel, encoder: ChatEncoder, branching: Conversation, attention: Attention
) -> None:
    packed = model_inputs(encoded(encoder, fold(branching)))
    assert len(packed.row_lengths) == 3
    assert_same(
        loss_and_gradient(model, [packed], attention),
        reference(model, encoder, unfold(branching)),
    )


def test_no_row_of_a_pack_sees_another(
    model: PeftModel, encoder: ChatEncoder, branching: Conversation, attention: Attention
) -> None:
    packed = model_inputs(encoded(encoder, fold(branching)))
    start, end = packed.row_lengths[0], sum(packed.row_lengths[:2])
    others = torch.ones_like(packed.input_ids, dtype=torch.bool)
    others[:, start:end] = False
    changed = replace(packed, input_ids=torch.where(others, 5, packed.input_ids))
    with torch.no_grad():
        before, after = (hidden_states(model, pack, attention) for pack in (packed, changed))
        alone = model_inputs(encoded(encoder, fold(branching))[1:2])
        expected = hidden_states(model, alone, attention)
    assert not torch.equal(before[:, :start], after[:, :start])
    assert torch.equal(before[:, start:end], after[:, start:end])
    torch.testing.assert_close(before[:, start:end], expected, rtol=1e-4, atol=1e-4)


def hidden_states(model: PeftModel, inputs: ModelInputs, attention: Attention) -> torch.Tensor:
    """(1, T, H) behind the last layer."""
    backbone = model.get_base_model().base_model
    keywords = inputs.keywords(attention)
    return backbone(input_ids=inputs.input_ids, use_cache=False, **keywords).last_hidden_state


def test_logits_equal_those_of_the_unfolded_examples(
    model: PeftModel, encoder: ChatEncoder, chain: Conversation
) -> None:
    # In fp64 equal to the last digits; products of another length are rounded otherwise in fp32.
    tolerance = 1e-12 if model.get_base_model().dtype == torch.float64 else 1e-4
    (row,) = fold(chain)
    whole = torch.tensor([encoder.encode(row)[0]])
    with torch.no_grad():
        folded_logits = model(input_ids=whole).logits[0]
        for pair_row in unfold(chain):
            part = torch.tensor([encoder.encode(pair_row)[0]])
            length = part.shape[1]
            assert torch.equal(part[0], whole[0, :length])
            expected = model(input_ids=part).logits[0]
            torch.testing.assert_close(
                folded_logits[:length], expected, rtol=tolerance, atol=tolerance
            )


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
        of_logits = summed_loss_of_logits(model(input_ids=input_ids).logits, labels).item()
    supervised = int((labels != IGNORED_LABEL).sum())
    assert total / supervised == pytest.approx(expected, rel=1e-5)
    assert of_logits == pytest.approx(total, rel=1e-5)


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
