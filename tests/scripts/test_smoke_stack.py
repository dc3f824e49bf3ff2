"""The GPU's benchmark runs on a small stack, so that it need not be mended where time is rented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts import smoke_gpu, smoke_stack
from scripts.smoke_stack import TINY, Result

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def request_of(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What every measurement is asked, the small stack being built."""
    model = tmp_path_factory.mktemp("smoke") / "model"
    request: Result = {"model": str(model), "layers": 1, "is_tiny": True}
    built = smoke_stack.build(request, TINY)
    assert built["layers"] == 1
    return request


def test_ours_and_the_plain_recipe_are_measured_on_the_same_rows(request_of: Result) -> None:
    results = []
    for recipe in ("plain, padded to the longest of 4", "ours, packs of 8192"):
        told = {"rows": "mixed rows", "recipe": recipe}
        results.append({**smoke_stack.measure({**request_of, **told}, TINY), **told})
    plain, ours = results
    assert ours["attention"] == TINY.attention
    assert min(plain["stall_s"], ours["stall_s"], ours["tokens_per_s"]) > 0
    assert list((Path(request_of["model"]).parent / "checkpoints").glob("checkpoint-*"))
    ratio = f"{ours['tokens_per_s'] / plain['tokens_per_s']:.2f}x"
    assert smoke_gpu.cells(ours, results)[-1] == ratio
    assert ratio in smoke_gpu.verdict(results)


def test_a_recipe_that_has_no_memory_says_so_and_the_others_are_compared(tmp_path: Path) -> None:
    figures: dict[str, Any] = {"step_s": 1.0, "peak_bytes": 1, "stall_s": 0.0, "attention": "sdpa"}
    results: list[Result] = [
        {"rows": "mixed rows", "recipe": "plain, padded to 2048", "reason": "out of memory"},
        {"rows": "mixed rows", "recipe": "plain", "tokens_per_s": 100.0, **figures},
        {"rows": "mixed rows", "recipe": "ours", "tokens_per_s": 160.0, **figures},
    ]
    assert smoke_gpu.cells(results[0], results)[2] == "out of memory"
    assert smoke_gpu.cells(results[2], results)[-1] == "1.60x"
    assert smoke_gpu.verdict(results) == "mixed rows: 1.60x plain, goal 1.5x: held (sdpa)"


def test_a_measurement_that_takes_too_long_is_ended_and_named(tmp_path: Path) -> None:
    request: Result = {"work": "build", "is_tiny": True, "model": str(tmp_path), "layers": 1}
    assert smoke_gpu.in_own_process(request, tmp_path, 0.2) == {"reason": "not done after 0 s"}
