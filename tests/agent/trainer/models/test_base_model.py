from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from agent.trainer.models.base_model import BaseModelLocation, load_quantized


def test_a_model_that_one_gpu_cannot_hold_is_refused_with_what_would_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def from_pretrained(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 896.00 MiB")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_pretrained)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        load_quantized(BaseModelLocation("meta-llama/Llama-3.3-70B-Instruct", None))
    complaint = str(caught.value)
    assert complaint.startswith("meta-llama/Llama-3.3-70B-Instruct: one GPU has to hold all of")
    assert "the model is not spread over them" in complaint
    assert "896.00 MiB" in complaint
