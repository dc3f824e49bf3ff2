"""Compares the predicted peak memory with what the trainer allocates, on this machine's CPU.

    python -m scripts.bench_memory [--model tiny] [--models-directory DIR] [--tokens 512,2048]
                                   [--ranks 8,64]

Each line is two optimizer steps of the real trainer on three conversations of about so many tokens,
in a process of its own, twice: once every tensor's storage is counted from its birth to its end,
which leaves out what the allocator wastes; once the process is left alone, and Linux says its peak
of resident memory (VmHWM, set back as training begins). The second step counts: in the first the
optimizer has no state yet. The prediction is `shared.memory.plan`'s: without its allowances beside
the first, with them beside the second.

On a CPU: fp32 compute on an NF4 base, no activation checkpointing. Nothing here says anything of a
GPU: unverified on hardware.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.run_directory import AgentRoot, AttemptDirectory, AttemptSpec
from shared.dataset.storage import store_dataset
from shared.job_spec import DatasetReference, build_job_spec
from shared.memory.plan import Kind, plan_memory
from shared.memory.workload import Workload
from shared.model_shape import BUILT_SHAPES

WORDS_PER_TOKEN = {"tiny": 0.55, "smollm2": 0.75}
"""About, of the sentence below; the trainer counts exactly."""
CONVERSATIONS = 3
"""In one step, so that gradients are there while a micro-batch goes through."""
SENTENCE = "I hear how much this weighs on you, and we can take one step at a time. "


@dataclass(frozen=True)
class Case:
    """What is trained."""

    model: str
    tokens: int
    lora_r: int
    lora_dropout: float
    optim: str
    models_directory: str


@dataclass(frozen=True)
class Measured:
    """What one process has seen up to the end of its second step, in bytes."""

    tokens: int
    """Of one micro-batch."""
    tensors: int | None
    """None where tensors were not counted."""
    resident: int
    began_with: int
    """Resident once everything was imported, before the model was read."""


def main() -> None:
    """Print one line for each case."""
    options = parse_arguments()
    if options.one:
        print(json.dumps(asdict(measure(Case(**json.loads(options.one)), options.count))))
        return
    columns = f"{'predicted':>11}{{:>11}}{'error':>8}   "
    print(
        f"{'model':8}{'tokens':>7}{'r':>4}{'dropout':>8}  {'optimizer':18}"
        f"{columns.format('tensors')}{columns.format('resident')}process alone"
    )
    for case in cases(options):
        counted, left_alone = run(case, count=True), run(case, count=False)
        workload = Workload(
            BUILT_SHAPES[case.model],
            longest_row_tokens=counted.tokens,
            lora_r=case.lora_r,
            lora_dropout=case.lora_dropout,
            optim=case.optim,
            on_gpu=False,
        )
        plan = plan_memory(workload)
        tensors = plan.bytes_of(Kind.KEPT, Kind.STEP)
        assert counted.tensors is not None
        print(
            f"{case.model:8}{counted.tokens:7,}{case.lora_r:4}{case.lora_dropout:8}"
            f"  {case.optim:18}{compared(tensors, counted.tensors)}"
            f"   {compared(plan.peak_bytes, left_alone.resident)}"
            f"   {left_alone.began_with / 1e6:,.0f} MB",
            flush=True,
        )


def compared(predicted: int, measured: int) -> str:
    """Both in MB, and the prediction's error in percent of what was measured."""
    error = 100 * (predicted - measured) / measured
    return f"{predicted / 1e6:8,.1f} MB{measured / 1e6:8,.1f} MB{error:+7.1f}%"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=sorted(BUILT_SHAPES), default="tiny")
    parser.add_argument("--tokens", default="512,2048,4096")
    parser.add_argument("--ranks", default="8,64")
    parser.add_argument("--dropouts", default="0.05")
    parser.add_argument("--optims", default="adamw_torch")
    parser.add_argument("--models-directory", default="")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    parser.add_argument("--count", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Every combination of what was asked for."""
    lists = (options.tokens, options.ranks, options.dropouts, options.optims)
    with TemporaryDirectory() as folder:
        models = options.models_directory or folder
        for tokens, rank, dropout, optim in product(*(text.split(",") for text in lists)):
            yield Case(options.model, int(tokens), int(rank), float(dropout), optim, models)


def run(case: Case, *, count: bool) -> Measured:
    """Measure it in a process of its own."""
    command = [sys.executable, "-m", "scripts.bench_memory", "--one", json.dumps(asdict(case))]
    finished = subprocess.run(
        [*command, *(["--count"] if count else [])],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    if finished.returncode:
        raise SystemExit(f"{case}: the trainer ended badly:\n{finished.stderr[-2000:]}")
    return Measured(**json.loads(finished.stdout.splitlines()[-1]))


def measure(case: Case, count: bool) -> Measured:
    """A whole job of the real trainer, in this process."""
    from scripts.live_tensors import resident_bytes, train_measured

    with TemporaryDirectory() as folder:
        attempt = attempt_of(case, Path(folder))
        began_with = resident_bytes("VmRSS")
        last_step = train_measured(attempt, count=count)
    return Measured(
        last_step.tokens // CONVERSATIONS, last_step.tensors, last_step.resident, began_with
    )


def conversation(case: Case, number: int) -> str:
    """One line of JSON; all but a tenth of the text is trained."""
    count = int(case.tokens * WORDS_PER_TOKEN[case.model])
    words = (SENTENCE.split() * (count // 16 + 1))[:count]
    messages = [
        {"role": "user", "content": f"{number}: {' '.join(words[: count // 10])}"},
        {"role": "assistant", "content": " ".join([*words[count // 10 :], f"{number}."])},
    ]
    return json.dumps({"messages": messages}) + "\n"


def attempt_of(case: Case, folder: Path) -> AttemptDirectory:
    """Two steps, each on all conversations."""
    path = folder / "three.jsonl"
    path.write_text("".join(conversation(case, number) for number in range(CONVERSATIONS)))
    reference = DatasetReference.of(path)
    root = AgentRoot(folder)
    hyperparameters = {
        "lora_r": case.lora_r,
        "lora_dropout": case.lora_dropout,
        "num_epochs": 2,
        "eval_fraction": 0,
        "max_seq_length": 131_072,
    }
    values = {"job_id": "two-steps", "name": "two steps", "base_model": case.model}
    job = build_job_spec(
        reference, {**values, "optim": case.optim, "hyperparameters": hyperparameters}, "bench"
    )
    attempt = root.job(job.job_id).attempt(1)
    attempt.path.mkdir(parents=True)
    spec = AttemptSpec(
        job=job,
        attempt=1,
        dataset_path=store_dataset(path, root.datasets_path, reference),
        models_directory=Path(case.models_directory),
    )
    attempt.spec_path.write_text(spec.model_dump_json(), encoding="utf-8")
    return attempt


if __name__ == "__main__":
    main()
