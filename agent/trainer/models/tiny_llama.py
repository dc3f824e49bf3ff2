"""A small Llama that the project builds itself: the whole road with nothing to download.

Random weights, but everything else is real: Llama's architecture with grouped-query attention, a
byte-level BPE tokenizer trained on the sample dataset, Llama 3's special tokens and chat template.
It learns the rhythm of the text and nothing else; it proves the machinery, not the method.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agent.trainer.models.built_models import build_once
from shared.base_models import BUILT_MODELS
from shared.dataset.reader import read_dataset
from shared.dataset.sample import SAMPLE_JSON

VOCABULARY_SIZE = 4096
WEIGHTS_SEED = 20_240_418

LLAMA_3_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{% endif %}"
)
"""Renders what Meta-Llama-3-Instruct's template renders."""

SPECIAL_TOKENS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|finetune_right_pad_id|>",
)

# Llama 3's split of text into words, numbers of at most three digits, and runs of white space
# (tokenizer.json of Meta-Llama-3-8B).
_SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def ensure_tiny_llama(models_directory: Path) -> Path:
    """Directory of the built model; builds it at the first call (about two seconds)."""
    return build_once(models_directory / BUILT_MODELS["tiny"], _build)


def _build(directory: Path) -> None:
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(directory)
    build_model(tokenizer).save_pretrained(directory)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 4,096 tokens with Llama 3's special tokens and template."""
    bpe = Tokenizer(models.BPE(ignore_merges=True))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_sample_texts(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        pad_token="<|finetune_right_pad_id|>",
        clean_up_tokenization_spaces=False,
        model_max_length=8192,
    )
    tokenizer.chat_template = LLAMA_3_CHAT_TEMPLATE
    return tokenizer


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """5.5 million parameters in bf16; the same weights on every machine."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(WEIGHTS_SEED)
        return LlamaForCausalLM(config).bfloat16()


def _sample_texts() -> list[str]:
    return [
        text
        for conversation in read_dataset(SAMPLE_JSON).conversations
        for pair in conversation.targets
        for text in (pair.context[-1].content, pair.target or "")
    ]
