"""Times one epoch of several recipes on one file, in one run, with the same model and threads.

    python scripts/bench_epoch.py [FILE] [--model tiny] [--threads 1] [--repeat 1]
        [--recipe NAME ...] [--peer-python llamafactory=PYTHON] [--peer-python axolotl=PYTHON]

- seed: the first design's recipe through plain SFTTrainer: one row a target, the user's turn
  doubled, cut and padded to 2,048 tokens, batches of 4. What it cuts off is printed.
- pairs ...: peers on the same rows, one a target, nothing doubled, cut or padded beyond a batch:
  TRL row by row, in batches of like length, and packed; LLaMA-Factory and axolotl row by row.
- folded: TRL fed our folded rows. No goal: it shows what folding alone is worth.
- ours: folded conversations through the project's own trainer.

Each runs in a process of its own and makes optimizer steps of about 16 targets on the same
conversations; then the held-out loss is measured, by the same code for all. The ratios of CPU
seconds count: on a shared machine wall seconds drift. Goals on a real file of 12 conversations
(EQ-12): ours at least 5 times as fast as seed, and twice as fast as the best peer on the same
pairs. The gradient of our first step is compared with that of its whole, unfolded rows: goal 1e-5.

The peers pin other versions of the stack, so each needs an environment of its own (2026-11, CPU):

    uv venv --python 3.11 peers/llamafactory
    uv pip install --python peers/llamafactory/bin/python --torch-backend cpu \
        llamafactory==0.9.5 torch==2.13.0 bitsandbytes==0.50.2
    uv pip uninstall --python peers/llamafactory/bin/python torchvision
    rm peers/llamafactory/lib/python3.11/site-packages/torchaudio/lib/*.so
    uv venv --python 3.11 peers/axolotl
    uv pip install --python peers/axolotl/bin/python --torch-backend cpu \
        axolotl==0.19.0 torch==2.13.0

PyPI's torchvision and torchaudio are built for CUDA: with them LLaMA-Factory cannot be imported
beside a CPU build of torch. It does not need the one, and of the other only the Python part.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from scripts.markdown_table import markdown_table
from shared.dataset.sample import SAMPLE_JSON

TRL_RECIPES = ("seed", "pairs", "pairs by length", "pairs packed", "folded", "ours")
PEERS = ("llamafactory", "axolotl")
SEED_GOAL, PEER_GOAL, GRADIENT_GOAL = 5.0, 2.0, 1e-5
ROOT = Path(__file__).resolve().parent.parent

Result = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """One recipe: the results of all its runs, or why there is none."""

    name: str
    results: Sequence[Result]
    reason: str = ""

    def middle(self, key: str) -> float:
        """The median of a figure over the runs."""
        return float(median(result[key] for result in self.results))

    @property
    def is_peer_on_pairs(self) -> bool:
        return self.name.startswith("pairs") and bool(self.results)


class Bench:
    """Runs parts of the benchmark, each in a process of its own."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._runs = 0

    def ours(self, work: str, **arguments: Any) -> Result:
        """`work` of bench_one_recipe; `reason` in the result says why there is none."""
        options = self._options
        request = {
            "work": work,
            "arguments": arguments,
            "file": str(options.file.resolve()),
            "model": options.model,
            "models_directory": str(options.models_directory.resolve()),
            "scratch": str(self._folder / "scratch"),
            "threads": options.threads,
        }
        return self._run([sys.executable, "-m", "scripts.bench_one_recipe"], request)

    def peer(self, name: str, python: str) -> Result:
        """One epoch of a peer on the pairs, and the held-out loss of its adapter."""
        folder = self._folder / f"{name}-{self._runs}"
        folder.mkdir()
        rows = self.ours("rows", path=str(folder / "rows.json"))
        if "reason" in rows:
            return rows
        request = {
            **rows,
            "rows": str(folder / "rows.json"),
            "folder": str(folder),
            "threads": self._options.threads,
        }
        script = str(ROOT / "scripts" / "bench_peer_process.py")
        result = self._run([python, "-W", "ignore", script, name], request)
        if "reason" in result:
            return result
        return {**rows, **result, **self.ours("score", adapter=result["adapter"])}

    def _run(self, command: list[str], request: Result) -> Result:
        self._runs += 1
        asked, answered, log = (
            self._folder / f"{self._runs}.{ending}" for ending in ("request", "result", "log")
        )
        asked.write_text(json.dumps(request))
        with log.open("w") as output:
            code = subprocess.call(
                [*command, str(asked), str(answered)],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment()},
            )
        if code or not answered.is_file():
            return {"reason": f"ended with {code}: {last_error(log)}"}
        result: Result = json.loads(answered.read_text())
        return result

    def _environment(self) -> dict[str, str]:
        threads = str(self._options.threads)
        offline = {"HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1", "DO_NOT_TRACK": "1"}
        return {"OMP_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false", **offline}


