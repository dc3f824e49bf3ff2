"""What to do when memory runs out: less at once, and the same step again.

The loss of a step is a sum over tokens, so the update does not depend on how its rows are put into
micro-batches. A measure, once taken, stays for the rest of the run. It knows nothing of optimizers.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from peft import PeftModel

from agent.trainer.micro_batches import MicroBatch

Result = TypeVar("Result")

_SPELLINGS = ("CUBLAS_STATUS_ALLOC_FAILED", "DefaultCPUAllocator: can't allocate memory")
"""How torch 2.13 says it where it raises no `OutOfMemoryError`."""


def is_out_of_memory(error: BaseException) -> bool:
    """True if memory was what a computation lacked."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _SPELLINGS)


class MemoryGuard:
    """How much of a step goes through the model at once; lowered when memory runs out."""

    def __init__(self, model: PeftModel, pack_limit: int, tell: Callable[[str], None]) -> None:
        self._model = model
        self._tell = tell
        self.pack_limit = pack_limit
        """Tokens of a micro-batch of several rows; 0: every row is alone."""
        self.offloads = False
        """True once activations wait for the backward pass in the host's memory."""
        self._in_work: tuple[MicroBatch, int] = ((), 0)

    @property
    def measures(self) -> dict[str, Any]:
        """What was done so far, ready for JSON; for `restore` in the next attempt."""
        return {
            "pack_limit": self.pack_limit,
            "checkpointing": self._model.is_gradient_checkpointing,
            "offloads": self.offloads,
        }

    def restore(self, measures: dict[str, Any]) -> None:
        """Begin as small as an earlier attempt had to be."""
        if not measures:
            return
        self.pack_limit = min(self.pack_limit, measures["pack_limit"])
        self.offloads = measures["offloads"]
        if measures["checkpointing"]:
            self._checkpoint_activations()

    def enter(self, rows: MicroBatch, tokens: int) -> None:
        """Say which micro-batch comes next, so that it is known which one was too large."""
        self._in_work = (rows, tokens)

    def saved_activations(self) -> AbstractContextManager[object]:
        """Around each forward pass: where its activations wait."""
        if not self.offloads:
            return nullcontext()
        return torch.autograd.graph.save_on_cpu(pin_memory=True)

    def with_room(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, which is begun anew with less at once as often as that may help.

        Raises:
            torch.OutOfMemoryError: not even one row goes through with all that can be done; or
                another error of `work`.
        """
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                measure = self._next_measure() if is_out_of_memory(error) else None
                if measure is None:
                    raise
                complaint = str(error).strip().splitlines()[0][:200]
            # Only behind the handler: the traceback held every tensor of the failed pass.
            free_memory()
            self._tell(f"out of memory: {measure()}; the same step is done again ({complaint})")

    def _next_measure(self) -> Callable[[], str] | None:
        rows, _ = self._in_work
        if len(rows) > 1:
            return self._split
        if not self._model.is_gradient_checkpointing:
            return self._checkpoint_activations
        # Unverified on hardware. On a CPU it would move nothing anywhere.
        if torch.cuda.is_available() and not self.offloads:
            return self._offload
        return None

    def _split(self) -> str:
        rows, tokens = self._in_work
        self.pack_limit = tokens // 2
        return (
            f"a micro-batch of {len(rows)} rows and {tokens:,} tokens is split; from now on at "
            f"most {self.pack_limit:,} tokens"
        )

    def _checkpoint_activations(self) -> str:
        self._model.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False}
        )
        return "activations are computed again in the backward pass instead of kept"

    def _offload(self) -> str:
        self.offloads = True
        return "activations wait in the host's memory"


def free_memory() -> None:
    """Give back what nobody refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
