"""Which linear layers get an adapter, by the model's architecture.

Names are checked against the model's own layers, which are known from its configuration alone: a
wrong one is an error before any weights are read. Knows nothing of LoRA itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from shared.errors import InvalidBaseModel
from shared.hyperparameters import LLAMA_PROJECTIONS

_EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts")
"""What configurations call the number of experts of a block (transformers 5.23.0)."""

_MOST_NAMED = 20


def skeleton(config: PreTrainedConfig) -> PreTrainedModel:
    """The model with all its layers and none of its weights.

    Raises:
        InvalidBaseModel: the configuration is of no causal language model.
    """
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise InvalidBaseModel(
            f"a {config.model_type} model is no causal language model; choose one that is."
        )
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return model


def choose_target_modules(model: PreTrainedModel, wanted: Sequence[str]) -> tuple[list[str], str]:
    """(names for LoRA's `target_modules`, why these); the model may be a `skeleton`.

    The default, the seven projections of a Llama block, stands for all linear layers of the blocks:
    where an architecture calls them otherwise, its own names are taken. The head gets none: an
    adapter with one cannot be served together with others, and a head that is tied to the
    embeddings would change these, too.

    Raises:
        InvalidBaseModel: the model has no linear layer of such a name, or has experts and nothing
            is said about them.
    """
    layers = _linear_layers(model)
    is_default = tuple(wanted) == LLAMA_PROJECTIONS
    missing = [name for name in wanted if not any(_is_named(path, name) for path in layers)]
    if is_default and (experts := _expert_count(model.config)):
        raise InvalidBaseModel(
            f"{_called(model)} has {experts} experts in a block, and adapters on experts are not "
            f"supported; to train its other layers, set target_modules to some of "
            f"{_listed(_names(layers))}."
        )
    if is_default and missing:
        names = _names(layers)
        if not names:
            raise InvalidBaseModel(f"{_called(model)} has no linear layers that can be adapted.")
        return names, f"{model.config.model_type}'s linear layers; it has no {_listed(missing)}"
    if missing:
        what = "the head, which gets no adapter" if _is_head(model, missing) else _listed(missing)
        raise InvalidBaseModel(
            f"target_modules: {_called(model)} has no linear layers named {what}; those of its "
            f"blocks are {_listed(_names(layers))}."
        )
    return list(wanted), "all linear layers" if is_default else "as asked"


def _linear_layers(model: PreTrainedModel) -> list[str]:
    """Paths of the linear layers, quantised or not, without the head."""
    head = model.get_output_embeddings()
    return [
        path
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]


def _names(paths: Iterable[str]) -> list[str]:
    """The last part of each, once, in the order of the model."""
    return list(dict.fromkeys(path.rpartition(".")[2] for path in paths))


def _is_named(path: str, name: str) -> bool:
    """As PEFT matches names: the path's end, from a point on."""
    return path == name or path.endswith(f".{name}")


def _is_head(model: PreTrainedModel, missing: Sequence[str]) -> bool:
    head = model.get_output_embeddings()
    paths = [path for path, module in model.named_modules() if module is head]
    return all(any(_is_named(path, name) for path in paths) for name in missing)


def _expert_count(config: Any) -> int:
    counts = (getattr(config, name, None) for name in _EXPERT_COUNTS)
    return next((count for count in counts if isinstance(count, int) and count > 1), 0)


def _called(model: PreTrainedModel) -> str:
    return f"the base model ({model.config.model_type})"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
