"""Numbers of published models, as their config.json has them."""

from __future__ import annotations

from shared.model_shape import ModelShape

LLAMA_70B_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "vocab_size": 128256,
}
"""Llama 3, 3.1 and 3.3 of 70B."""

LLAMA_70B = ModelShape("llama", 128256, 8192, 28672, 80, 64, 8, 128)
QWEN_72B = ModelShape("llama", 152064, 8192, 24576, 80, 64, 64, 128)
"""Qwen-72B (2023): joined projections, of the sizes of a Llama without grouped heads."""
