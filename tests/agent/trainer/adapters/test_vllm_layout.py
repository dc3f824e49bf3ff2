"""What vLLM would refuse, or silently serve otherwise, is found in the adapter's files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from agent.trainer.adapters.vllm_layout import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    max_lora_rank,
    vllm_complaints,
)

pytestmark = [
    # Raised inside transformers and peft, about each other.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

TARGETS = ["q_proj", "v_proj", "down_proj"]
A_MODULE = "base_model.model.model.layers.0.self_attn.q_proj"


def save_with_peft(directory: Path, **values: Any) -> None:
    """An adapter of a small Llama, as plain PEFT writes it."""
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    chosen = {"target_modules": TARGETS, "r": 8, "task_type": "CAUSAL_LM", **values}
    get_peft_model(LlamaForCausalLM(config), LoraConfig(**chosen)).save_pretrained(directory)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    save_with_peft(tmp_path)
    return tmp_path


def change_config(directory: Path, **values: Any) -> None:
    path = directory / CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_tensors(
    directory: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    save_file(change(load_file(directory / WEIGHTS_FILE)), directory / WEIGHTS_FILE)


def test_what_peft_writes_for_linear_layers_can_be_served(adapter: Path) -> None:
    assert vllm_complaints(adapter) == []


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"bias": "all"}, "bias is 'all', not 'none'"),
        ({"use_dora": True}, "use_dora is True"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is ['lm_head']"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern is {'q_proj': 4}"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern is {'q_proj': 4}"),
        (
            {"target_modules": "all-linear"},
            "target_modules is no list of plain names: 'all-linear'",
        ),
        ({"target_modules": [r".*\.q_proj"]}, "target_modules is no list of plain names"),
        ({"r": 1024}, "r is 1024, vLLM takes up to 512"),
        ({"r": 4}, "another rank than r = 4"),
    ],
)
def test_a_configuration_that_vllm_does_not_serve_is_named(
    adapter: Path, values: dict[str, Any], complaint: str
) -> None:
    change_config(adapter, **values)
    assert any(complaint in found for found in vllm_complaints(adapter))


def test_a_trained_head_is_no_part_of_an_adapter(tmp_path: Path) -> None:
    save_with_peft(tmp_path, modules_to_save=["lm_head"])
    complaints = vllm_complaints(tmp_path)
    assert "adapter_config.json: modules_to_save is ['lm_head']" in complaints
    assert any("lm_head.weight is no LoRA weight" in found for found in complaints)


def test_adapted_embeddings_are_no_part_of_an_adapter(tmp_path: Path) -> None:
    save_with_peft(tmp_path, target_modules=["q_proj", "embed_tokens"])
    assert any("lora_embedding_A is no LoRA weight" in found for found in vllm_complaints(tmp_path))


def test_embeddings_that_came_along_are_found(adapter: Path) -> None:
    name = "base_model.model.model.embed_tokens.weight"
    change_tensors(adapter, lambda tensors: {**tensors, name: torch.zeros(65, 32)})
    assert vllm_complaints(adapter) == [
        f"{WEIGHTS_FILE}: {name} is no LoRA weight of a linear layer"
    ]


def test_an_adapter_name_inside_the_tensor_names_is_found(adapter: Path) -> None:
    change_tensors(
        adapter,
        lambda tensors: {
            name.replace(".weight", ".default.weight"): tensor for name, tensor in tensors.items()
        },
    )
    assert "lora_A.default.weight is no LoRA weight" in vllm_complaints(adapter)[0]


def test_half_of_a_pair_is_found(adapter: Path) -> None:
    def without_one(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: t for name, t in tensors.items() if name != f"{A_MODULE}.lora_B.weight"}

    change_tensors(adapter, without_one)
    assert vllm_complaints(adapter) == [
        f"{WEIGHTS_FILE}: model.layers.0.self_attn.q_proj lacks lora_A or lora_B"
    ]


def test_a_module_beyond_the_targets_is_found(adapter: Path) -> None:
    change_config(adapter, target_modules=["v_proj", "down_proj"])
    complaints = vllm_complaints(adapter)
    assert len(complaints) == 2
    assert all(found.endswith("q_proj is not one of the target modules") for found in complaints)


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("content", [None, b"", b"\x80\x04pickle"])
def test_files_that_are_missing_or_something_else_are_complaints(
    adapter: Path, name: str, content: bytes | None
) -> None:
    (adapter / name).unlink()
    if content is not None:
        (adapter / name).write_bytes(content)
    assert len(vllm_complaints(adapter)) == 1
    assert vllm_complaints(adapter)[0].startswith("cannot be read: ")


def test_the_rank_that_a_server_must_allow() -> None:
    assert [max_lora_rank(rank) for rank in (1, 4, 8, 16, 64, 200)] == [1, 8, 8, 16, 64, 256]
