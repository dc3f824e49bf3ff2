"""One attempt of one job, from the training file to a committed adapter; reads top to bottom.

Whatever kills this process, the checkpoints that were committed stay usable, and the next attempt
goes on from the newest of them with the same numbers.
"""

from __future__ import annotations

import math
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import (
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.utils.logging import disable_progress_bar
from trl import SFTConfig

from agent.run_directory import AttemptDirectory, AttemptSpec, checkpoint_step
from agent.trainer import checkpoints
from agent.trainer.adapter import RunResult, package_versions, save_adapter, text_sha256
from agent.trainer.base_model import (
    QUANTIZATION,
    backend,
    compute_dtype,
    load_quantized,
    load_tokenizer,
    locate,
    template_renderer,
)
from agent.trainer.batches import TrainingData, prepare
from agent.trainer.event_writer import EventWriter
from agent.trainer.failures import Terminated
from agent.trainer.qlora_trainer import QLoRATrainer
from shared import events, manifest
from shared.chat_format import choose_chat_format
from shared.dataset.step_plan import Step
from shared.errors import DatasetChanged
from shared.lifecycle import Activity, JobStatus, StopReason

CHECKPOINT_SHARE = 0.02
"""Saving may cost this share of the training time where no interval is given."""

CHECKPOINTS_KEPT = 3

MAX_GRAD_NORM = 1.0


def train(directory: AttemptDirectory, writer: EventWriter) -> StopReason | None:
    """Run the attempt; returns a reason to stop here, or None once the adapter is committed.

    Raises:
        InvalidInput: dataset, base model or chat template cannot be trained.
        CheckpointRejected: a sound checkpoint of this job belongs to other settings.
        NonFinite: loss or gradient is NaN or infinite; the last good checkpoint is kept.
        Terminated: SIGTERM arrived while training.
    """
    spec = directory.read_spec()
    job = spec.job
    interrupt = Interrupt()
    disable_progress_bar()

    # The training file, exactly the bytes that were checked before the start.
    enter(writer, JobStatus.PREPROCESSING, Activity.CHECKING_DATASET)
    if manifest.file_sha256(spec.dataset_path) != job.dataset.sha256:
        raise DatasetChanged(f"{job.dataset.file_name}: is not the file that was checked")
    enter(writer, JobStatus.PREPROCESSING, Activity.PREPARING_MODEL, job.base_model)
    location = locate(job.base_model, job.base_model_revision, spec.models_directory)
    tokenizer = load_tokenizer(location)
    render = template_renderer(tokenizer)
    encoder = choose_chat_format(backend(tokenizer), render)
    data = prepare(spec.dataset_path, job, encoder, render)
    for warning in data.warnings:
        writer.write(events.LogLine(level="warning", message=warning))

    # The model: NF4 base, LoRA on top, parameters of the adapter in fp32.
    enter(writer, JobStatus.PREPROCESSING, Activity.LOADING_MODEL, location.name_or_path)
    model = load_quantized(location)
    fingerprint = describe_run(spec, text_sha256(str(tokenizer.chat_template)))
    has_held_out = bool(data.held_out)
    saver = CheckpointSchedule(directory, writer, spec, data.steps, has_held_out, interrupt)
    set_seed(job.hyperparameters.seed)
    trainer = QLoRATrainer(
        data=data,
        observer=writer,
        checkpoint_folder=directory.checkpoints_path,
        fingerprint=fingerprint,
        on_checkpoint=saver.committed,
        model=model,
        args=training_arguments(directory, spec, len(data.steps)),
        train_dataset=Dataset.from_list([{"examples": list(step.examples)} for step in data.steps]),
        processing_class=tokenizer,
        peft_config=lora_config(spec),
        callbacks=[saver],
    )
    trainer.remove_callback(PrinterCallback)
    facts = run_facts(spec, data, trainer)
    writer.write(facts)
    enter(writer, JobStatus.MODEL_LOADED, Activity.TRAINING)

    # The newest checkpoint that verifies, of this attempt or an earlier one.
    folders = [attempt.checkpoints_path for attempt in (directory, *directory.earlier())]
    resume_from, refused = checkpoints.newest_valid(folders, fingerprint)
    for path, reason in refused:
        writer.write(events.CheckpointRefused(path=str(path), reason=reason))
    if resume_from is not None:
        step = checkpoint_step(resume_from.name) or 0
        writer.write(events.Resumed(step=step, path=str(resume_from)))

    enter(writer, JobStatus.TRAINING, Activity.TRAINING)
    trainer.args.eval_on_start = has_held_out and resume_from is None and not job.dry_run
    trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    if job.dry_run:
        return StopReason.DRY_RUN_PASSED
    if interrupt.terminated and trainer.state.global_step < len(data.steps):
        raise Terminated(f"SIGTERM; checkpoint at step {trainer.state.global_step} committed")

    enter(writer, JobStatus.TRAINING, Activity.SAVING_ADAPTER)
    assert isinstance(trainer.model, PeftModel)
    result = RunResult(
        facts=facts,
        progress=trainer.progress,
        chat_format=encoder.chat_format.name,
        chat_template_sha256=fingerprint["chat_template_sha256"],
    )
    saved = checkpoints.with_room(
        directory.checkpoints_path,
        partial(save_adapter, directory.adapter_path, trainer.model, tokenizer, spec, result),
    )
    writer.write(
        events.AdapterSaved(
            path=str(directory.adapter_path),
            manifest_sha256=manifest.manifest_sha256(directory.adapter_path),
            size_bytes=sum(file["size_bytes"] for file in saved["files"].values()),
        )
    )
    return None


def enter(writer: EventWriter, status: JobStatus, activity: Activity, detail: str = "") -> None:
    """Say what comes next."""
    writer.write(events.StageEntered(status=status, activity=activity, detail=detail))


# --- from the public names to the upstream libraries' names -----------------------------------


def training_arguments(
    directory: AttemptDirectory, spec: AttemptSpec, total_steps: int
) -> SFTConfig:
    """The job's hyperparameters as TRL's; one row of the dataset is one optimizer step."""
    chosen = spec.job.hyperparameters
    on_cuda = torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(directory.checkpoints_path),
        max_steps=total_steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=1,
        learning_rate=chosen.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(chosen.warmup_ratio * total_steps),
        weight_decay=chosen.weight_decay,
        max_grad_norm=MAX_GRAD_NORM,
        optim=optimizer_name(spec),
        seed=chosen.seed,
        bf16=on_cuda,
        use_cpu=not on_cuda,
        activation_checkpointing=on_cuda,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        dataloader_pin_memory=False,
        logging_strategy="steps",
        logging_steps=1,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def lora_config(spec: AttemptSpec) -> LoraConfig:
    """The adapter: LoRA on the chosen projections, nothing else trained or saved."""
    chosen = spec.job.hyperparameters
    return LoraConfig(
        r=chosen.lora_r,
        lora_alpha=chosen.lora_alpha,
        lora_dropout=chosen.lora_dropout,
        target_modules=list(chosen.target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )


def optimizer_name(spec: AttemptSpec) -> str:
    """`auto`: paged 8-bit AdamW on CUDA, where its memory counts; torch's AdamW elsewhere."""
    if spec.job.optim != "auto":
        return spec.job.optim
    return "paged_adamw_8bit" if torch.cuda.is_available() else "adamw_torch"


def describe_run(spec: AttemptSpec, chat_template_sha256: str) -> checkpoints.Fingerprint:
    """What must be the same for a checkpoint to continue this run bit for bit."""
    job = spec.job
    return {
        "dataset_sha256": job.dataset.sha256,
        "base_model": job.base_model,
        "base_model_revision": job.base_model_revision,
        "chat_template_sha256": chat_template_sha256,
        "hyperparameters": job.hyperparameters.model_dump(mode="json"),
        "cut_targets": job.cut_targets,
        "over_long": job.over_long,
        "optim": optimizer_name(spec),
        "versions": package_versions(),
    }


def run_facts(spec: AttemptSpec, data: TrainingData, trainer: QLoRATrainer) -> events.RunFacts:
    """What is about to be trained, counted from the encoded examples and the model itself."""
    on_cuda = torch.cuda.is_available()
    return events.RunFacts(
        conversations=len({example.conversation_id for example in data.train}),
        held_out_conversations=len({example.conversation_id for example in data.held_out}),
        targets=data.targets,
        tokens_per_epoch=sum(len(example.input_ids) for example in data.train),
        supervised_tokens_per_epoch=sum(example.supervised_tokens for example in data.train),
        total_steps=len(data.steps),
        trainable_parameters=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        base_model=spec.job.base_model,
        base_model_revision=spec.job.base_model_revision,
        device=torch.cuda.get_device_name() if on_cuda else "cpu",
        optim=optimizer_name(spec),
        quantization=f"{QUANTIZATION}, {str(compute_dtype()).removeprefix('torch.')} compute",
        versions=package_versions(),
    )


# --- when to save, and when to stop -----------------------------------------------------------


class Interrupt:
    """Signals that ask for something at the end of the current step."""

    def __init__(self) -> None:
        self.terminated = False
        self.wants_checkpoint = False
        signal.signal(signal.SIGUSR1, self._on_checkpoint)

    def catch_sigterm(self) -> None:
        """From here on SIGTERM finishes the step and saves; before, it just ends the process."""
        signal.signal(signal.SIGTERM, self._on_terminate)

    def _on_terminate(self, number: int, frame: FrameType | None) -> None:
        self.terminated = True

    def _on_checkpoint(self, number: int, frame: FrameType | None) -> None:
        self.wants_checkpoint = True


@dataclass
class CheckpointSchedule(TrainerCallback):
    """Decides after each step: save, evaluate, stop. Knows nothing of how that is done."""

    directory: AttemptDirectory
    writer: EventWriter
    spec: AttemptSpec
    steps: list[Step]
    has_held_out: bool
    interrupt: Interrupt
    save_cost_s: float = 0.0
    last_saved_at: float = 0.0

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        self.interrupt.catch_sigterm()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        is_last = state.global_step == len(self.steps)
        if self.spec.job.dry_run:
            return
        ends_epoch = self.steps[state.global_step - 1].epoch_end.is_integer()
        # Over no conversations at all, a loss of 0 would come out.
        control.should_evaluate = self.has_held_out and ends_epoch
        control.should_save = is_last or self._is_due(state.global_step)
        control.should_training_stop = is_last or self.interrupt.terminated

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        # Upstream looks at the flags again here; the last step has already done both.
        control.should_evaluate = control.should_save = False

    def _is_due(self, step: int) -> bool:
        if self.interrupt.terminated or self.interrupt.wants_checkpoint:
            return True
        if self.spec.job.checkpoint_interval_steps is not None:
            return step % self.spec.job.checkpoint_interval_steps == 0
        since_last_s = time.monotonic() - self.last_saved_at
        return self.save_cost_s <= CHECKPOINT_SHARE * since_last_s

    def committed(self, path: Path, step: int, seconds: float) -> None:
        """A checkpoint is on the disk: say so, and let the oldest go."""
        self.save_cost_s = seconds
        self.last_saved_at = time.monotonic()
        self.interrupt.wants_checkpoint = False
        size_bytes = sum(entry.stat().st_size for entry in path.iterdir())
        self.writer.write(
            events.CheckpointCommitted(
                step=step,
                path=str(path),
                manifest_sha256=manifest.manifest_sha256(path),
                size_bytes=size_bytes,
                seconds=seconds,
            )
        )
        checkpoints.prune(path.parent, keep=CHECKPOINTS_KEPT)
