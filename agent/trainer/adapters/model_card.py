"""The adapter's README.md: what it was made of, how well it did, and how to load it.

Every figure is one that the run counted or measured. Names that come from outside, such as the
training file's, are foreign text: they stand in code spans, cleaned, and steer no page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from agent.run_directory import AttemptSpec
from agent.trainer.adapters.vllm_layout import max_lora_rank
from agent.trainer.checkpointing.snapshot import Progress
from shared import events
from shared.clean_text import clean_line

CURVES_FILE = "curves.svg"
MODEL_CARD_FILE = "README.md"

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class RunResult:
    """What the trainer knows at the end of a run."""

    facts: events.RunFacts
    progress: Progress
    chat_format: str
    chat_template_sha256: str


def model_card(spec: AttemptSpec, result: RunResult) -> str:
    """README.md of an adapter, as the model hub shows it."""
    job = spec.job
    return "\n".join(
        [
            *front_matter(job.base_model, "peft", relation="adapter"),
            f"# LoRA adapter of {code(job.base_model)}",
            "",
            f"Trained by brightrun as job {code(job.job_id)}, attempt {spec.attempt}: QLoRA, with "
            "loss on the assistant's turns only.",
            "",
            f"![Training loss and held-out loss over the optimizer steps]({CURVES_FILE})",
            "",
            *_result_section(result),
            *section("Data", _data_facts(spec, result.facts)),
            *section("Training", _training_facts(result.facts, result)),
            *section("Hyperparameters", job.hyperparameters.model_dump(mode="json")),
            *_loading_section(spec),
            *_files_section(),
            *_limits_section(job.dataset.file_name, result.facts),
            *section("Versions", result.facts.versions),
        ]
    )


def front_matter(base_model: str, library: str, relation: str) -> list[str]:
    """The YAML block that the model hub reads; JSON strings are YAML strings."""
    # A base model that is a path or was built here has no page on the hub to link to.
    is_on_hub = _HUB_ID.fullmatch(base_model) is not None
    base = [f"base_model: {json.dumps(base_model)}", f"base_model_relation: {relation}"]
    return [
        "---",
        f"library_name: {library}",
        *(base if is_on_hub else []),
        "pipeline_tag: text-generation",
        "tags:",
        *(f"- {tag}" for tag in ("lora", "qlora", "brightrun")),
        "---",
    ]


def section(heading: str, facts: Mapping[str, object]) -> list[str]:
    """A heading and a table of names and values."""
    rows = (f"| {name} | {code(value)} |" for name, value in facts.items())
    return [f"## {heading}", "", "| | |", "|---|---|", *rows, ""]


def code(value: object) -> str:
    """A value in a code span, where nothing of it is taken for markup; also inside a table."""
    plain = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    text = clean_line(plain).replace("`", "'").replace("|", "\\|")
    return f"`{text}`" if text else "–"


def _result_section(result: RunResult) -> Iterator[str]:
    progress = result.progress
    yield from section(
        "Result",
        {
            "held-out loss of the base model": _loss(progress.base_eval_loss),
            "held-out loss with the adapter": _loss(progress.eval_loss),
            "training loss of the last step": _loss(progress.final_loss),
        },
    )
    yield "Losses are in nats, a mean over supervised tokens; held-out conversations were not"
    yield "trained. Lower is better, and says nothing about anything else than this kind of text."
    yield ""


def _data_facts(spec: AttemptSpec, facts: events.RunFacts) -> dict[str, object]:
    dataset, chosen = spec.job.dataset, spec.job.hyperparameters
    return {
        "training file": dataset.file_name,
        "sha256": dataset.sha256,
        "conversations": f"{facts.conversations:,} trained, "
        f"{facts.held_out_conversations:,} held out",
        "split": f"by whole conversations; eval_fraction {chosen.eval_fraction}, "
        f"seed {chosen.seed}",
        "targets": f"{facts.targets:,} assistant turns an epoch",
        "tokens": f"{facts.tokens_per_epoch:,} an epoch, "
        f"{facts.supervised_tokens_per_epoch:,} of them carry loss",
        "rows beyond one a conversation": f"{facts.separate_rows:,}",
    }


def _training_facts(facts: events.RunFacts, result: RunResult) -> dict[str, object]:
    return {
        "optimizer steps": f"{facts.total_steps:,}",
        "trainable parameters": f"{facts.trainable_parameters:,}",
        "base model": facts.base_model,
        "revision": facts.base_model_revision or "none given",
        "quantisation while training": facts.quantization,
        "optimizer": facts.optim,
        "device": facts.device,
        "processes": facts.processes,
        "attention": facts.attention,
        "chat format": result.chat_format,
        "sha256 of the chat template": result.chat_template_sha256,
    }


def _loading_section(spec: AttemptSpec) -> list[str]:
    job = spec.job
    rank = max_lora_rank(job.hyperparameters.lora_r)
    is_on_hub = _HUB_ID.fullmatch(job.base_model) is not None
    base = json.dumps(job.base_model if is_on_hub else "PATH/OF/THE/BASE/MODEL")
    revision = job.base_model_revision if is_on_hub else None
    load = f"{base}, revision={json.dumps(revision)}" if revision else base
    return [
        "## Loading it",
        "",
        "With PEFT:",
        "",
        "```python",
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f'base = AutoModelForCausalLM.from_pretrained({load}, dtype="bfloat16")',
        'model = PeftModel.from_pretrained(base, "PATH/OF/THIS/DIRECTORY")',
        'tokenizer = AutoTokenizer.from_pretrained("PATH/OF/THIS/DIRECTORY")',
        "```",
        "",
        "With vLLM:",
        "",
        "```sh",
        f"vllm serve {base} --enable-lora --max-lora-rank {rank} \\",
        "    --lora-modules adapter=PATH/OF/THIS/DIRECTORY",
        "```",
        "",
        "Merged into the base model: `brightrun export PATH/OF/THIS/DIRECTORY --merged OUT`.",
        "",
    ]


def _files_section() -> list[str]:
    return [
        "## The files",
        "",
        "| file | what it is |",
        "|---|---|",
        "| `adapter_model.safetensors` | LoRA's A and B of every target module, in bf16 |",
        "| `adapter_config.json` | PEFT's configuration |",
        "| `tokenizer.json` and others | the base model's tokenizer with its chat template |",
        f"| `{CURVES_FILE}` | the losses of all attempts; of a repeated step the last one |",
        "| `portability.json` | prompts of ours and the trainer's own answers, with their logits: "
        "compare them with what you have loaded |",
        "| `manifest.json` | size and sha256 of every file, and what the adapter was made of: data "
        "by hash, base model, template, hyperparameters, versions |",
        "",
        "The manifest was written last: a directory whose files all have their hashes is whole. "
        "Before the job counted as completed, a fresh process loaded these files and came to the "
        "trainer's own logits.",
        "",
    ]


def _limits_section(file_name: str, facts: events.RunFacts) -> Iterable[str]:
    limits = [
        f"It learned from {code(file_name)} alone, with that file's habits and gaps.",
        "The base model's licence and terms of use hold for it as well.",
        "It was trained on the base model in NF4. On one in bf16 its logits are others; "
        "`brightrun export --merged` reports by how much.",
    ]
    if facts.held_out_conversations == 0:
        limits.append("Nothing was held out, so there is no evidence that it generalises.")
    if facts.device == "cpu":
        limits.append("It was trained on a CPU.")
    return ["## Limits", "", *(f"- {limit}" for limit in limits), ""]


def _loss(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"
