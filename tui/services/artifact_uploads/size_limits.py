"""Whether Supabase Storage would take a job's adapter, said before it is trained.

Supabase is asked briefly. Where none is named, or none answers, nothing is said: that stops no job.
"""

from __future__ import annotations

import asyncio

from shared.errors import BrightRunError, InvalidBaseModel
from shared.job_spec import JobSpec
from shared.model_shape import ModelShape
from shared.number_text import size
from tui.config import Config
from tui.services.memory_check import Prediction
from tui.services.supabase.settings import BUCKET, load_settings

_BYTES_A_PARAMETER = 2
"""Adapters are saved in bf16."""
_PATIENCE_S = 5.0


def adapter_bytes(spec: JobSpec, shape: ModelShape | None) -> int | None:
    """The weights of the adapter to come; None where the base model's shape is not known.

    70B with rank 16 on all seven projections is 414 MB.
    """
    if shape is None:
        return None
    chosen = spec.hyperparameters
    try:
        adapted = shape.adapted(tuple(chosen.target_modules))
    except InvalidBaseModel:
        return None
    sizes = sum(linear.in_features + linear.out_features for linear in adapted)
    return shape.num_hidden_layers * chosen.lora_r * sizes * _BYTES_A_PARAMETER


def expected_adapter_bytes(memory: Prediction) -> int | None:
    """The same by what is foreseen of the job's memory; None where that is not known."""
    return None if memory.need is None else memory.need.plan.lora_parameters * _BYTES_A_PARAMETER


async def upload_warning(config: Config, expected_bytes: int | None) -> str:
    """A sentence on an adapter that is too large for the project; "" where none is due."""
    if expected_bytes is None:
        return ""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            limit = await _most_bytes(config)
    except (BrightRunError, TimeoutError):
        return ""
    if limit is None or expected_bytes <= limit:
        return ""
    return (
        f"The adapter will have about {size(expected_bytes)}, and Supabase takes files of "
        f"{size(limit)} at most: raise the size limit of the bucket {BUCKET} and of the project "
        "(the free plan allows 50 MB), or the adapter stays here."
    )


async def _most_bytes(config: Config) -> int | None:
    settings = load_settings()
    if settings is None:
        return None
    from tui.services.supabase.connection import connected
    from tui.services.supabase.storage import Storage

    async with connected(settings, config.supabase_session_path) as supabase:
        return await Storage(supabase).most_bytes()
