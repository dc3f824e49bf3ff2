"""The tokenizer with which a training file is looked into, and what a job may do with the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.base_models import BUILT_MODELS, find_encoder, read_encoder
from shared.chat_format import ChatEncoder
from tui.config import load_config
from tui.services.hosts.names import LOCAL
from tui.services.hub_files import is_hub_id
from tui.services.hub_tokenizers import hub_tokenizer

CutTargets = Literal["exclude", "train"]
OverLong = Literal["refuse", "exclude"]


@dataclass(frozen=True, slots=True)
class Counting:
    """The encoder to count with; None for estimates, with the reason where there is more to say."""

    encoder: ChatEncoder | None
    reason: str = ""


def counting_with(base_model: str, host: str = LOCAL, *, may_fetch: bool = False) -> Counting:
    """The base model's own tokenizer, where it is on this machine.

    A model of the hub is looked for in the hub's cache, and fetched into it where `may_fetch`. A
    directory on another host is none of this machine's, whatever lies here at the same path.

    Raises:
        InvalidBaseModel: the tokenizer is here and cannot be read.
    """
    if is_hub_id(base_model):
        found = hub_tokenizer(base_model, may_fetch=may_fetch)
        if found.path is None:
            return Counting(None, found.reason)
        return Counting(read_encoder(found.path, base_model))
    if host != LOCAL and base_model not in BUILT_MODELS:
        return Counting(None)
    return Counting(find_encoder(base_model, load_config().agent_root / "models"))


def encoder_of(base_model: str, host: str = LOCAL) -> ChatEncoder | None:
    """The base model's own tokenizer, where it is on this machine; else None.

    Raises:
        InvalidBaseModel: the tokenizer is here and cannot be read.
    """
    return counting_with(base_model, host).encoder
