"""The recipes that bench_epoch compares, each as a trainer that is ready to train one epoch.

All see the same conversations, the same held-out ones, the same base model in NF4, the same LoRA in
fp32, learning rate and seed, and make optimizer steps of about 16 targets. None checkpoints or
evaluates while the clock runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedModel, PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer

from agent.trainer.batches import Example, TrainingData
from agent.trainer.models.base_model import (
    BaseModelLocation,
    TemplateRenderer,
    backend,
    load_config,
    load_quantized,
    load_tokenizer,
    locate,
)
from agent.trainer.qlora_trainer import QLoRATrainer, adapter_in_fp32
from agent.trainer.train import load_for_training, lora_config
from shared import events
from shared.chat_format import IGNORED_LABEL, choose_chat_format
from shared.dataset.conversation import Conversation
from shared.dataset.folding import Row, fold, unfold
from shared.dataset.reader import read_dataset
from shared.dataset.split import split
from shared.dataset.step_plan import plan_steps
from shared.hyperparameters import LLAMA_PROJECTIONS, Hyperparameters
from shared.job_spec import DatasetReference, JobSpec, build_job_spec

SEED_LENGTH = 2048
SEED_BATCH = 4
TARGETS_PER_STEP = 16
ONE_EPOCH = Hyperparameters(num_epochs=1, batch_size=4, gradient_accumulation_steps=4)

Sample = dict[str, list[int]]
"""`input_ids` and `labels` of one row, as SFTTrainer takes them."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is trained: a file and a base model."""

    file: Path
    model: str
    models_directory: Path
    scratch: Path
    """Whatever a trainer wants to leave behind goes there."""


class Material:
    """The file's conversations as rows of tokens; the base model's tokenizer."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.location: BaseModelLocation = locate(setting.model, None, setting.models_directory)
        self.tokenizer = load_tokenizer(self.location)
        self.encoder = choose_chat_format(backend(self.tokenizer), TemplateRenderer(self.tokenizer))
        conversations = read_dataset(setting.file).conversations
        fraction = ONE_EPOCH.eval_fraction
        self.train, self.held_out = split(conversations, fraction, ONE_EPOCH.seed)

    @cached_property
    def pairs(self) -> list[Sample]:
        """One row a target: the data as it comes, whole."""
        return [self.sample(row) for item in self.train for row in unfold(item)]

    @cached_property
    def doubled_pairs(self) -> list[Sample]:
        """The same with the user's turn doubled, as the first design's prompt has it."""
        rows = [row for item in self.train for row in unfold(item)]
        return [self.sample(doubled(row)) for row in rows]

    @cached_property
    def folded(self) -> list[Example]:
        """One row a conversation, where histories allow it."""
        return self.examples(self.train)

    def examples(self, conversations: list[Conversation]) -> list[Example]:
        """Folded rows of conversations."""
        return [
            Example(row.conversation_id, *self.encoder.encode(row), len(row.trained), row.messages)
            for item in conversations
            for row in fold(item)
        ]

    def sample(self, row: Row) -> Sample:
        """A row as columns."""
        input_ids, labels = self.encoder.encode(row)
        return {"input_ids": input_ids, "labels": labels}

    @property
    def steps(self) -> int:
        """Optimizer steps of an epoch of pairs."""
        return math.ceil(len(self.pairs) / TARGETS_PER_STEP)


def doubled(row: Row) -> Row:
    """The target's context with its last message twice."""
    *context, target = row.messages
    messages = (*context, context[-1], target)
    return Row(row.conversation_id, messages, frozenset({len(messages) - 1}))


def supervised(sample: Sample) -> int:
    """Positions that carry loss."""
    return sum(label != IGNORED_LABEL for label in sample["labels"])


# --- the recipes ------------------------------------------------------------------------------


def seed(material: Material) -> SFTTrainer:
    """The first design: the user's turn doubled, cut and padded to 2,048 tokens, batches of 4."""
    # Padding to a multiple of the length, after cutting to it, makes every row exactly as long.
    rows = [
        {name: values[:SEED_LENGTH] for name, values in sample.items()}
        for sample in material.doubled_pairs
    ]
    return plain(material, rows, SEED_BATCH, pad_to_multiple_of=SEED_LENGTH)


def pairs(material: Material) -> SFTTrainer:
    """TRL, a row a target, one at a time: nothing doubled, cut or padded."""
    return plain(material, material.pairs, 1)


