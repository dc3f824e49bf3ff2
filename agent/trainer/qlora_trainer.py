"""TRL's SFTTrainer with a few hooks replaced, each where the original falls short.

- `_wrap_model`: a model that gives the summed loss of a micro-batch, in place of upstream's wrapper
  for several processes (see `agent.trainer.scored_model`).
- `get_train_dataloader`: one row of our dataset is a whole optimizer step, the same for every
  process; upstream would deal the rows out.
- `training_step`: the rows of a step go through as micro-batches without padding, each loss divided
  by the supervised tokens of the *step*; so the gradient is that of one big batch, however its rows
  are put together, and a step that ran out of memory can be done again in smaller pieces.
- `_get_grad_norm`: a step whose loss or gradient is not finite is not applied.
- `evaluate`: held-out loss as a mean over tokens; upstream averages the means of batches.
- saving and restoring: our committed checkpoints (see `agent.trainer.checkpointing.checkpoints`).

The adapter is held in fp32 as well (`adapter_in_fp32`).

Everything else - optimizer, schedule, clipping, precision, devices, the loop - is upstream's.
"""

from __future__ import annotations

import math
import random
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader
from transformers import TrainerControl
from trl import SFTTrainer

from agent.trainer.batches import Example, TrainingData
from agent.trainer.checkpointing import best_adapter, checkpoints, restore
from agent.trainer.checkpointing.snapshot import Progress
from agent.trainer.guards import DivergenceAlert, EarlyStopping, NonFiniteGuard
from agent.trainer.memory_guard import MemoryGuard
from agent.trainer.micro_batches import MicroBatch, ModelInputs, model_inputs, pack
from agent.trainer.models.attention import Attention
from agent.trainer.parallel.replicas import Replicas
from agent.trainer.scored_model import ScoredModel
from shared import events
from shared.job_spec import JobSpec
from shared.lifecycle import Activity, JobStatus


class CheckpointSaver(Protocol):
    """Who is handed the live objects at the end of a step that is to be saved."""

    def save(self, control: TrainerControl, step: int, **live: Any) -> None: ...


class TrainingObserver(Protocol):
    """Who is told what happens; called between steps, never inside one."""

    def write(self, event: events.Event) -> None: ...


def the_only_row(rows: list[dict[str, list[int]]]) -> dict[str, list[int]]:
    """Collates nothing: a row of the plan, `{"examples": [...]}`, is a whole step."""
    (row,) = rows
    return row


