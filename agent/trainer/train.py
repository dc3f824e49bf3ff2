"""One attempt of one job, from the training file to a committed adapter; reads top to bottom.

Whatever kills this process, the checkpoints that were committed stay usable, and the next attempt
goes on from the newest of them with the same numbers.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    PrinterCallback,
    set_seed,
)
from transformers.utils.logging import disable_progress_bar
from trl import SFTConfig

from agent.run_directory import AttemptDirectory, AttemptSpec, checkpoint_step
from agent.trainer.adapters.adapter import answers_as_published, package_versions, save_adapter
from agent.trainer.adapters.model_card import RunResult
from agent.trainer.batches import TrainingData, prepare
from agent.trainer.checkpointing import best_adapter, checkpoints
from agent.trainer.checkpointing.checkpoint_disk import CheckpointDisk
from agent.trainer.checkpointing.checkpoint_schedule import CheckpointSchedule
from agent.trainer.checkpointing.checkpoint_writer import CheckpointWriter
from agent.trainer.checkpointing.fingerprint import fingerprint_of
from agent.trainer.checkpointing.resume import checkpoint_folders, find_checkpoint
from agent.trainer.checkpointing.snapshot import SnapshotTaker
from agent.trainer.event_writer import EventWriter
from agent.trainer.failures import Terminated
from agent.trainer.micro_batches import pack
from agent.trainer.model_cache import trainers_copy
from agent.trainer.models.attention import SDPA_ROWS, Attention, choose_attention
from agent.trainer.models.base_model import (
    QUANTIZATION,
    BaseModelLocation,
    backend,
    compute_dtype,
    load_config,
    load_quantized,
    load_tokenizer,
    template_renderer,
)
from agent.trainer.models.target_modules import choose_target_modules, skeleton
from agent.trainer.parallel.checkpoint_exchange import agree_on_checkpoint
from agent.trainer.parallel.replica_check import ReplicaCheck
from agent.trainer.parallel.replica_process import require_same_job
from agent.trainer.parallel.replicas import Replicas
from agent.trainer.qlora_trainer import QLoRATrainer
from agent.trainer.stop_signals import StopSignals
from shared import events, manifest
from shared.chat_format import choose_chat_format
from shared.errors import DatasetChanged, InvalidJobSpec
from shared.hyperparameters import Hyperparameters
from shared.job_spec import JobSpec
from shared.lifecycle import Activity, JobStatus, StopReason

MAX_GRAD_NORM = 1.0


def train(
    directory: AttemptDirectory, writer: EventWriter, replicas: Replicas
) -> StopReason | None:
    """Run the attempt; returns a reason to stop here, or None once the adapter is committed.

    Raises:
        InvalidInput: dataset, base model or chat template cannot be trained.
        CheckpointRejected: a sound checkpoint of this job belongs to other settings.
        NonFinite: loss or gradient is NaN or infinite; the last good checkpoint is kept.
        Terminated: SIGTERM arrived while training.
    """
    with StopSignals(writer) as signals:
        stop = run(directory, writer, replicas, signals)
    if signals.terminated:
        raise Terminated("SIGTERM; the last step is saved")
    return stop


def run(
    directory: AttemptDirectory, writer: EventWriter, replicas: Replicas, signals: StopSignals
) -> StopReason | None:
    """See `train`."""
    spec = directory.read_spec()
    job = spec.job
    disable_progress_bar()

    # The training file, exactly the bytes that were checked before the start.
    enter(writer, JobStatus.PREPROCESSING, Activity.CHECKING_DATASET)
    if manifest.file_sha256(spec.dataset_path) != job.dataset.sha256:
        raise DatasetChanged(f"{job.dataset.file_name}: is not the file that was checked")
    enter(writer, JobStatus.PREPROCESSING, Activity.PREPARING_MODEL, job.base_model)
    if replicas.is_first_on_machine:
        trainers_copy.choose(directory, spec, writer)
    # Not before a model of ours is built: from here on the first replica alone would save it.
    replicas.meet()
    location = trainers_copy.chosen(directory, spec)
    require_same_job(replicas, spec)
    tokenizer = load_tokenizer(location)
    render = template_renderer(tokenizer)
    encoder = choose_chat_format(backend(tokenizer), render)
    data = prepare(spec.dataset_path, job, encoder, render)
    for warning in data.warnings:
        writer.write(events.LogLine(level="warning", message=warning))

    # The model: NF4 base, LoRA on top, parameters of the adapter in fp32.
    enter(writer, JobStatus.PREPROCESSING, Activity.LOADING_MODEL, location.name_or_path)
    if location.copy is not None:
        writer.write(trainers_copy.loading(location.copy))
    config = load_config(location)
    adapted, why_these = choose_target_modules(skeleton(config), job.hyperparameters.target_modules)
    model, attention = load_for_training(location, config, job)
    optimizer = job.optimizer(on_cuda=torch.cuda.is_available())
    fingerprint = fingerprint_of(
        spec,
        data,
        location,
        tokenizer_json=backend(tokenizer).to_str(),
        chat_template=str(tokenizer.chat_template),
        optim=optimizer,
        versions=package_versions(),
    )
    conditions = {
        "attention": attention.implementation,
        "pack_tokens": job.pack_tokens if attention.packs else 0,
        "device": device_name(),
        "processes": replicas.count,
    }
    checkpoint_facts = {"fingerprint": fingerprint, "conditions": conditions}

    # Checkpoints: a snapshot at the end of a step, written by a thread.
    disk = CheckpointDisk(
        checkpoint_folders(directory),
        writer,
        kept=job.checkpoints_kept,
        floor_bytes=job.disk_floor_bytes,
        facts=checkpoint_facts,
    )
    taker = SnapshotTaker()
    checkpoint_writer = CheckpointWriter(disk.commit, taker.give_back)
    has_held_out = bool(data.held_out)
    saver = CheckpointSchedule(
        job, data.steps, has_held_out, signals, replicas, checkpoint_writer, disk, taker
    )
    set_seed(job.hyperparameters.seed)
    trainer = QLoRATrainer(
        data=data,
        job=job,
        attention=attention,
        observer=writer,
        checkpoint_folders=checkpoint_folders(directory),
        best_folder=directory.best_path,
        saver=saver,
        replicas=replicas,
        model=model,
        args=training_arguments(directory, spec, len(data.steps)),
        train_dataset=Dataset.from_list([{"examples": list(step.examples)} for step in data.steps]),
        processing_class=tokenizer,
        peft_config=lora_config(job.hyperparameters, adapted),
        callbacks=[saver, ReplicaCheck(replicas)],
    )
    trainer.remove_callback(PrinterCallback)
    facts = run_facts(
        job,
        data,
        trainer,
        optim=optimizer,
        attention=str(attention),
        target_modules=f"{', '.join(adapted)} ({why_these})",
        quantized_copy="" if location.copy is None else location.copy.parent.name,
        processes=replicas.count,
    )
    writer.write(facts)
    enter(writer, JobStatus.MODEL_LOADED, Activity.TRAINING)

    # The newest checkpoint that verifies, of this attempt or an earlier one.
    replicas.wait_for_all()
    resume_from = None
    if replicas.is_first:
        resume_from = find_checkpoint(directory, job, checkpoint_facts, len(data.steps), writer)
    resume_from = agree_on_checkpoint(replicas, resume_from, directory.checkpoints_path)
    if resume_from is not None:
        step = checkpoint_step(resume_from.name) or 0
        disk.last_step = step
        trainer.recall(resume_from)
        writer.write(events.Resumed(step=step, path=str(resume_from)))

    enter(writer, JobStatus.TRAINING, Activity.TRAINING)
    trainer.args.eval_on_start = has_held_out and resume_from is None and not job.dry_run
    if not trainer.early_stopping.is_over:  # Interrupted after its last step, it has no other.
        with checkpoint_writer:
            trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    if signals.terminated:
        raise Terminated(saver.what_stands())
    if job.dry_run:
        return StopReason.DRY_RUN_PASSED

    if not replicas.is_first:
        return None

    if trainer.early_stopping.is_over:
        kept = [attempt.best_path for attempt in (directory, *directory.earlier())]
        best_adapter.restore(kept, trainer.model, trainer.early_stopping.best_step)
        trainer.progress.eval_loss = trainer.early_stopping.best_loss

    enter(writer, JobStatus.TRAINING, Activity.SAVING_ADAPTER)
    assert isinstance(trainer.model, PeftModel)
    result = RunResult(
        facts=facts,
        progress=trainer.progress,
        chat_format=encoder.chat_format.name,
        chat_template_sha256=fingerprint["chat_template_sha256"],
    )
    answers = answers_as_published(trainer.model, tokenizer, data, encoder)
    saved = checkpoints.with_room(
        checkpoint_folders(directory),
        partial(save_adapter, directory, trainer.model, tokenizer, spec, result, answers),
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


def load_for_training(
    location: BaseModelLocation, config: PreTrainedConfig, job: JobSpec
) -> tuple[PreTrainedModel, Attention]:
    """The base model with the job's attention; `auto` goes on without kernels that cannot be had.

    Raises:
        InvalidJobSpec: the attention that the job asks for cannot be had.
    """
    attention = choose_attention(job.attention, config)
    try:
        return load_quantized(location, attention.implementation), attention
    except ImportError as error:
        reason = str(error).strip().splitlines()[0]
        if job.attention != "auto":
            raise InvalidJobSpec(f"attention = {job.attention!r}: {reason}") from error
    attention = Attention(SDPA_ROWS, True, f"packed; {attention.implementation}: {reason}")
    return load_quantized(location, attention.implementation), attention


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
        optim=spec.job.optimizer(on_cuda=on_cuda),
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


def lora_config(chosen: Hyperparameters, target_modules: list[str]) -> LoraConfig:
    """The adapter: LoRA on these linear layers, nothing else trained or saved."""
    return LoraConfig(
        r=chosen.lora_r,
        lora_alpha=chosen.lora_alpha,
        lora_dropout=chosen.lora_dropout,
        target_modules=target_modules,
        bias="none",
        task_type="CAUSAL_LM",
    )


def device_name() -> str:
    """The GPU's name, or `cpu`."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def run_facts(
    job: JobSpec,
    data: TrainingData,
    trainer: QLoRATrainer,
    *,
    optim: str,
    attention: str,
    target_modules: str,
    quantized_copy: str,
    processes: int,
) -> events.RunFacts:
    """What is about to be trained, counted from the encoded examples and the model itself."""
    return events.RunFacts(
        conversations=len({example.conversation_id for example in data.train}),
        held_out_conversations=len({example.conversation_id for example in data.held_out}),
        targets=data.targets,
        tokens_per_epoch=sum(len(example.input_ids) for example in data.train),
        supervised_tokens_per_epoch=sum(example.supervised_tokens for example in data.train),
        total_steps=len(data.steps),
        trainable_parameters=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        base_model=job.base_model,
        base_model_revision=job.base_model_revision,
        device=device_name(),
        optim=optim,
        quantization=f"{QUANTIZATION}, {str(compute_dtype()).removeprefix('torch.')} compute",
        versions=package_versions(),
        attention=attention,
        target_modules=target_modules,
        quantized_copy=quantized_copy,
        separate_rows=data.separate_rows,
        processes=processes,
        micro_batch_tokens=longest_micro_batch(data, trainer.memory.pack_limit),
    )


def longest_micro_batch(data: TrainingData, pack_limit: int) -> int:
    """Tokens of the longest micro-batch of the run."""
    lengths = [len(example.input_ids) for example in data.train]
    packs = [rows for step in data.steps for rows in pack(step.examples, lengths, pack_limit)]
    return max(sum(lengths[row] for row in rows) for rows in packs)
