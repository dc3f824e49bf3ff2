"""Exact counts on the laptop, where the tokenizer is at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.trainer.models.tiny_llama import ensure_tiny_llama
from shared.base_models import find_encoder, read_template
from shared.dataset.checks.checker import check_dataset
from shared.dataset.findings import Severity
from shared.dataset.reader import read_dataset
from shared.dataset.sample import SAMPLE_JSON
from shared.errors import InvalidBaseModel
from tests.shared.small_tokenizer import put_small_model


def test_there_is_no_encoder_before_the_model_is_here(tmp_path: Path) -> None:
    assert find_encoder("tiny", tmp_path) is None
    assert find_encoder("meta-llama/Meta-Llama-3-70B-Instruct", tmp_path) is None


def test_a_model_that_was_built_here_counts_exactly_and_an_over_long_file_is_an_error(
    tmp_path: Path,
) -> None:
    directory = ensure_tiny_llama(tmp_path)
    for name in ("tiny", str(directory)):
        encoder = find_encoder(name, tmp_path)
        assert encoder is not None
        report = check_dataset(read_dataset(SAMPLE_JSON), max_seq_length=500, encoder=encoder)
        assert not report.tokens_are_estimated
        assert {f.code for f in report.findings if f.severity is Severity.ERROR} == {"over_long"}


@pytest.mark.parametrize("base_model", ["damaged", "x" * 5000])
def test_a_tokenizer_that_cannot_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base_model: str
) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "tokenizer.json").write_text('{"version": ')
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InvalidBaseModel, match="its tokenizer cannot be read"):
        find_encoder(base_model, tmp_path)


def test_a_tokenizer_without_the_tokens_of_any_format_is_left_to_the_trainer(
    tmp_path: Path,
) -> None:
    (tmp_path / "tokenizer.json").write_text(
        '{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,'
        '"pre_tokenizer":null,"post_processor":null,"decoder":null,'
        '"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}}'
    )
    assert find_encoder(str(tmp_path), tmp_path) is None


@pytest.mark.parametrize(
    ("config", "template"),
    [
        ({"chat_template": "{{ messages }}"}, "{{ messages }}"),
        (
            {
                "chat_template": [
                    {"name": "tool_use", "template": "{{ tools }}"},
                    {"name": "default", "template": "{{ messages }}"},
                ]
            },
            "{{ messages }}",
        ),
        ({"chat_template": [1, {"name": "default"}]}, ""),
        ({"chat_template": None}, ""),
        ({}, ""),
        ([], ""),
    ],
)
def test_a_chat_template_is_read_from_where_it_stands(
    tmp_path: Path, config: Any, template: str
) -> None:
    assert read_template(tmp_path) == ""
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert read_template(tmp_path) == template
    (tmp_path / "chat_template.jinja").write_text("{{ bos_token }}")
    assert read_template(tmp_path) == "{{ bos_token }}"


def test_a_configuration_that_cannot_be_read_has_no_template(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_bytes(b"\xff{")
    assert read_template(tmp_path) == ""


def test_without_a_template_the_vocabulary_tells_the_format(tmp_path: Path) -> None:
    put_small_model(tmp_path)
    found = find_encoder(str(tmp_path), tmp_path)
    assert found is not None
    assert found.chat_format.name == "llama-3"
    (tmp_path / "chat_template.jinja").write_text("<|start_header_id|> Cutting Knowledge Date: ")
    dated = find_encoder(str(tmp_path), tmp_path)
    assert dated is not None
    assert dated.chat_format.name == "llama-3.1"
