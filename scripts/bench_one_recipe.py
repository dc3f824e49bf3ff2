"""One recipe of bench_epoch, in a process of its own: then its peak memory is its own, too.

    python -m scripts.bench_one_recipe REQUEST.json RESULT.json

The parent's request names what to do: train a recipe, score a peer's adapter, or check gradients.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from torch.nn.functional import cross_entropy
from transformers.utils.logging import disable_progress_bar
from trl import SFTTrainer

from agent.trainer.batches import Example
from agent.trainer.micro_batches import model_inputs, pack
from agent.trainer.models.attention import SDPA_ROWS, Attention
from agent.trainer.models.base_model import load_quantized
from agent.trainer.qlora_trainer import adapter_in_fp32
from agent.trainer.scored_model import ScoredModel
from scripts.bench_recipes import (
    ONE_EPOCH,
    RECIPES,
    SEED_LENGTH,
    TARGETS_PER_STEP,
    Material,
    Sample,
    Setting,
    lora,
    supervised,
)
from shared.chat_format import IGNORED_LABEL
from shared.dataset.folding import unfold
from shared.dataset.step_plan import plan_steps

Result = dict[str, Any]


def main() -> None:
    """Do what the request says; the result is JSON in a file, since trainers print."""
    request = json.loads(Path(sys.argv[1]).read_text())
    warnings.simplefilter("ignore")
    disable_progress_bar()
    torch.set_num_threads(request["threads"])
    setting = Setting(
        Path(request["file"]),
        request["model"],
        Path(request["models_directory"]),
        Path(request["scratch"]),
    )
    material = Material(setting)
    result = WORK[request["work"]](material, **request["arguments"])
    Path(sys.argv[2]).write_text(json.dumps(result))


def train(material: Material, recipe: str) -> Result:
    """Train one epoch; the model is loaded and the data encoded before the clock starts."""
    trainer = RECIPES[recipe](material)
    tokens, trained = counted(trainer, material)
    wall, cpu = time.perf_counter(), time.process_time()
    trainer.train()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak_bytes = peak_memory_bytes()
    return {
        "cpu_s": cpu,
        "wall_s": wall,
        "tokens": tokens,
        "supervised_tokens": trained,
        "peak_bytes": peak_bytes,
        "steps": trainer.state.global_step,
        "held_out_loss": held_out_loss(trainer.model, material),
    }


def counted(trainer: SFTTrainer, material: Material) -> tuple[int, int]:
    """(positions fed to the model, padding included; positions with loss) of one epoch."""
    if "examples" in trainer.train_dataset.column_names:
        tokens = sum(len(example.input_ids) for example in material.folded)
        return tokens, sum(example.supervised_tokens for example in material.folded)
    tokens = trained = 0
    for batch in trainer.get_train_dataloader():
        tokens += batch["input_ids"].numel()
        trained += int((batch["labels"] != IGNORED_LABEL).sum())
    return tokens, trained


def peak_memory_bytes() -> int:
    """Of the GPU where there is one, else of this process, libraries included."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@torch.no_grad()
def held_out_loss(model: PeftModel, material: Material) -> float:
    """Mean loss over the supervised tokens of the held-out conversations, the same for all."""
    scored = ScoredModel(model.eval(), Attention("sdpa", False, ""), nullcontext)
    examples = material.examples(material.held_out)
    device = next(model.parameters()).device
    losses = [scored(model_inputs([example]).to(device)).item() for example in examples]
    tokens = sum(example.supervised_tokens for example in examples)
    return sum(losses) / tokens if tokens else math.nan


def untrained(material: Material) -> Result:
    """What every recipe begins with, and what the seed's recipe leaves out."""
    model = get_peft_model(load_quantized(material.location), lora())
    doubled = material.doubled_pairs
    whole, kept = sum(map(supervised, doubled)), sum(map(_kept, doubled))
    return {
        "held_out_loss": held_out_loss(model, material),
        "conversations": len(material.train),
        "held_out": len(material.held_out),
        "targets": len(doubled),
        "cut_targets": sum(_kept(sample) < supervised(sample) for sample in doubled),
        "dropped_tokens": whole - kept,
        "supervised_tokens": whole,
    }


