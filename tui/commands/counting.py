"""The tokenizer that a command counts with: fetched if need be; why it cannot be, is said."""

from __future__ import annotations

from shared.chat_format import ChatEncoder
from tui.commands.output import say
from tui.services.hosts.names import LOCAL
from tui.services.inspection import counting_with


def counting_encoder(base_model: str, host: str = LOCAL) -> ChatEncoder | None:
    """The base model's own tokenizer; None for estimates, after saying why if that can be mended.

    Raises:
        InvalidBaseModel: the tokenizer is here and cannot be read.
    """
    counting = counting_with(base_model, host, may_fetch=True)
    if counting.reason:
        say(f"token counts are estimates: {counting.reason}.")
    return counting.encoder