def pairs_by_length(material: Material) -> SFTTrainer:
    """TRL, a row a target, batches of 4 rows of like length."""
    strategy = {"train_sampling_strategy": "group_by_length"}
    return plain(material, material.pairs, SEED_BATCH, **strategy)


def pairs_packed(material: Material) -> SFTTrainer:
    """TRL's own packing of the pairs, `packing_strategy="bfd"`, as short as cuts none of them.

    Its documentation wants FlashAttention for this; transformers' SDPA keeps the rows apart with a
    mask that it makes from their positions.
    """
    longest = max(len(sample["input_ids"]) for sample in material.pairs)
    return plain(material, material.pairs, 1, packing=True, max_length=longest, dataset_kwargs=None)


def folded(material: Material) -> SFTTrainer:
    """TRL fed our folded rows, one at a time: what is left is the loss and the step's make-up."""
    rows = [{"input_ids": item.input_ids, "labels": item.labels} for item in material.folded]
    return plain(material, rows, 1)


def ours(material: Material) -> SFTTrainer:
    """This project's trainer, as a job has it."""
    examples = material.folded
    steps = plan_steps([example.target_count for example in examples], ONE_EPOCH)
    job = bench_job(material.setting.file)
    model, attention = load_for_training(material.location, load_config(material.location), job)
    scratch = material.setting.scratch
    return prepared(
        QLoRATrainer(
            data=TrainingData(examples, [], steps, ()),
            job=job,
            attention=attention,
            observer=Silent(),
            checkpoint_folders=[scratch],
            best_folder=scratch,
            model=model,
            args=arguments(
                scratch, 1, 1, train_sampling_strategy="sequential", remove_unused_columns=False
            ),
            train_dataset=Dataset.from_list([{"examples": list(step.examples)} for step in steps]),
            processing_class=material.tokenizer,
            peft_config=lora(),
        )
    )


RECIPES: dict[str, Callable[[Material], SFTTrainer]] = {
    "seed": seed,
    "pairs": pairs,
    "pairs by length": pairs_by_length,
    "pairs packed": pairs_packed,
    "folded": folded,
    "ours": ours,
}


class Silent:
    """An observer that drops everything."""

    def write(self, event: events.Event) -> None:
        """Nothing to tell anybody."""


def bench_job(file: Path) -> JobSpec:
    """A job with all defaults, for one epoch."""
    options = {"name": "benchmark", "hyperparameters": ONE_EPOCH.model_dump()}
    return build_job_spec(DatasetReference.of(file), options, where="bench")


def plain(material: Material, rows: list[Sample], batch_size: int, **settings: Any) -> SFTTrainer:
    """TRL's own trainer on ready-made ids and labels."""
    model: PreTrainedModel = load_quantized(material.location)
    accumulation = TARGETS_PER_STEP // batch_size
    return prepared(
        SFTTrainer(
            model=model,
            args=arguments(material.setting.scratch, batch_size, accumulation, **settings),
            train_dataset=Dataset.from_list(rows),
            processing_class=material.tokenizer,
            peft_config=lora(),
        ),
        steps=material.steps,
    )


def arguments(scratch: Path, batch_size: int, accumulation: int, **settings: Any) -> SFTConfig:
    """What all recipes have in common."""
    set_seed(ONE_EPOCH.seed)
    on_cuda = torch.cuda.is_available()
    chosen = {
        "output_dir": str(scratch),
        "num_train_epochs": 1,
        "per_device_train_batch_size": batch_size,
        "gradient_accumulation_steps": accumulation,
        "learning_rate": ONE_EPOCH.learning_rate,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": None,
        "bf16": on_cuda,
        "use_cpu": not on_cuda,
        "activation_checkpointing": on_cuda,
        "dataloader_pin_memory": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
    return SFTConfig(**{**chosen, **settings})


def lora() -> LoraConfig:
    """The balanced preset's adapter."""
    return lora_config(ONE_EPOCH, list(LLAMA_PROJECTIONS))


def prepared(trainer: SFTTrainer, steps: int = 0) -> SFTTrainer:
    """No line per step on the terminal, and the adapter in fp32 for all: bf16 is slow on CPUs.

    With `steps`, packs are accumulated until there are as many steps as pairs would make.
    """
    trainer.remove_callback(PrinterCallback)
    adapter_in_fp32(trainer.model)
    if steps and trainer.args.packing:
        trainer.args.gradient_accumulation_steps = math.ceil(len(trainer.train_dataset) / steps)
    return trainer
