"""TRL's SFTTrainer with a few hooks replaced, each where the original falls short.

- `training_step`: one row of our dataset is a whole optimizer step. Its conversations go through as
  micro-batches without padding, each loss divided by the supervised tokens of the *step*; so the
  gradient is that of one big batch, however many conversations it took to fill it.
- `compute_loss`: supervised positions only, on every device (see `agent.trainer.loss`).
- `_get_grad_norm`: a norm that is not finite stops the run before the optimizer applies it.
- `evaluate`: held-out loss as a mean over tokens; upstream averages the means of batches.
- saving and restoring: our committed checkpoints (see `agent.trainer.checkpoints`).

The adapter is held in fp32 as well (`adapter_in_fp32`).

Everything else - optimizer, schedule, clipping, precision, devices, the loop - is upstream's.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from trl import SFTTrainer

from agent.trainer import checkpoints
from agent.trainer.batches import Example, TrainingData
from agent.trainer.failures import NonFinite, is_disk_full
from agent.trainer.loss import has_plain_head, summed_loss
from shared import events

MicroBatch = dict[str, torch.Tensor]


class TrainingObserver(Protocol):
    """Who is told what happens; called between steps, never inside one."""

    def write(self, event: events.Event) -> None: ...


def micro_batch(example: Example) -> MicroBatch:
    """One conversation as a batch: `input_ids`, `labels`, `attention_mask`, all (1, T)."""
    input_ids = torch.tensor([example.input_ids])
    return {
        "input_ids": input_ids,
        "labels": torch.tensor([example.labels]),
        "attention_mask": torch.ones_like(input_ids),
    }


class StepCollator:
    """Turns one row of the plan, `{"examples": [...]}`, into the micro-batches of that step."""

    def __init__(self, examples: list[Example]) -> None:
        self._examples = examples

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, list[MicroBatch]]:
        (row,) = rows
        return {"micro_batches": [micro_batch(self._examples[i]) for i in row["examples"]]}


def adapter_in_fp32(model: torch.nn.Module) -> None:
    """Hold the trained parameters in fp32.

    TRL leaves the adapter of a quantised base in bf16, and a reload would make it fp32: then a
    resumed run would differ from an uninterrupted one.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)


