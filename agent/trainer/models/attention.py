"""Chooses the attention of a run, and lets rows share a micro-batch without seeing each other.

Rows that lie one behind the other in one sequence need an attention that stops at their borders.
FlashAttention's variable-length kernels do that; `sdpa_rows` does it with torch alone: every layer
works on the whole pack, and only the attention goes row by row. No mask is made, which for a pack
of 8k tokens would cost more than it saves. Nothing here knows of datasets or optimizers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.utils.import_utils import (
    is_flash_attn_2_available,
    is_flash_attn_3_available,
    is_kernels_available,
)

from shared.errors import InvalidJobSpec

SDPA_ROWS = "sdpa_rows"

_HOPPER = (9, 0)
_AMPERE = (8, 0)
"""Compute capabilities that FlashAttention 3 and 2 need (their READMEs, 2026-11)."""


@dataclass(frozen=True, slots=True)
class Attention:
    """What `from_pretrained` is given, whether rows may be packed with it, and why it is that."""

    implementation: str
    packs: bool
    reason: str

    @property
    def is_flash(self) -> bool:
        return self.implementation.startswith("flash_attention")

    def __str__(self) -> str:
        return f"{self.implementation} ({self.reason})"


def choose_attention(wanted: str, config: PreTrainedConfig) -> Attention:
    """The attention of a run with this model on this machine; `auto` takes the fastest.

    Raises:
        InvalidJobSpec: the job asks for one that this machine or this model cannot have.
    """
    fault = _why_rows_must_stay_apart(config)
    if wanted == "sdpa":
        return Attention("sdpa", False, "as the job asks")
    if wanted == SDPA_ROWS:
        if fault:
            raise InvalidJobSpec(f"attention = {wanted!r}: {fault}; use sdpa.")
        return Attention(SDPA_ROWS, True, "as the job asks")
    if wanted != "auto":
        missing = _why_no_flash(wanted)
        if missing:
            raise InvalidJobSpec(f"attention = {wanted!r}: {missing}; use auto or sdpa.")
        return Attention(wanted, not fault, "as the job asks")
    if fault:
        return Attention("sdpa", False, fault)
    if not torch.cuda.is_available():
        return Attention("sdpa", False, "on a CPU, packs take memory and save no time")
    for flash in ("flash_attention_3", "flash_attention_2"):
        if not _why_no_flash(flash):
            return Attention(flash, True, "variable-length kernels")
    return Attention(SDPA_ROWS, True, f"packed; {_why_no_flash('flash_attention_2')}")


def _why_rows_must_stay_apart(config: PreTrainedConfig) -> str:
    """Why rows of this model cannot be told apart without a mask; empty if they can."""
    text = config.get_text_config()
    layer_types = set(getattr(text, "layer_types", None) or ())
    if layer_types - {"full_attention"}:
        return f"{text.model_type} has layers of {', '.join(sorted(layer_types))}"
    if not layer_types and getattr(text, "sliding_window", None) is not None:
        return f"{text.model_type} looks at a sliding window"
    return ""


def _why_no_flash(implementation: str) -> str:
    """Why this FlashAttention cannot be had here; empty if it can. Loading it may still fail."""
    if not torch.cuda.is_available():
        return "there is no GPU"
    version = implementation.rpartition("_")[2]
    is_installed, capability = {
        "2": (is_flash_attn_2_available(), _AMPERE),
        "3": (is_flash_attn_3_available(), _HOPPER),
    }[version]
    if torch.cuda.get_device_capability() < capability:
        return f"FlashAttention {version} needs a newer GPU"
    # Without the package, transformers takes the kernel from the hub, through `kernels`.
    if not (is_installed or is_kernels_available()):
        return f"neither FlashAttention {version} nor the package kernels is installed"
    return ""


def attend_row_by_row(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    row_lengths: tuple[int, ...] = (),
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each row of a pack; (B, T, heads, head_dim), as transformers has it.

    `query` is (B, heads, T, head_dim); `key` and `value` may have fewer heads. `row_lengths` add up
    to T; without them this is transformers' own SDPA.
    """
    if len(row_lengths) < 2:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output, None
    kwargs["is_causal"] = True
    lengths = list(row_lengths)
    rows = zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True)
    outputs = [
        sdpa_attention_forward(module, row_query, row_key, row_value, None, **kwargs)[0]
        for row_query, row_key, row_value in rows
    ]
    return torch.cat(outputs, dim=1), None


def _mask(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    """None where rows are packed: the attention itself stops at their borders."""
    is_packed = kwargs.get("batch_size") == 1 and kwargs.get("attention_mask") is None
    make: Callable[..., torch.Tensor | None] = sdpa_mask
    return None if is_packed else make(*args, **kwargs)


AttentionInterface.register(SDPA_ROWS, attend_row_by_row)
AttentionMaskInterface.register(SDPA_ROWS, _mask)