def last_error(log: Path) -> str:
    """The line that says why a process has ended, as well as a log can tell."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return next(iter(errors[-1:] or lines[-1:]), "no output")[:200]


def main() -> None:
    """Measure every recipe and print one table, the goals and the gradient's error."""
    options = parse_arguments()
    with TemporaryDirectory(prefix="brightrun-bench-") as folder:
        bench = Bench(options, Path(folder))
        base = bench.ours("untrained")
        if "reason" in base:
            raise SystemExit(base["reason"])
        print_setting(options, base)
        runs: dict[str, list[Result]] = {}
        for turn in range(options.repeat):
            for name in recipe_names(options):
                result = one_run(bench, options, name)
                runs.setdefault(name, []).append(result)
                print(f"run {turn + 1}, {name}: {in_short(result)}", file=sys.stderr, flush=True)
        measured = [measured_of(name, results) for name, results in runs.items()]
        print(table(measured))
        print_goals(measured)
        if "ours" in runs:
            print_gradients(bench.ours("gradients"))


def parse_arguments() -> argparse.Namespace:
    """The command line; the models directory outlives the run, so that the model is built once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path, nargs="?", default=SAMPLE_JSON)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--recipe", action="append", help="only this one; may be given again")
    parser.add_argument("--peer-python", action="append", default=[], metavar="PEER=PYTHON")
    default_models = Path.home() / ".cache" / "brightrun" / "models"
    parser.add_argument("--models-directory", type=Path, default=default_models)
    options = parser.parse_args()
    options.peers = dict(item.split("=", 1) for item in options.peer_python)
    if unknown := set(options.peers) - set(PEERS):
        parser.error(f"--peer-python knows {' and '.join(PEERS)}, not {', '.join(unknown)}")
    options.models_directory.mkdir(parents=True, exist_ok=True)
    return options


def recipe_names(options: argparse.Namespace) -> list[str]:
    """In the order of the table; `ours` last."""
    *upstream, folded, ours = TRL_RECIPES
    names = [*upstream, *(f"pairs, {peer}" for peer in PEERS), folded, ours]
    return [name for name in names if options.recipe is None or name in options.recipe]


def one_run(bench: Bench, options: argparse.Namespace, name: str) -> Result:
    """One epoch of the recipe."""
    peer = name.removeprefix("pairs, ")
    if peer not in PEERS:
        return bench.ours("train", recipe=name)
    if peer not in options.peers:
        return {"reason": f"no --peer-python {peer}=... was given"}
    return bench.peer(peer, options.peers[peer])


def in_short(result: Result) -> str:
    """A result as soon as it is there, for the case that the run ends before the table."""
    if "reason" in result:
        return str(result["reason"])
    loss, peak_mb = result["held_out_loss"], result["peak_bytes"] / 1e6
    return f"{result['cpu_s']:.1f} CPU s, peak {peak_mb:,.0f} MB, held-out loss {loss:.4f}"


def measured_of(name: str, results: list[Result]) -> Measured:
    """Together, without those that failed."""
    whole = [result for result in results if "reason" not in result]
    return Measured(name, whole, "" if whole else results[0]["reason"])


# --- what is printed --------------------------------------------------------------------------


def print_setting(options: argparse.Namespace, base: Result) -> None:
    """What was measured, on what, and what the seed's recipe never sees."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{options.file.name}: {base['conversations']} conversations with {base['targets']} targets"
        f" trained, {base['held_out']} held out; model {options.model} in NF4, {options.threads}"
        f" thread, median of {options.repeat}; {os.cpu_count()} cores, load {load},"
        f" Python {platform.python_version()}"
    )
    share = base["dropped_tokens"] / base["supervised_tokens"]
    print(
        f"seed cuts {base['dropped_tokens']:,} of {base['supervised_tokens']:,} supervised tokens"
        f" ({share:.0%}), in {base['cut_targets']} of {base['targets']} targets"
    )
    print(f"held-out loss before training: {base['held_out_loss']:.4f}\n")


