"""Times one epoch of three recipes on one file, in one run, with the same model and threads.

    python scripts/bench_epoch.py [FILE] [--model tiny] [--threads 1] [--models-directory DIR]

- seed: the recipe of the first design through plain SFTTrainer: one sample a target, the user's
  turn doubled, cut and padded to 2,048 tokens, batches of 4.
- pairs: one sample a target, nothing doubled, cut or padded, through plain SFTTrainer.
- ours: folded conversations without padding, through the project's own trainer.

All three make optimizer steps of 16 targets and train every conversation of the file. The ratios of
CPU seconds are what counts: on a shared machine wall seconds drift. Goals on a real file of 12
conversations (EQ-12): ours at least 4 times as fast as seed, and 1.8 times as fast as pairs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedTokenizerBase, PrinterCallback, set_seed
from transformers.utils.logging import disable_progress_bar
from trl import SFTConfig, SFTTrainer

from agent.trainer.base_model import (
    BaseModelLocation,
    backend,
    load_quantized,
    load_tokenizer,
    locate,
    template_renderer,
)
from agent.trainer.batches import Example, TrainingData
from agent.trainer.qlora_trainer import QLoRATrainer, adapter_in_fp32
from shared import events
from shared.chat_format import IGNORED_LABEL, ChatEncoder, choose_chat_format
from shared.dataset.conversation import Dataset as TrainingFile
from shared.dataset.folding import Row, fold, unfold
from shared.dataset.reader import read_dataset
from shared.dataset.sample import SAMPLE_JSON
from shared.dataset.step_plan import plan_steps
from shared.hyperparameters import LLAMA_PROJECTIONS, Hyperparameters

SEED_LENGTH = 2048
SEED_BATCH = 4
TARGETS_PER_STEP = 16
ONE_EPOCH = Hyperparameters(num_epochs=1, batch_size=4, gradient_accumulation_steps=4)


@dataclass(frozen=True)
class Measured:
    """One recipe's epoch. `tokens` counts padding too: it is what the model computes."""

    name: str
    cpu_s: float
    wall_s: float
    tokens: int
    supervised_tokens: int


class Silent:
    """An observer that drops everything."""

    def write(self, event: events.Event) -> None:
        """Nothing to tell anybody."""


def main() -> None:
    """Measure the three recipes and print one table."""
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    disable_progress_bar()
    file = read_dataset(options.file)
    location = locate(options.model, None, options.models_directory)
    tokenizer = load_tokenizer(location)
    encoder = choose_chat_format(backend(tokenizer), template_renderer(tokenizer))
    recipes: dict[str, Callable[[], SFTTrainer]] = {
        "seed": lambda: seed_trainer(location, tokenizer, encoder, file),
        "pairs": lambda: pairs_trainer(location, tokenizer, encoder, file),
        "ours": lambda: our_trainer(location, tokenizer, encoder, file),
    }
    print(f"{options.file.name}: {len(file.conversations)} conversations, {options.threads} thread")
    print_table([measure(name, build()) for name, build in recipes.items()])


def parse_arguments() -> argparse.Namespace:
    """The command line; the models directory outlives the run, so that the model is built once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path, nargs="?", default=SAMPLE_JSON)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--threads", type=int, default=1)
    default_models = Path.home() / ".cache" / "brightrun" / "models"
    parser.add_argument("--models-directory", type=Path, default=default_models)
    options = parser.parse_args()
    options.models_directory.mkdir(parents=True, exist_ok=True)
    return options


def measure(name: str, trainer: SFTTrainer) -> Measured:
    """Train one epoch; the model is loaded and the data encoded before the clock starts."""
    tokens, supervised = count_tokens(trainer)
    wall, cpu = time.perf_counter(), time.process_time()
    trainer.train()
    return Measured(name, time.process_time() - cpu, time.perf_counter() - wall, tokens, supervised)


def count_tokens(trainer: SFTTrainer) -> tuple[int, int]:
    """(positions fed to the model, positions with loss) of one epoch."""
    tokens = supervised = 0
    for batch in trainer.get_train_dataloader():
        for part in batch.get("micro_batches", [batch]):
            tokens += part["input_ids"].numel()
            supervised += int((part["labels"] != IGNORED_LABEL).sum())
    return tokens, supervised


def print_table(rows: list[Measured]) -> None:
    """Figures, and how many times as fast as each other recipe ours is."""
    ours = rows[-1]
    print(f"{'recipe':8}{'CPU s':>9}{'wall s':>9}{'tokens':>10}{'trained':>10}{'ours is':>10}")
    for row in rows:
        ratio = f"{row.cpu_s / ours.cpu_s:.2f}x"
        print(
            f"{row.name:8}{row.cpu_s:9.1f}{row.wall_s:9.1f}"
            f"{row.tokens:10,}{row.supervised_tokens:10,}{ratio:>10}"
        )
    print("goals on EQ-12: 4x over seed, 1.8x over pairs (CPU seconds)")


# --- the three recipes ------------------------------------------------------------------------


def seed_trainer(
    location: BaseModelLocation,
    tokenizer: PreTrainedTokenizerBase,
    encoder: ChatEncoder,
    file: TrainingFile,
) -> SFTTrainer:
    """One sample a target with the user's turn doubled, all of 2,048 tokens."""
    samples = []
    for row in (row for item in file.conversations for row in unfold(item)):
        *context, target = row.messages
        doubled = (*context, context[-1], target)
        samples.append(
            sample(encoder, Row(row.conversation_id, doubled, frozenset({len(doubled) - 1})))
        )
    # Padding to a multiple of the length, after cutting to it, makes every sample exactly as long.
    return plain_trainer(
        location,
        tokenizer,
        [{key: values[:SEED_LENGTH] for key, values in item.items()} for item in samples],
        batch_size=SEED_BATCH,
        pad_to_multiple_of=SEED_LENGTH,
    )


