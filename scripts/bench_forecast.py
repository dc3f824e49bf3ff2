"""Forecast against actual: real jobs of the tiny model here, each foreseen from those before it.

The first has no past, and its training cannot be foreseen; what matters is how far off the second
and later ones are. Every other job trains twice as many epochs, so that a figure which is only
repeated is found out.

    python -m scripts.bench_forecast --jobs 4
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scripts.markdown_table import markdown_table
from shared.dataset.sample import SAMPLE_JSON
from shared.forecast.actual import Actual
from shared.forecast.forecast import Forecast, PartName, Span
from tests.end_to_end.road import Road

CONVERSATIONS = 12
PARTS = (PartName.LOAD, PartName.TRAINING, PartName.EVALUATION, PartName.SAVING)


def measure(jobs: int) -> list[list[str]]:
    """A row for each part of each job: expected, its range, actual, and the ratio."""
    with TemporaryDirectory(prefix="bench-forecast-") as name:
        folder = Path(name)
        road = Road(folder, write_dataset(folder / "short.json"))
        try:
            return [row for number in range(jobs) for row in one_job(road, number)]
        finally:
            road.end_agent()


def one_job(road: Road, number: int) -> list[list[str]]:
    """Run it, and compare."""
    job_id, epochs = f"job-{number}", 1 + number % 2
    code, out, err = road.start(job_id, "--watch", f"--set=num_epochs={epochs}")
    if code:
        raise SystemExit(f"{job_id} ended with {code}:\n{out}\n{err}")
    told: dict[str, Any] = road.show(job_id)["forecast"]
    foreseen, actual = (
        Forecast.model_validate(told["foreseen"]),
        Actual.model_validate(told["actual"]),
    )
    rows = [
        row_of(job_id, epochs, part, foreseen.part(part).seconds, actual.part_s(part))
        for part in PARTS
    ]
    return [*rows, row_of(job_id, epochs, "all of it", foreseen.total, actual.total_s)]


def row_of(
    job_id: str, epochs: int, name: str, expected: Span | None, took: float | None
) -> list[str]:
    """One line of the table."""
    words = [f"{job_id}, {epochs} epochs", str(name)]
    if expected is None or took is None or not expected.expected:
        return [*words, "-", "-", "-" if took is None else f"{took:.2f}", "-"]
    spread = f"{expected.best:.2f}-{expected.worst:.2f}"
    ratio = took / expected.expected
    return [*words, f"{expected.expected:.2f}", spread, f"{took:.2f}", f"{ratio:.2f}"]


def write_dataset(path: Path, conversations: int = CONVERSATIONS) -> Path:
    """The shortest conversations of the sample."""
    document = json.loads(SAMPLE_JSON.read_text(encoding="utf-8"))
    document["conversations"].sort(key=lambda item: len(json.dumps(item)))
    document["conversations"] = document["conversations"][:conversations]
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=4)
    rows = measure(parser.parse_args().jobs)
    header = ["job", "part", "expected s", "range s", "took s", "took / expected"]
    print(markdown_table(header, rows))


if __name__ == "__main__":
    main()
