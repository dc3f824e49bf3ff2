"""The sentences of the trainer that the advisor reads figures from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from transformers import LlamaConfig

from agent.trainer.memory_guard import MemoryGuard
from agent.trainer.models.attention import choose_attention
from shared.advice.advisor import suggestions
from shared.advice.memory import packs_that_did_not_fit
from shared.errors import InvalidJobSpec
from shared.lifecycle import StopReason
from tests.shared.advice.ended_jobs import ended_job, facts


def test_the_size_at_which_packs_fitted_is_read_from_the_guards_warnings() -> None:
    told: list[str] = []
    model = cast(Any, SimpleNamespace(is_gradient_checkpointing=True))
    guard = MemoryGuard(model, 8192, told.append)
    failures = iter([MemoryError("no room"), MemoryError("no room")])

    def work() -> None:
        guard.enter(cast(Any, (0, 1, 2)), guard.pack_limit)
        for failure in failures:
            raise failure

    guard.with_room(work)
    job = ended_job(StopReason.COMPLETED, facts=facts(), warnings=told)
    [suggestion] = packs_that_did_not_fit(job)
    assert suggestion.changes == {"pack_tokens": guard.pack_limit} == {"pack_tokens": 2048}
    assert "Memory ran out 2 times" in suggestion.reason


@pytest.mark.skipif(torch.cuda.is_available(), reason="here the attention can be had")
def test_an_attention_that_is_not_to_be_had_is_read_from_its_refusal() -> None:
    with pytest.raises(InvalidJobSpec) as refused:
        choose_attention("flash_attention_3", LlamaConfig())
    state, spec = {"detail": str(refused.value)}, {"attention": "flash_attention_3"}
    [suggestion] = suggestions(ended_job(StopReason.INVALID_JOB_SPEC, state=state, spec=spec))
    assert suggestion.changes == {"attention": "auto"}
