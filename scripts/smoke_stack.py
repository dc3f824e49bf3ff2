"""What smoke_gpu runs in processes of its own: build the stack, or measure one recipe on it.

    python -m scripts.smoke_stack REQUEST.json RESULT.json

Unverified on hardware: no GPU has run it yet.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PrinterCallback,
    TrainerCallback,
    set_seed,
)
from transformers.utils.logging import disable_progress_bar
from trl import SFTConfig, SFTTrainer

from agent.trainer.adapters.adapter import package_versions
from agent.trainer.batches import Example, TrainingData
from agent.trainer.checkpointing.checkpoint_disk import CheckpointDisk
from agent.trainer.checkpointing.checkpoint_writer import CheckpointWriter
from agent.trainer.checkpointing.snapshot import SnapshotTaker
from agent.trainer.memory_guard import is_out_of_memory
from agent.trainer.models.base_model import (
    BaseModelLocation,
    load_config,
    load_quantized,
    load_tokenizer,
)
from agent.trainer.models.tiny_llama import build_tokenizer
from agent.trainer.qlora_trainer import QLoRATrainer, peak_memory_bytes
from agent.trainer.train import load_for_training
from scripts.bench_recipes import Silent, lora
from shared.chat_format import IGNORED_LABEL
from shared.dataset.sample import SAMPLE_JSON
from shared.dataset.step_plan import Step
from shared.job_spec import DatasetReference, JobSpec, build_job_spec

ROWS_PER_STEP = 16
ROWS_PER_BATCH = 4
WARM_UP_STEPS = 2
STEPS = 7

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Size:
    """Lengths in tokens, and the stack's shape."""

    row: int
    shortest_row: int
    pack: int
    attention: str
    config: dict[str, Any]


