"""The model as training sees it: a micro-batch in, one summed loss out.

It stands where Trainer would put DistributedDataParallel: that wrapper adds gradients up after
every micro-batch of every process, which must then hold equally many. Ours adds them up once a
step, whatever each process had to do for it (see `agent.trainer.parallel.replicas`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from peft import PeftModel

from agent.trainer.loss import has_plain_head, summed_loss, summed_loss_of_logits
from agent.trainer.micro_batches import ModelInputs
from agent.trainer.models.attention import Attention


class ScoredModel(torch.nn.Module):
    """`forward` gives the sum of the negative log-likelihoods of a micro-batch, in nats."""

    def __init__(
        self,
        model: PeftModel,
        attention: Attention,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        super().__init__()
        self.model = model
        self._attention = attention
        # Accelerate puts autocast around the forward of a model that it prepares; not of this one.
        self._autocast = autocast

    def forward(self, inputs: ModelInputs) -> torch.Tensor:
        """A scalar in fp32; zero, but with gradients, where nothing is trained."""
        base = self.model.get_base_model()
        keywords = {
            "input_ids": inputs.input_ids,
            "use_cache": False,
            **inputs.keywords(self._attention),
        }
        with self._autocast():
            if not has_plain_head(base.config):
                return summed_loss_of_logits(base(**keywords).logits, inputs.labels)
            hidden_states = base.base_model(**keywords).last_hidden_state
            return summed_loss(hidden_states, inputs.labels, base.get_output_embeddings())
