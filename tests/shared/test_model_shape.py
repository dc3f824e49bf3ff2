from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidBaseModel
from shared.hyperparameters import LLAMA_PROJECTIONS
from shared.model_shape import ModelShape, read_shape, shape_of
from tests.shared.llama_70b import LLAMA_70B, LLAMA_70B_CONFIG


def test_a_published_config_gives_the_shape() -> None:
    shape = shape_of(LLAMA_70B_CONFIG, "config.json")

    assert shape == LLAMA_70B
    assert shape.parameters == 70_553_706_496  # as its index of weights says


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"model_type": "mixtral"}, "model_type 'mixtral' cannot be computed; known are llama"),
        ({"model_type": None}, "model_type None"),
        ({"hidden_size": None}, "hidden_size = None is not a number of a model"),
        ({"num_hidden_layers": "80"}, "num_hidden_layers = '80'"),
        ({"num_attention_heads": 0}, "num_attention_heads = 0"),
        ({"vocab_size": True}, "vocab_size = True"),
        ({"intermediate_size": 1e300}, "intermediate_size = 1e"),
    ],
)
def test_what_is_no_such_model_is_said(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidBaseModel, match=complaint):
        shape_of({**LLAMA_70B_CONFIG, **values}, "config.json")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[]", b"{", b'"llama"', b"[" * 100_000, b""])
def test_a_file_that_is_no_config_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(InvalidBaseModel, match=r"is not a model's config\.json"):
        read_shape(path)
    with pytest.raises(InvalidBaseModel, match="cannot be read"):
        read_shape(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("values", "attends_to_all"),
    [
        ({}, True),
        ({"sliding_window": 4096}, False),
        ({"sliding_window": None}, True),
        ({"use_sliding_window": False, "sliding_window": 131072}, True),
        ({"layer_types": ["full_attention", "sliding_attention"]}, False),
        ({"layer_types": ["full_attention"], "sliding_window": 4096}, True),
    ],
)
def test_a_window_is_noticed(tmp_path: Path, values: dict[str, Any], attends_to_all: bool) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**LLAMA_70B_CONFIG, **values}))
    assert read_shape(path).attends_to_all is attends_to_all


def test_adapters_go_where_they_are_wanted() -> None:
    assert [linear.name for linear in LLAMA_70B.adapted(LLAMA_PROJECTIONS)] == [*LLAMA_PROJECTIONS]
    assert [linear.name for linear in LLAMA_70B.adapted(("v_proj", "q_proj"))] == [
        "q_proj",
        "v_proj",
    ]
    with pytest.raises(InvalidBaseModel, match=r"has no qkv_proj; its linear layers are q_proj,"):
        LLAMA_70B.adapted(("qkv_proj",))


def test_the_default_stands_for_all_linear_layers_where_they_are_called_otherwise() -> None:
    joined = ModelShape("phi3", 32064, 3072, 8192, 32, 32, 32, 96)
    assert joined.adapted(LLAMA_PROJECTIONS) == joined.linears
