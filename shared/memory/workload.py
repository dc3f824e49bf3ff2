"""What a training run's memory depends on, and how the trainer's own choices settle it.

Knows the job spec and the shape of the model; neither torch nor any machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from shared.hyperparameters import LLAMA_PROJECTIONS
from shared.job_spec import JobSpec
from shared.model_shape import LinearShape, ModelShape


@dataclass(frozen=True, slots=True)
class Workload:
    """One replica of a run; several have one such need each."""

    shape: ModelShape
    longest_row_tokens: int
    """Of the rows that are trained: at most max_seq_length."""
    pack_tokens: int = 0
    """Rows are put together up to so many tokens; 0: every row stays alone."""
    step_tokens: int | None = None
    """Of the largest optimizer step, which no pack can exceed; None: not known."""
    lora_r: int = 16
    lora_dropout: float = 0.05
    target_modules: tuple[str, ...] = LLAMA_PROJECTIONS
    optim: str = "paged_adamw_8bit"
    on_gpu: bool = True
    """bf16 compute and activation checkpointing; on a CPU fp32 and none."""

    @classmethod
    def of(
        cls,
        spec: JobSpec,
        shape: ModelShape,
        *,
        longest_row_tokens: int,
        step_tokens: int | None = None,
        on_gpu: bool,
    ) -> Self:
        """As the trainer would run the job; see `choose_attention` there."""
        chosen = spec.hyperparameters
        packs = on_gpu if spec.attention == "auto" else spec.attention != "sdpa"
        return cls(
            shape=shape,
            longest_row_tokens=min(longest_row_tokens, chosen.max_seq_length),
            pack_tokens=spec.pack_tokens if packs and shape.attends_to_all else 0,
            step_tokens=step_tokens,
            lora_r=chosen.lora_r,
            lora_dropout=chosen.lora_dropout,
            target_modules=chosen.target_modules,
            optim=spec.optimizer(on_cuda=on_gpu),
            on_gpu=on_gpu,
        )

    @property
    def micro_batch_tokens(self) -> int:
        """Most tokens that go through the model together."""
        packed = self.pack_tokens
        if self.step_tokens is not None:
            packed = min(packed, self.step_tokens)
        return max(self.longest_row_tokens, packed)

    @property
    def adapted(self) -> tuple[LinearShape, ...]:
        """The linear layers of one block that get an adapter.

        Raises:
            InvalidBaseModel: the model has no layer of a wanted name.
        """
        return self.shape.adapted(self.target_modules)

    @property
    def lora_parameters(self) -> int:
        """A (r, in) and B (out, r) of every adapted layer."""
        sizes = sum(linear.in_features + linear.out_features for linear in self.adapted)
        return self.shape.num_hidden_layers * self.lora_r * sizes

    def with_rows_up_to(self, tokens: int) -> Workload:
        """The same with longer rows left out."""
        return replace(self, longest_row_tokens=min(self.longest_row_tokens, tokens))
