"""Measures training on a GPU: a stack shaped like Llama 3 70B with few layers, for some minutes.

    python scripts/smoke_gpu.py [--layers 4] [--minutes 9] [--folder DIR] [--tiny]

Random weights in NF4, LoRA on the seven projections, activation checkpointing, paged 8-bit AdamW.
Compared in one run, 16 rows an optimizer step:

- whole rows: every row has 2,048 tokens. Plain: SFTTrainer and PEFT as documented, 4 rows a batch.
- mixed rows: 512 to 2,048 tokens. Plain: padded to 2,048, and padded to the longest of 4. Ours:
  packs of 8,192 tokens.

Printed are tokens a second (padding is not counted), peak memory, and for how long a checkpoint
holds the training up; goal 1.5 times plain. A few layers say what one layer costs: nothing is
extrapolated to 80. Each measurement has a process and a limit of its own, and its line is printed
when it is there; one that runs out of memory says so, and the others go on.

`--tiny` runs the same code with a small stack on a CPU, to see that it works. The script itself is
unverified on hardware: no GPU has run it yet.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scripts.markdown_table import markdown_table

ROOT = Path(__file__).resolve().parent.parent
BUILD_LIMIT_S = 300.0
MEASUREMENT_LIMIT_S = 150.0
GOAL = 1.5
NO_VERDICT = (
    "The goal is a GPU's: a small stack on a CPU, with rows 64 times shorter, says nothing."
)

MEASUREMENTS = (
    ("whole rows", "plain, 4 x 2048"),
    ("whole rows", "ours, packs of 8192"),
    ("mixed rows", "plain, padded to 2048"),
    ("mixed rows", "plain, padded to the longest of 4"),
    ("mixed rows", "ours, packs of 8192"),
)
HEADER = ("rows", "recipe", "tokens/s", "step s", "peak GB", "checkpoint holds up s", "ratio")

Result = dict[str, Any]


def main() -> None:
    """Build the stack once, measure each recipe in its own process, and print the table."""
    options = parse_arguments()
    deadline = time.monotonic() + 60 * options.minutes
    with TemporaryDirectory(prefix="brightrun-smoke-", dir=options.folder) as folder:
        shape = {"layers": options.layers, "is_tiny": options.tiny}
        request = {"work": "build", "model": str(Path(folder) / "model"), **shape}
        built = in_own_process(request, Path(folder), min(BUILD_LIMIT_S, 60 * options.minutes))
        if "reason" in built:
            raise SystemExit(f"the stack could not be built: {built['reason']}")
        print(heading(built, options), flush=True)
        results: list[Result] = []
        for rows, recipe in MEASUREMENTS:
            left_s = deadline - time.monotonic()
            told = {**request, "work": "measure", "rows": rows, "recipe": recipe}
            result = (
                in_own_process(told, Path(folder), min(MEASUREMENT_LIMIT_S, left_s))
                if left_s > 0
                else {"reason": "no time was left"}
            )
            results.append({**result, "rows": rows, "recipe": recipe})
            print(" | ".join(cells(results[-1], results)), flush=True)
    print("\n" + markdown_table(HEADER, [cells(result, results) for result in results]))
    print(verdict(results) if built["is_gpu"] else NO_VERDICT)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--folder", type=Path, help="with room for the weights: 11 GB for 4 layers")
    parser.add_argument("--tiny", action="store_true", help="a small stack, on a CPU")
    return parser.parse_args()


def in_own_process(request: Result, folder: Path, limit_s: float) -> Result:
    """What scripts.smoke_stack makes of the request; `reason` where there is no result."""
    asked, answered, log = (folder / f"work.{ending}" for ending in ("request", "result", "log"))
    asked.write_text(json.dumps(request))
    answered.unlink(missing_ok=True)
    command = [sys.executable, "-m", "scripts.smoke_stack", str(asked), str(answered)]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if request["is_tiny"] else {}
    # Attention kernels may come from the hub, where there is one and the user lets us.
    environment = {"HF_HUB_OFFLINE": "1", **os.environ, **hidden}
    with log.open("w") as output:
        try:
            code = subprocess.run(
                command,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=limit_s,
            ).returncode
        except subprocess.TimeoutExpired:
            return {"reason": f"not done after {limit_s:.0f} s"}
    if answered.is_file():
        result: Result = json.loads(answered.read_text())
        return result
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return {"reason": f"ended with {code}: {lines[-1][:160] if lines else 'no output'}"}


def heading(built: Result, options: argparse.Namespace) -> str:
    """What runs where, and what that does not prove."""
    shape = "a small stack" if options.tiny else "shaped like Llama 3 70B"
    proof = "" if built["is_gpu"] else "\nUnverified on hardware: there is no GPU here."
    return (
        f"{built['device']}, {shape}, {built['layers']} layers, {built['parameters']:,} parameters"
        f" in NF4, random weights; {built['versions']}{proof}\n"
    )


def cells(result: Result, all_results: list[Result]) -> tuple[str, ...]:
    """A line of the table; the ratio is to the first plain recipe on the same rows."""
    if "reason" in result:
        return result["rows"], result["recipe"], result["reason"], "", "", "", ""
    plain = plain_beside(result, all_results)
    ratio = f"{result['tokens_per_s'] / plain[0]['tokens_per_s']:.2f}x" if plain else ""
    return (
        result["rows"],
        result["recipe"],
        f"{result['tokens_per_s']:,.0f}",
        f"{result['step_s']:.3f}",
        f"{result['peak_bytes'] / 1e9:.1f}",
        f"{result['stall_s']:.3f}",
        ratio,
    )


def plain_beside(result: Result, all_results: list[Result]) -> list[Result]:
    """The plain recipes on the same rows that could be measured."""
    return [
        other
        for other in all_results
        if other["rows"] == result["rows"]
        and other["recipe"].startswith("plain")
        and "reason" not in other
    ]


def verdict(results: list[Result]) -> str:
    """Which goals held, against every plain recipe on the same rows."""
    lines = []
    for result in results:
        if not result["recipe"].startswith("ours") or "reason" in result:
            continue
        for plain in plain_beside(result, results):
            ratio = result["tokens_per_s"] / plain["tokens_per_s"]
            word = "held" if ratio >= GOAL else "missed"
            words = f"{result['rows']}: {ratio:.2f}x {plain['recipe']}, goal {GOAL:g}x: {word}"
            lines.append(f"{words} ({result['attention']})")
    return "\n".join(lines) or "nothing could be compared"


if __name__ == "__main__":
    main()