LLAMA_70B = Size(
    row=2048,
    shortest_row=512,
    pack=8192,
    attention="auto",
    # config.json of Meta-Llama-3-70B-Instruct, but for the number of layers.
    config={
        "vocab_size": 128_256,
        "hidden_size": 8192,
        "intermediate_size": 28_672,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    },
)
TINY = Size(
    row=32,
    shortest_row=8,
    pack=256,
    attention="sdpa_rows",  # `auto` does not pack on a CPU, and packing is to be tried.
    config={
        "vocab_size": 4096,
        "hidden_size": 64,
        "intermediate_size": 172,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
)


def main() -> None:
    """Do what the request says; running out of memory is a result, too."""
    request = json.loads(Path(sys.argv[1]).read_text())
    disable_progress_bar()
    size = TINY if request["is_tiny"] else LLAMA_70B
    try:
        result = build(request, size) if request["work"] == "build" else measure(request, size)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        result = {"reason": "out of memory"}
    Path(sys.argv[2]).write_text(json.dumps(result))


def build(request: Result, size: Size) -> Result:
    """Save a stack with random weights in bf16, and a tokenizer, which nothing is encoded with."""
    directory = Path(request["model"])
    is_gpu = torch.cuda.is_available()
    config = LlamaConfig(
        **size.config,
        num_hidden_layers=request["layers"],
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        tie_word_embeddings=False,
        dtype="bfloat16",
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if is_gpu else "cpu"):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(directory)
    build_tokenizer().save_pretrained(directory)
    versions = package_versions()
    return {
        "is_gpu": is_gpu,
        "device": torch.cuda.get_device_name() if is_gpu else "CPU",
        "layers": request["layers"],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def measure(request: Result, size: Size) -> Result:
    """Train a few steps; tokens a second, peak memory, and what a checkpoint costs."""
    folder = Path(request["model"]).parent / "checkpoints"
    location = BaseModelLocation(request["model"], None)
    rows = random_rows(size, is_whole=request["rows"] == "whole rows")
    clock = StepClock()
    recipe, _, padding = request["recipe"].partition(", ")
    if recipe == "ours":
        with our_trainer(location, size, rows, folder) as (trainer, attention):
            stall_s = trained(trainer, clock)
    else:
        attention = "sdpa"
        is_padded = padding == "padded to 2048"
        stall_s = trained(plain_trainer(location, size, rows, folder, is_padded), clock)
    step_s = median(clock.steps_s[WARM_UP_STEPS:])
    tokens = [sum(len(row.input_ids) for row in rows[i]) for i in range(len(rows))]
    return {
        "tokens_per_s": sum(tokens[WARM_UP_STEPS:]) / sum(clock.steps_s[WARM_UP_STEPS:]),
        "step_s": step_s,
        "stall_s": stall_s,
        "peak_bytes": peak_memory_bytes(),
        "attention": attention,
    }


def random_rows(size: Size, *, is_whole: bool) -> list[list[Example]]:
    """The rows of each step, the same for all recipes; two thirds of each carry loss."""
    generator = random.Random(0)

    def row() -> Example:
        length = size.row if is_whole else generator.randint(size.shortest_row, size.row)
        ids = [generator.randrange(size.config["vocab_size"]) for _ in range(length)]
        unscored = length // 3
        return Example("random", ids, [IGNORED_LABEL] * unscored + ids[unscored:], 1, ())

    return [[row() for _ in range(ROWS_PER_STEP)] for _ in range(STEPS)]


class StepClock(TrainerCallback):
    """Seconds of each optimizer step, saving not included."""

    def __init__(self) -> None:
        self.steps_s: list[float] = []
        self._began = 0.0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()  # what loading took is not training's

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self._began = now()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.steps_s.append(now() - self._began)


def now() -> float:
    """The time at which all that the GPU was given is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def trained(trainer: SFTTrainer, clock: StepClock) -> float:
    """Train all steps; seconds for which the checkpoint of the last but one holds the next up."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(clock)
    save: Callable[..., None] = trainer._save_checkpoint
    stalls_s: list[float] = []

    def timed(*args: Any, **kwargs: Any) -> None:
        began = now()
        save(*args, **kwargs)
        stalls_s.append(now() - began)

    trainer._save_checkpoint = timed
    trainer.train()
    return stalls_s[0]


# --- the two recipes --------------------------------------------------------------------------


def plain_trainer(
    location: BaseModelLocation,
    size: Size,
    rows: list[list[Example]],
    folder: Path,
    is_padded: bool,
) -> SFTTrainer:
    """SFTTrainer with PEFT, as their documentation has QLoRA."""
    samples = [{"input_ids": row.input_ids, "labels": row.labels} for step in rows for row in step]
    set_seed(0)
    return SFTTrainer(
        model=load_quantized(location),
        args=arguments(
            size,
            folder,
            per_device_train_batch_size=ROWS_PER_BATCH,
            gradient_accumulation_steps=ROWS_PER_STEP // ROWS_PER_BATCH,
            pad_to_multiple_of=size.row if is_padded else None,
        ),
        train_dataset=Dataset.from_list(samples),
        processing_class=load_tokenizer(location),
        peft_config=lora(),
    )


@contextmanager
def our_trainer(
    location: BaseModelLocation, size: Size, rows: list[list[Example]], folder: Path
) -> Iterator[tuple[SFTTrainer, str]]:
    """This project's trainer with its checkpoint writer, and the attention it has chosen."""
    job = smoke_job(size)
    model, attention = load_for_training(location, load_config(location), job)
    saver = OneCheckpoint(folder)
    steps = [
        Step(tuple(range(i * ROWS_PER_STEP, (i + 1) * ROWS_PER_STEP)), i + 1.0)
        for i in range(len(rows))
    ]
    examples = [row for step in rows for row in step]
    set_seed(0)
    with saver.writer:
        trainer = QLoRATrainer(
            data=TrainingData(examples, [], steps, ()),
            job=job,
            attention=attention,
            observer=Silent(),
            checkpoint_folders=[folder],
            best_folder=folder / "best",
            saver=saver,
            model=model,
            args=arguments(
                size,
                folder,
                per_device_train_batch_size=1,
                gradient_accumulation_steps=1,
                remove_unused_columns=False,
            ),
            train_dataset=Dataset.from_list([{"examples": list(step.examples)} for step in steps]),
            processing_class=load_tokenizer(location),
            peft_config=lora(),
        )
        yield trainer, attention.implementation


@dataclass
class OneCheckpoint:
    """Saves as a job does, but when it is told to."""

    folder: Path
    taker: SnapshotTaker = field(default_factory=SnapshotTaker)

    def __post_init__(self) -> None:
        facts: dict[str, Any] = {"fingerprint": {}, "conditions": {}}
        disk = CheckpointDisk([self.folder], Silent(), kept=1, floor_bytes=0, facts=facts)
        self.writer = CheckpointWriter(disk.commit, self.taker.give_back)

    def save(self, control: object, step: int, **live: Any) -> None:
        self.writer.submit(self.taker.take(step, **live), is_due=True)


def smoke_job(size: Size) -> JobSpec:
    """A job with all defaults but the sizes."""
    options = {"name": "smoke", "attention": size.attention, "pack_tokens": size.pack}
    return build_job_spec(DatasetReference.of(SAMPLE_JSON), options, where="smoke")


def arguments(size: Size, folder: Path, **settings: Any) -> SFTConfig:
    """What both recipes have in common."""
    on_cuda = torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(folder),
        max_steps=STEPS,
        optim=smoke_job(size).optimizer(on_cuda=on_cuda),
        bf16=on_cuda,
        use_cpu=not on_cuda,
        activation_checkpointing=True,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        logging_steps=1,
        save_strategy="steps",
        save_steps=STEPS - 1,
        report_to=[],
        disable_tqdm=True,
        **settings,
    )


if __name__ == "__main__":
    main()