def pairs_trainer(
    location: BaseModelLocation,
    tokenizer: PreTrainedTokenizerBase,
    encoder: ChatEncoder,
    file: TrainingFile,
) -> SFTTrainer:
    """One sample a target, one sample a micro-batch, so that nothing is padded."""
    samples = [sample(encoder, row) for item in file.conversations for row in unfold(item)]
    return plain_trainer(location, tokenizer, samples, batch_size=1)


def our_trainer(
    location: BaseModelLocation,
    tokenizer: PreTrainedTokenizerBase,
    encoder: ChatEncoder,
    file: TrainingFile,
) -> SFTTrainer:
    """The project's trainer, without checkpoints and evaluation."""
    examples = [
        Example(row.conversation_id, *encoder.encode(row), len(row.trained), row.messages)
        for item in file.conversations
        for row in fold(item)
    ]
    steps = plan_steps([example.target_count for example in examples], ONE_EPOCH)
    return prepared(
        QLoRATrainer(
            data=TrainingData(examples, [], steps, ()),
            observer=Silent(),
            checkpoint_folder=Path("unused"),
            fingerprint={},
            on_checkpoint=lambda path, step, seconds: None,
            model=load_quantized(location),
            args=arguments(
                per_device_train_batch_size=1,
                gradient_accumulation_steps=1,
                train_sampling_strategy="sequential",
                remove_unused_columns=False,
            ),
            train_dataset=Dataset.from_list([{"examples": list(step.examples)} for step in steps]),
            processing_class=tokenizer,
            peft_config=lora(),
        )
    )


def plain_trainer(
    location: BaseModelLocation,
    tokenizer: PreTrainedTokenizerBase,
    samples: list[dict[str, list[int]]],
    batch_size: int,
    **settings: Any,
) -> SFTTrainer:
    """TRL's own trainer on ready-made ids and labels."""
    return prepared(
        SFTTrainer(
            model=load_quantized(location),
            args=arguments(
                per_device_train_batch_size=batch_size,
                gradient_accumulation_steps=TARGETS_PER_STEP // batch_size,
                **settings,
            ),
            train_dataset=Dataset.from_list(samples),
            processing_class=tokenizer,
            peft_config=lora(),
        )
    )


def sample(encoder: ChatEncoder, row: Row) -> dict[str, list[int]]:
    """Columns as SFTTrainer takes them."""
    input_ids, labels = encoder.encode(row)
    return {"input_ids": input_ids, "labels": labels}


def arguments(**settings: Any) -> SFTConfig:
    """What all three recipes have in common."""
    set_seed(ONE_EPOCH.seed)
    folder = TemporaryDirectory(prefix="brightrun-bench-", ignore_cleanup_errors=True)
    on_cuda = torch.cuda.is_available()
    return SFTConfig(
        output_dir=folder.name,
        num_train_epochs=1,
        learning_rate=ONE_EPOCH.learning_rate,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        bf16=on_cuda,
        use_cpu=not on_cuda,
        activation_checkpointing=on_cuda,
        dataloader_pin_memory=False,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **settings,
    )


def lora() -> LoraConfig:
    """The balanced preset's adapter."""
    return LoraConfig(
        r=ONE_EPOCH.lora_r,
        lora_alpha=ONE_EPOCH.lora_alpha,
        lora_dropout=ONE_EPOCH.lora_dropout,
        target_modules=list(LLAMA_PROJECTIONS),
        task_type="CAUSAL_LM",
    )


def prepared(trainer: SFTTrainer) -> SFTTrainer:
    """No line per step on the terminal, and the adapter in fp32 for all: bf16 is slow on CPUs."""
    trainer.remove_callback(PrinterCallback)
    adapter_in_fp32(trainer.model)
    return trainer


if __name__ == "__main__":
    main()
