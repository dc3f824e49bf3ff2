"""Base models that Bright Run makes itself, and where a base model's tokenizer lies.

Token counts are exact where the tokenizer is at hand, without torch and without a download; the
trainer, which has the model itself, always counts exactly and proves the chat format first.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from shared.chat_format import CHAT_FORMATS, ChatEncoder
from shared.errors import InvalidBaseModel

BUILT_MODELS = {"tiny": "tiny-llama-1", "smollm2": "smollm2-135m-instruct"}
"""Public name -> directory below the models directory. Raise the number in `tiny-llama-1` when
anything in `agent.trainer.tiny_llama` changes what is built."""


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
    for chat_format in CHAT_FORMATS:
        if all(tokenizer.token_to_id(token) is not None for token in chat_format.special_tokens):
            return ChatEncoder(tokenizer, chat_format, is_shared=False)
    return None