def _kept(sample: Sample) -> int:
    return sum(label != IGNORED_LABEL for label in sample["labels"][:SEED_LENGTH])


def rows(material: Material, path: str) -> Result:
    """Write the pairs for a peer; returns what it needs to know besides."""
    Path(path).write_text(json.dumps(material.pairs))
    return {
        "model": material.location.name_or_path,
        "pad_token": material.tokenizer.pad_token,
        "tokens": sum(len(sample["input_ids"]) for sample in material.pairs),
        "supervised_tokens": sum(map(supervised, material.pairs)),
        "accumulation": TARGETS_PER_STEP,
        "learning_rate": ONE_EPOCH.learning_rate,
        "seed": ONE_EPOCH.seed,
        "lora_r": ONE_EPOCH.lora_r,
        "lora_alpha": ONE_EPOCH.lora_alpha,
        "lora_dropout": ONE_EPOCH.lora_dropout,
        "target_modules": sorted(lora().target_modules or ()),
    }


def score(material: Material, adapter: str) -> Result:
    """Held-out loss of an adapter that a peer has saved."""
    model = PeftModel.from_pretrained(load_quantized(material.location), adapter)
    return {"held_out_loss": held_out_loss(model, material)}


# --- gradients --------------------------------------------------------------------------------


def gradients(material: Material) -> Result:
    """Relative error of our first step's gradient against that of its whole, unfolded rows.

    The reference is transformers' own forward and torch's cross-entropy, row by row; without
    dropout, and with an adapter that is not zero.
    """
    model = adapter_with_values(material)
    plan = plan_steps([example.target_count for example in material.folded], ONE_EPOCH)
    examples = [material.folded[index] for index in plan[0].examples]
    chosen = {example.conversation_id for example in examples}
    reference = unfolded_gradient(model, material, chosen)
    apart = folded_gradient(model, examples, Attention("sdpa", False, ""), limit=0)
    # Registered names can be changed in a loaded model.
    model.get_base_model().set_attn_implementation(SDPA_ROWS)
    packed = folded_gradient(model, examples, Attention(SDPA_ROWS, True, ""), limit=8192)
    return {
        "targets": sum(example.target_count for example in examples),
        "folded": relative_error(apart, reference),
        "packed": relative_error(packed, reference),
    }


def adapter_with_values(material: Material) -> PeftModel:
    """LoRA whose B is not zero, so that every parameter has a gradient."""
    torch.manual_seed(ONE_EPOCH.seed)
    model = get_peft_model(load_quantized(material.location), lora()).eval()
    adapter_in_fp32(model)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def unfolded_gradient(model: PeftModel, material: Material, chosen: set[str]) -> torch.Tensor:
    """Of the summed loss of every pair of the chosen conversations."""
    model.zero_grad()
    device = next(model.parameters()).device
    for item in material.train:
        for row in unfold(item) if item.conversation_id in chosen else ():
            sample = material.sample(row)
            input_ids, labels = (
                torch.tensor([sample[name]], device=device) for name in ("input_ids", "labels")
            )
            logits = model(input_ids=input_ids, use_cache=False).logits
            cross_entropy(logits[0, :-1].float(), labels[0, 1:], reduction="sum").backward()
    return flat_gradient(model)


def folded_gradient(
    model: PeftModel, examples: list[Example], attention: Attention, limit: int
) -> torch.Tensor:
    """Of the same loss, by our micro-batches."""
    model.zero_grad()
    scored = ScoredModel(model, attention, nullcontext)
    device = next(model.parameters()).device
    lengths = [len(example.input_ids) for example in examples]
    for together in pack(range(len(examples)), lengths, limit):
        scored(model_inputs([examples[i] for i in together]).to(device)).backward()
    return flat_gradient(model)


def flat_gradient(model: PeftModel) -> torch.Tensor:
    """All of it as one vector."""
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def relative_error(gradient: torch.Tensor, reference: torch.Tensor) -> float:
    """Length of the difference over the length of the reference."""
    return float((gradient - reference).norm() / reference.norm())


WORK: dict[str, Callable[..., Result]] = {
    "train": train,
    "untrained": untrained,
    "rows": rows,
    "score": score,
    "gradients": gradients,
}

if __name__ == "__main__":
    main()