class QLoRATrainer(SFTTrainer):
    """Trains the plan of `data`, tells `observer`, and commits checkpoints into `folder`."""

    def __init__(
        self,
        *,
        data: TrainingData,
        observer: TrainingObserver,
        checkpoint_folder: Path,
        fingerprint: checkpoints.Fingerprint,
        on_checkpoint: Callable[[Path, int, float], None],
        **kwargs: Any,
    ) -> None:
        self._data = data
        self._observer = observer
        self._checkpoint_folder = checkpoint_folder
        self._fingerprint = fingerprint
        self._on_checkpoint = on_checkpoint
        self.progress = checkpoints.Progress()
        self._step_loss = math.nan
        self._step_began = time.monotonic()
        super().__init__(data_collator=StepCollator(data.train), **kwargs)
        adapter_in_fp32(self.model)

    # --- one optimizer step -------------------------------------------------------------------

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, list[MicroBatch]],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Forward and backward of every micro-batch; returns the step's loss, a scalar."""
        self._step_began = time.monotonic()
        micro_batches = inputs["micro_batches"]
        supervised = sum(int((batch["labels"] != -100).sum()) for batch in micro_batches)
        loss = torch.zeros((), device=self.args.device)
        for batch in micro_batches:
            loss += super().training_step(model, batch, num_items_in_batch=supervised)
        self._require_finite("loss", loss.item(), loss=loss.item())
        self._step_loss = loss.item()
        return loss

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: MicroBatch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Summed loss of a micro-batch over `num_items_in_batch`, a scalar in nats."""
        base = self.model.get_base_model()
        if return_outputs or num_items_in_batch is None or not has_plain_head(base.config):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # Accelerate puts autocast around the model's own forward, which is not called here.
        with self.accelerator.autocast():
            backbone = base.base_model(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                use_cache=False,
            )
            loss = summed_loss(
                backbone.last_hidden_state, inputs["labels"], base.get_output_embeddings()
            )
        return loss / num_items_in_batch

    def _get_grad_norm(
        self, model: torch.nn.Module, grad_norm: torch.Tensor | float | None = None
    ) -> float:
        norm = float(super()._get_grad_norm(model, grad_norm=grad_norm))
        self._require_finite("grad_norm", norm, loss=self._step_loss, grad_norm=norm)
        return norm

    def _require_finite(self, name: str, value: float, **numbers: float) -> None:
        """Show the raw value and stop, before the optimizer applies it."""
        if not math.isfinite(value):
            number = self.state.global_step + 1
            self._report_step(number, self._get_learning_rate(), **numbers)
            raise NonFinite(name, value, number)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Called once after every optimizer step, and at the end with totals we do not use."""
        if "loss" in logs:
            self._report_step(
                self.state.global_step,
                logs["learning_rate"],
                loss=logs["loss"],
                grad_norm=logs["grad_norm"],
            )
            self.progress.final_loss = logs["loss"]
        super().log(logs, start_time)

    def _report_step(
        self, number: int, learning_rate: float, *, loss: float, grad_norm: float | None = None
    ) -> None:
        step = self._data.steps[number - 1]
        examples = [self._data.train[index] for index in step.examples]
        print(f"step {number}/{len(self._data.steps)}  loss {loss:.4f}", flush=True)
        self._observer.write(
            events.Metrics(
                step=number,
                epoch=step.epoch_end,
                **events.finite(loss=loss, grad_norm=grad_norm, learning_rate=learning_rate),
                tokens=sum(len(example.input_ids) for example in examples),
                supervised_tokens=sum(example.supervised_tokens for example in examples),
                step_s=time.monotonic() - self._step_began,
                memory_bytes=peak_memory_bytes(),
            )
        )

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: upstream expects `input_ids` at the top of a batch."""
        return 0

    # --- held-out loss ------------------------------------------------------------------------

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Mean loss over the supervised tokens of the held-out examples, in nats."""
        total = sum(example.supervised_tokens for example in self._data.held_out)
        was_training = self.model.training
        self.model.eval()
        loss = 0.0
        with torch.no_grad(), self.compute_loss_context_manager():
            for example in self._data.held_out:
                batch = self._prepare_inputs(micro_batch(example))
                loss += self.compute_loss(self.model, batch, num_items_in_batch=total).item()
        self.model.train(was_training)
        step = self.state.global_step
        self.progress.eval_loss = loss
        if step == 0:
            self.progress.base_eval_loss = loss
        self._observer.write(
            events.Evaluation(
                step=step,
                epoch=self._data.steps[step - 1].epoch_end if step else 0.0,
                supervised_tokens=total,
                **events.finite(loss=loss),
            )
        )
        return {"eval_loss": loss}

    # --- checkpoints --------------------------------------------------------------------------

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        began = time.monotonic()
        step = self.state.global_step
        try:
            directory = checkpoints.with_room(self._checkpoint_folder, self._commit_checkpoint)
        except OSError as error:
            if not is_disk_full(error):
                raise
            # The run is worth more than one checkpoint: the last committed one still stands.
            message = f"checkpoint of step {step} not saved, the disk is full: {error}"
            self._observer.write(events.LogLine(level="error", message=message))
            return
        self._on_checkpoint(directory, step, time.monotonic() - began)

    def _commit_checkpoint(self) -> Path:
        step = self.state.global_step
        return checkpoints.save(
            self._checkpoint_folder,
            step,
            model=self.model,
            optimizer=self.optimizer,
            scheduler=self.lr_scheduler,
            progress=self.progress,
            trainer_state=asdict(replace(self.state, log_history=[])),
            fingerprint=self._fingerprint,
        )

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        checkpoints.restore_parameters(Path(resume_from_checkpoint), self.model)
        self.progress = checkpoints.read_progress(Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            checkpoints.restore_optimizer(Path(checkpoint), self.optimizer, self.lr_scheduler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            checkpoints.restore_generators(Path(checkpoint))

    def _load_scaler(self, checkpoint: str | None) -> None:
        """bf16 needs no gradient scaler."""


def peak_memory_bytes() -> int:
    """Peak memory: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
