"""The few numbers of a model's `config.json` that its memory and its arithmetic depend on.

Decoder-only models of one kind of block: attention with grouped heads and a gated MLP. Knows
nothing of weights, devices or training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import InvalidBaseModel
from shared.hyperparameters import LLAMA_PROJECTIONS

KNOWN_TYPES = ("llama", "mistral", "qwen2", "qwen3", "phi3")
"""`model_type`s whose blocks are built as here (transformers 5.23, modeling_*.py, 2026-11)."""

_LARGEST_CONFIG_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class LinearShape:
    """A linear layer of a block, (out_features, in_features); quantised, unlike the head."""

    name: str
    in_features: int
    out_features: int
    has_bias: bool = False

    @property
    def parameters(self) -> int:
        """Without the bias, which is not quantised."""
        return self.in_features * self.out_features


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What a decoder-only model is made of."""

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    """On all four projections, as Llama has it; Qwen 2 has it on three of them, always."""
    mlp_bias: bool = False
    attends_to_all: bool = True
    """False where some layers see a window of the sequence only: rows are then never packed."""

    @property
    def query_size(self) -> int:
        return self.num_attention_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        """Of the keys; the values have as many."""
        return self.num_key_value_heads * self.head_dim

    @property
    def has_query_norm(self) -> bool:
        """Queries and keys are normalised, head by head."""
        return self.model_type == "qwen3"

    @property
    def joins_projections(self) -> bool:
        """Queries, keys and values come from one layer; gate and up from another."""
        return self.model_type == "phi3"

    @property
    def linears(self) -> tuple[LinearShape, ...]:
        """The linear layers of one block, in the order of the forward pass."""
        hidden, inner = self.hidden_size, self.intermediate_size
        query, key = self.query_size, self.key_value_size
        biased = self.attention_bias or self.model_type == "qwen2"
        output = LinearShape("o_proj", query, hidden, self.attention_bias)
        if self.joins_projections:
            return (
                LinearShape("qkv_proj", hidden, query + 2 * key),
                output,
                LinearShape("gate_up_proj", hidden, 2 * inner),
                LinearShape("down_proj", inner, hidden),
            )
        return (
            LinearShape("q_proj", hidden, query, biased),
            LinearShape("k_proj", hidden, key, biased),
            LinearShape("v_proj", hidden, key, biased),
            output,
            LinearShape("gate_proj", hidden, inner, self.mlp_bias),
            LinearShape("up_proj", hidden, inner, self.mlp_bias),
            LinearShape("down_proj", inner, hidden, self.mlp_bias),
        )

    @property
    def quantized_parameters(self) -> int:
        """Of all blocks' linear layers."""
        return self.num_hidden_layers * sum(linear.parameters for linear in self.linears)

    @property
    def vocabulary_parameters(self) -> int:
        """Of the embeddings and the head, which is the same matrix where they are tied."""
        return (1 if self.tie_word_embeddings else 2) * self.vocab_size * self.hidden_size

    @property
    def small_parameters(self) -> int:
        """Norms and biases."""
        norms = 2 * self.hidden_size + (2 * self.head_dim if self.has_query_norm else 0)
        biases = sum(linear.out_features for linear in self.linears if linear.has_bias)
        return self.num_hidden_layers * (norms + biases) + self.hidden_size

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.quantized_parameters + self.vocabulary_parameters + self.small_parameters

    def adapted(self, target_modules: tuple[str, ...]) -> tuple[LinearShape, ...]:
        """The linear layers of one block that get an adapter.

        Llama's seven names stand for all of a block where it calls them otherwise.

        Raises:
            InvalidBaseModel: a name that no linear layer of the model has.
        """
        names = {linear.name for linear in self.linears}
        wanted = {name.rpartition(".")[2] for name in target_modules}
        if wanted == set(LLAMA_PROJECTIONS) and not wanted <= names:
            return self.linears
        if missing := sorted(wanted - names):
            raise InvalidBaseModel(
                f"target_modules: a {self.model_type} model has no {', '.join(missing)}; "
                f"its linear layers are {', '.join(linear.name for linear in self.linears)}."
            )
        return tuple(linear for linear in self.linears if linear.name in wanted)


BUILT_SHAPES = {
    "tiny": ModelShape("llama", 4096, 256, 688, 4, 8, 4, 32),
    "smollm2": ModelShape("llama", 49152, 576, 1536, 30, 9, 3, 64, tie_word_embeddings=True),
}
"""Of the models that Bright Run makes itself, also before it has made them."""


def shape_of(config: Mapping[str, Any], source: str) -> ModelShape:
    """The shape in a parsed `config.json`; errors name `source`.

    Raises:
        InvalidBaseModel: another architecture, or a number that is missing or makes no sense.
    """
    model_type = config.get("model_type")
    if model_type not in KNOWN_TYPES:
        raise InvalidBaseModel(
            f"{source}: the memory of a model_type {model_type!r} cannot be computed; "
            f"known are {', '.join(KNOWN_TYPES)}."
        )
    heads = _count(config, "num_attention_heads", source)
    hidden = _count(config, "hidden_size", source)
    return ModelShape(
        model_type=model_type,
        vocab_size=_count(config, "vocab_size", source),
        hidden_size=hidden,
        intermediate_size=_count(config, "intermediate_size", source),
        num_hidden_layers=_count(config, "num_hidden_layers", source),
        num_attention_heads=heads,
        num_key_value_heads=_count(config, "num_key_value_heads", source, default=heads),
        head_dim=_count(config, "head_dim", source, default=max(hidden // heads, 1)),
        tie_word_embeddings=config.get("tie_word_embeddings") is True,
        attention_bias=config.get("attention_bias") is True,
        mlp_bias=config.get("mlp_bias") is True,
        attends_to_all=_attends_to_all(config),
    )


def read_shape(path: Path) -> ModelShape:
    """The shape in the `config.json` at `path`.

    Raises:
        InvalidBaseModel: it cannot be read, or is no configuration of a model that is known.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_CONFIG_BYTES)
        config = json.loads(text)
    except OSError as error:
        raise InvalidBaseModel(f"{path}: cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise InvalidBaseModel(f"{path}: is not a model's config.json ({error}).") from error
    if not isinstance(config, dict):
        raise InvalidBaseModel(f"{path}: is not a model's config.json.")
    return shape_of(config, str(path))


def _count(config: Mapping[str, Any], name: str, source: str, default: int | None = None) -> int:
    value = config.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
        raise InvalidBaseModel(f"{source}: {name} = {value!r} is not a number of a model.")
    return value


def _attends_to_all(config: Mapping[str, Any]) -> bool:
    layer_types = config.get("layer_types")
    if isinstance(layer_types, list) and layer_types:
        return all(kind == "full_attention" for kind in layer_types)
    if config.get("use_sliding_window") is False:
        return True
    return config.get("sliding_window") is None