def table(measured: Sequence[Measured]) -> str:
    """One line a recipe; each beside ours."""
    header = ["recipe", "CPU s", "spread", "wall s", "tokens fed", "supervised"]
    header += ["ms a supervised", "peak MB", "steps", "held-out loss", "ours is"]
    ours = next((item for item in measured if item.name == "ours" and item.results), None)
    lines = [line(item, ours) for item in measured if item.results]
    not_run = [f"\n{item.name}: not run: {item.reason}" for item in measured if not item.results]
    return f"\n{markdown_table(header, lines)}\n{''.join(not_run)}\n"


def line(item: Measured, ours: Measured | None) -> list[str]:
    """A recipe's cells."""
    cpu_s = item.middle("cpu_s")
    seconds = [result["cpu_s"] for result in item.results]
    return [
        item.name,
        f"{cpu_s:.1f}",
        f"{min(seconds):.1f}-{max(seconds):.1f}",
        f"{item.middle('wall_s'):.1f}",
        f"{item.middle('tokens'):,.0f}",
        f"{item.middle('supervised_tokens'):,.0f}",
        f"{per_supervised_ms(item):.2f}",
        f"{item.middle('peak_bytes') / 1e6:,.0f}",
        f"{item.middle('steps'):.0f}",
        f"{item.middle('held_out_loss'):.4f}",
        f"{cpu_s / ours.middle('cpu_s'):.2f}x" if ours else "",
    ]


def per_supervised_ms(item: Measured) -> float:
    """CPU milliseconds of an epoch for each token that carried loss."""
    return 1000 * item.middle("cpu_s") / item.middle("supervised_tokens")


def print_goals(measured: Sequence[Measured]) -> None:
    """Which of them held, in CPU seconds of an epoch."""
    by_name = {item.name: item for item in measured if item.results}
    ours = by_name.get("ours")
    if ours is None:
        return
    if seed := by_name.get("seed"):
        print(f"goal over seed, {SEED_GOAL:g}x: {verdict(seed, ours, SEED_GOAL)}")
        per_token = [
            item.middle("cpu_s") / item.middle("supervised_tokens") for item in (seed, ours)
        ]
        print(f"  and in time per supervised token: {per_token[0] / per_token[1]:.2f}x")
    peers = [item for item in measured if item.is_peer_on_pairs]
    if peers:
        best = min(peers, key=lambda item: item.middle("cpu_s"))
        words = verdict(best, ours, PEER_GOAL)
        print(f"goal over the best peer on the same pairs ({best.name}), {PEER_GOAL:g}x: {words}")


def verdict(other: Measured, ours: Measured, goal: float) -> str:
    """The ratio, its range over the runs, and whether it is enough."""
    ratio = other.middle("cpu_s") / ours.middle("cpu_s")
    runs = [
        theirs["cpu_s"] / own["cpu_s"]
        for theirs, own in zip(other.results, ours.results, strict=False)
    ]
    spread = f" (runs: {min(runs):.2f}-{max(runs):.2f})" if len(runs) > 1 else ""
    return f"{ratio:.2f}x{spread}: {'held' if ratio >= goal else 'missed'}"


def print_gradients(result: Result) -> None:
    """How far our gradient is from the unfolded rows'."""
    if "reason" in result:
        print(f"gradient: not measured: {result['reason']}")
        return
    for how, text in (("folded", "one row a micro-batch"), ("packed", "rows packed")):
        word = "held" if result[how] <= GRADIENT_GOAL else "missed"
        print(
            f"gradient of a step of {result['targets']} targets, {text}, against its unfolded,"
            f" uncut rows: relative error {result[how]:.1e}, goal {GRADIENT_GOAL:g}: {word}"
        )


if __name__ == "__main__":
    main()
