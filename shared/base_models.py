"""Base models that Bright Run makes itself, and where a base model's tokenizer lies.

Token counts are exact where the tokenizer and its chat template are at hand, without torch and
without a download. The template is only searched for what tells its format, never run: the trainer,
which has the model itself, proves the chat format before anything is trained.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from shared.chat_format import ChatEncoder
from shared.chat_formats.known import likely_formats, quoted_system
from shared.errors import InvalidBaseModel

BUILT_MODELS = {"tiny": "tiny-llama-1", "smollm2": "smollm2-135m-instruct"}
"""Public name -> directory below the models directory. Raise the number in `tiny-llama-1` when
anything in `agent.trainer.models.tiny_llama` changes what is built."""

TEMPLATE_FILES = ("chat_template.jinja", "tokenizer_config.json")
"""Where a chat template stands beside `tokenizer.json`, the newer place first."""


def find_encoder(base_model: str, models_directory: Path) -> ChatEncoder | None:
    """The encoder of a base model whose `tokenizer.json` lies here; None where it does not.

    Raises:
        InvalidBaseModel: the file is there and cannot be read.
    """
    built = BUILT_MODELS.get(base_model)
    directory = models_directory / built if built else Path(base_model)
    path = directory / "tokenizer.json"
    try:
        is_here = path.is_file()
    except (OSError, ValueError) as error:  # A name that no path can have.
        raise InvalidBaseModel(f"{base_model}: its tokenizer cannot be read ({error}).") from error
    return read_encoder(path, base_model) if is_here else None


def read_encoder(tokenizer_file: Path, base_model: str) -> ChatEncoder | None:
    """The encoder of a `tokenizer.json`; None where no chat format of ours has its tokens.

    Raises:
        InvalidBaseModel: the file cannot be read.
    """
    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_file))
    except Exception as error:  # The tokenizers library has no error type of its own.
        raise InvalidBaseModel(f"{base_model}: its tokenizer cannot be read ({error}).") from error
    template = read_template(tokenizer_file.parent)
    known = likely_formats(lambda token: tokenizer.token_to_id(token) is not None, template)
    if not known:
        return None
    chat_format, system = known[0], quoted_system(template)
    if chat_format.system_turn()[0] == "<|im_start|>" and system is not None:
        chat_format = chat_format.with_default_system(system)
    return ChatEncoder(tokenizer, chat_format, is_shared=False)


def read_template(directory: Path) -> str:
    """The chat template beside a tokenizer, as text; empty where there is none."""
    try:
        return (directory / TEMPLATE_FILES[0]).read_text(encoding="utf-8")
    except (OSError, ValueError):
        pass
    try:
        config: Any = json.loads((directory / TEMPLATE_FILES[1]).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    template = config.get("chat_template") if isinstance(config, dict) else None
    if isinstance(template, list):  # Several, by name; the one for talking is `default`.
        named = [item for item in template if isinstance(item, dict)]
        template = next((i.get("template") for i in named if i.get("name") == "default"), None)
    return template if isinstance(template, str) else ""
