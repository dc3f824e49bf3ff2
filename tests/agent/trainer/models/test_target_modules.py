"""Adapters on exactly the linear layers of each architecture, and the loss that fits its head."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

from agent.trainer.loss import has_plain_head, summed_loss
from agent.trainer.models.base_model import BaseModelLocation, load_config
from agent.trainer.models.target_modules import choose_target_modules, skeleton
from shared.errors import InvalidBaseModel
from shared.hyperparameters import LLAMA_PROJECTIONS

# What PEFT asks a model about its checkpointing is on its way out of transformers.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

LAYERS = 2
SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
SEVEN = list(LLAMA_PROJECTIONS)
OTHERS = {
    "phi3": ["o_proj", "qkv_proj", "gate_up_proj", "down_proj"],
    "gpt_neox": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
}


def tiny(architecture: str, **values: Any) -> PreTrainedModel:
    """Two layers with random weights."""
    torch.manual_seed(1)
    config = CONFIG_MAPPING[architecture](**SIZES, **values)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model


def adapted_layers(model: PreTrainedModel, names: list[str]) -> Counter[str]:
    """Names of the layers that carry LoRA once PEFT has wrapped the model."""
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=names, task_type="CAUSAL_LM"))
    paths = {
        name.partition(".lora_")[0] for name, _ in wrapped.named_parameters() if "lora_" in name
    }
    trainable = {name for name, item in wrapped.named_parameters() if item.requires_grad}
    assert all(".lora_" in name for name in trainable)
    return Counter(path.rpartition(".")[2] for path in paths)


@pytest.mark.parametrize(
    "architecture",
    ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", *OTHERS],
)
def test_every_linear_layer_of_the_blocks_and_no_other_carries_an_adapter(
    architecture: str,
) -> None:
    model = tiny(architecture)
    names, reason = choose_target_modules(model, LLAMA_PROJECTIONS)
    expected = OTHERS.get(architecture, SEVEN)
    assert names == expected
    assert reason == (
        "all linear layers"
        if names == SEVEN
        else f"{architecture}'s linear layers; it has no "
        + ", ".join(name for name in SEVEN if name not in expected)
    )
    assert adapted_layers(model, names) == Counter(dict.fromkeys(expected, LAYERS))


def test_the_layers_are_known_from_the_configuration_alone(tmp_path: Path) -> None:
    values = {**SIZES, "model_type": "phi3", "hidden_size": 8192, "num_hidden_layers": 80}
    (tmp_path / "config.json").write_text(json.dumps(values))
    model = skeleton(load_config(BaseModelLocation(str(tmp_path), None)))
    assert all(parameter.is_meta for parameter in model.parameters())
    assert choose_target_modules(model, LLAMA_PROJECTIONS)[0] == OTHERS["phi3"]


def test_a_configuration_of_something_else_is_refused() -> None:
    with pytest.raises(InvalidBaseModel, match="a t5 model is no causal"):
        skeleton(CONFIG_MAPPING["t5"]())


def test_names_that_were_asked_for_are_taken() -> None:
    asked = ("q_proj", "self_attn.v_proj")
    names, reason = choose_target_modules(tiny("qwen2"), asked)
    assert (names, reason) == (list(asked), "as asked")
    assert adapted_layers(tiny("qwen2"), names) == {"q_proj": LAYERS, "v_proj": LAYERS}


@pytest.mark.parametrize("name", ["q_porj", "proj", "embed_tokens", "mlp"])
def test_a_name_of_no_linear_layer_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(InvalidBaseModel, match=f"named {name}; .* q_proj, k_proj, .*, down_proj"):
        choose_target_modules(tiny("mistral"), ("q_proj", name))


def test_the_head_gets_no_adapter() -> None:
    with pytest.raises(InvalidBaseModel, match="the head, which gets no adapter"):
        choose_target_modules(tiny("llama"), ("q_proj", "lm_head"))


def test_a_model_with_experts_needs_names() -> None:
    model = tiny("mixtral", num_local_experts=4)
    with pytest.raises(InvalidBaseModel, match=r"has 4 experts in a block.* q_proj, k_proj"):
        choose_target_modules(model, LLAMA_PROJECTIONS)
    assert choose_target_modules(model, ("q_proj", "v_proj"))[0] == ["q_proj", "v_proj"]


@pytest.mark.parametrize(
    ("architecture", "is_plain"),
    [
        ("llama", True),
        ("mistral", True),
        ("qwen2", True),
        ("qwen3", True),
        ("phi3", True),
        ("gemma", True),
        ("gemma2", False),
        ("cohere", False),
        ("granite", False),
        ("mixtral", False),
    ],
)
def test_only_a_plain_head_is_projected_by_us(architecture: str, is_plain: bool) -> None:
    model = tiny(architecture).eval()
    assert has_plain_head(model.config) == is_plain
    ids = torch.arange(3, 23).reshape(1, -1)
    logits = model(input_ids=ids).logits.float()
    own = cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum")
    hidden = model.base_model(input_ids=ids).last_hidden_state
    ours = summed_loss(hidden, ids, model.get_output_embeddings())
    if is_plain:
        torch.testing.assert_close(ours, own)