def adapter_in_fp32(model: torch.nn.Module) -> None:
    """Hold the trained parameters in fp32.

    TRL leaves the adapter of a quantised base in bf16, and a reload would make it fp32: then a
    resumed run would differ from an uninterrupted one.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)


class QLoRATrainer(SFTTrainer):
    """Trains the plan of `data`, tells `observer`, and hands what is to be saved to `saver`."""

    def __init__(
        self,
        *,
        data: TrainingData,
        job: JobSpec,
        attention: Attention,
        observer: TrainingObserver,
        checkpoint_folders: Sequence[Path],
        best_folder: Path,
        saver: CheckpointSaver | None = None,
        replicas: Replicas | None = None,
        **kwargs: Any,
    ) -> None:
        self._data = data
        self._attention = attention
        self._observer = observer
        self._checkpoint_folders = checkpoint_folders
        self._best_folder = best_folder
        self._saver = saver
        self._replicas = replicas or Replicas.alone()
        self._seed = job.hyperparameters.seed
        self._lengths = [len(example.input_ids) for example in data.train]
        self._held_out_lengths = [len(example.input_ids) for example in data.held_out]
        self._non_finite = NonFiniteGuard(job.max_non_finite_steps)
        self._divergence = DivergenceAlert()
        self.early_stopping = EarlyStopping(job.early_stopping_patience)
        self.progress = Progress()
        self._skip: tuple[str, float] | None = None
        self._step_loss = math.nan
        self._step_began = time.monotonic()
        super().__init__(data_collator=the_only_row, **kwargs)
        adapter_in_fp32(self.model)
        self._scored = ScoredModel(self.model, attention, self.accelerator.autocast)
        pack_limit = job.pack_tokens if attention.packs else 0
        self.memory = MemoryGuard(self.model, pack_limit, self._warn)

    # --- one optimizer step -------------------------------------------------------------------

    def _wrap_model(
        self,
        model: torch.nn.Module,
        training: bool = True,
        dataloader: DataLoader[Any] | None = None,
    ) -> torch.nn.Module:
        return self._scored

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Every step in order, one at a time, without workers: there is nothing to prepare."""
        return DataLoader(self.train_dataset, batch_size=1, collate_fn=the_only_row)

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, list[int]],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Gradients of a whole step; returns its mean loss over supervised tokens, a scalar."""
        self._step_began = time.monotonic()
        model.train()
        rows = inputs["examples"]
        supervised = sum(self._data.train[row].supervised_tokens for row in rows)
        own = [rows[i] for i in self._replicas.share([self._lengths[row] for row in rows])]
        loss = self.memory.with_room(lambda: self._gradients(model, own, supervised))
        self._remember()
        self._replicas.add_gradients(self._trained_parameters())
        self._step_loss = self._replicas.total(loss)
        is_finite = math.isfinite(self._step_loss)
        self._skip = None if is_finite else ("loss", self._step_loss)
        # Upstream's running total would never be rid of a NaN again.
        return torch.tensor(self._step_loss if is_finite else 0.0, device=self.args.device)

    def _gradients(self, model: torch.nn.Module, rows: list[int], supervised: int) -> float:
        """Forward and backward of this process's rows, from no gradients at all; their loss."""
        model.zero_grad()
        loss = torch.zeros((), device=self.args.device)
        step = self.state.global_step + 1
        for rows_together, inputs in self._micro_batches(self._data.train, self._lengths, rows):
            self._seed_dropout(step, rows_together)
            loss += self._loss_with_gradients(model, inputs, supervised)
        return loss.item()

    def _micro_batches(
        self, examples: Sequence[Example], lengths: Sequence[int], rows: Sequence[int]
    ) -> Iterator[tuple[MicroBatch, ModelInputs]]:
        """The rows in packs, each with its tensors on the device, of which one is held at a time.

        `lengths` are those of all `examples`, in tokens.
        """
        for rows_together in pack(rows, lengths, self.memory.pack_limit):
            self.memory.enter(rows_together, sum(lengths[row] for row in rows_together))
            inputs = model_inputs([examples[row] for row in rows_together])
            yield rows_together, inputs.to(self.args.device)

    def _loss_with_gradients(
        self, model: torch.nn.Module, inputs: ModelInputs, supervised: int
    ) -> torch.Tensor:
        with self.memory.saved_activations():
            loss = self.compute_loss(model, inputs, num_items_in_batch=supervised)
            self.accelerator.backward(loss)
        return loss.detach()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Summed loss of a micro-batch over `num_items_in_batch`, a scalar in nats."""
        return model(inputs) / num_items_in_batch

    def _seed_dropout(self, step: int, rows: MicroBatch) -> None:
        """Dropout follows from step and rows: whatever was interrupted, done again, or shared."""
        torch.manual_seed(random.Random(f"{self._seed}:{step}:{rows}").getrandbits(63))

    def _trained_parameters(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def _get_grad_norm(
        self, model: torch.nn.Module, grad_norm: torch.Tensor | float | None = None
    ) -> float:
        """The norm before clipping; where loss or norm is not finite, no gradient is left."""
        norm = float(super()._get_grad_norm(model, grad_norm=grad_norm))
        if self._skip is None and not math.isfinite(norm):
            self._skip = ("grad_norm", norm)
        if self._skip is None:
            self._non_finite.passed()
            return norm
        # An optimizer passes over parameters without a gradient: neither they nor its state change.
        model.zero_grad(set_to_none=True)
        name, value = self._skip
        step = self.state.global_step + 1
        if self._non_finite.is_last:
            self._report_step(step, self._get_learning_rate(), self._step_loss, norm)
        self._warn(self._non_finite.skipped(name, value, step))
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Called once after every optimizer step, and at the end with totals we do not use."""
        if "loss" in logs:
            step = self.state.global_step
            self._report_step(step, logs["learning_rate"], self._step_loss, logs["grad_norm"])
            if self._skip is None:
                self.progress.final_loss = self._step_loss
                alert = self._divergence.after_step(step, self._step_loss)
                if alert:
                    self._warn(alert)
        super().log(logs, start_time)

    def _warn(self, message: str) -> None:
        print(message, flush=True)
        self._observer.write(events.LogLine(level="warning", message=message))

    def _report_step(
        self, number: int, learning_rate: float, loss: float, grad_norm: float | None
    ) -> None:
        step = self._data.steps[number - 1]
        examples = [self._data.train[index] for index in step.examples]
        if self._replicas.is_first:
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
        step = self.state.global_step
        self._enter(Activity.EVALUATING)
        was_training = self._scored.training
        self._scored.eval()
        own = self._replicas.share(self._held_out_lengths)
        loss = self._replicas.total(self.memory.with_room(lambda: self._held_out_loss(own)))
        self._scored.train(was_training)
        self._enter(Activity.TRAINING)
        self.progress.eval_loss = loss
        if step == 0:
            self.progress.base_eval_loss = loss
        else:
            self._stop_early(step, loss)
        self._observer.write(
            events.Evaluation(
                step=step,
                epoch=self._data.steps[step - 1].epoch_end if step else 0.0,
                supervised_tokens=self._data.held_out_tokens,
                **events.finite(loss=loss),
            )
        )
        return {"eval_loss": loss}

    def _stop_early(self, step: int, loss: float) -> None:
        """End the run here where held-out loss has stopped falling, and the job asks for that."""
        early = self.early_stopping
        if early.patience is None:
            return
        if early.after_evaluation(step, loss) and self._replicas.is_first:
            checkpoints.with_room(
                self._checkpoint_folders,
                lambda: best_adapter.keep(self._best_folder, self.model, step, loss),
            )
        if early.is_over:
            self._warn(
                f"early stopping: no held-out loss below {early.best_loss:.4f} of step "
                f"{early.best_step} in {early.without_better} evaluations; the adapter of that "
                "step is kept"
            )
            # Looked at by upstream's loop as soon as this evaluation is over.
            self.control.should_save = self.control.should_training_stop = True
        self._remember()

    def _remember(self) -> None:
        self.progress.guards = {
            "memory": self.memory.measures,
            "early_stopping": asdict(self.early_stopping),
        }

    def recall(self, checkpoint: Path) -> None:
        """Know what the guards and the figures of the saved run had come to, before it goes on."""
        self.progress = restore.read_progress(checkpoint)
        guards = self.progress.guards
        self.memory.restore(guards.get("memory", {}))
        # What this job asks for holds, whatever the one asked for that wrote the checkpoint.
        told = {**guards.get("early_stopping", {}), "patience": self.early_stopping.patience}
        self.early_stopping = EarlyStopping(**told)

    def _held_out_loss(self, rows: Sequence[int]) -> float:
        """This process's share of the mean."""
        packs = self._micro_batches(self._data.held_out, self._held_out_lengths, rows)
        loss, supervised = 0.0, self._data.held_out_tokens
        with torch.no_grad():
            for _, inputs in packs:
                loss += (self._scored(inputs) / supervised).item()
        return loss

    def _enter(self, activity: Activity) -> None:
        self._observer.write(events.StageEntered(status=JobStatus.TRAINING, activity=activity))

    # --- checkpoints --------------------------------------------------------------------------

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        if self._saver is None or not self._replicas.is_first:
            return
        self._saver.save(
            self.control,
            self.state.global_step,
            model=self.model,
            optimizer=self.optimizer,
            scheduler=self.lr_scheduler,
            progress=self.progress,
            trainer_state=asdict(replace(self.state, log_history=[])),
        )

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        restore.restore_parameters(Path(resume_from_checkpoint), self.model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        if not restore.restore_optimizer(Path(checkpoint), self.optimizer, self.lr_scheduler):
            self._warn("the checkpoint is of another optimizer: this one begins without a state")

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            restore.restore_generators(Path(checkpoint))

    def _load_scaler(self, checkpoint: str | None) -> None:
        """bf16 needs no gradient scaler."""


def peak_memory_bytes() -> int:
    """Peak memory: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
