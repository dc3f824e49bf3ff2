"""Costs as a CSV file: one row for each day and job, and for each day and volume.

Columns:

    day         UTC, 2026-11-23
    kind        machine or storage
    job_id      empty for storage
    name        of the job, or of the volume
    gpu         GPU type; several in one cell with ; between them
    tags        of the job, with ; between them
    hours       machine hours
    gpu_hours   hours times GPUs
    usd         by our own ledger
    billed_usd  by the provider's bill; empty where it is not known for all of it

UTF-8, comma, CRLF. A text that a spreadsheet would take for a formula gets an apostrophe in front.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from shared.clean_text import clean_line
from shared.dataset.writing.new_file import new_file
from tui.services.spending.costs import CostLine

COLUMNS = (
    "day",
    "kind",
    "job_id",
    "name",
    "gpu",
    "tags",
    "hours",
    "gpu_hours",
    "usd",
    "billed_usd",
)
_FORMULA = ("=", "+", "-", "@")


def csv_text(lines: Iterable[CostLine]) -> str:
    """The whole file."""
    together: dict[tuple[object, ...], list[CostLine]] = {}
    for line in lines:
        key = (line.day, line.kind, line.job_id, line.job_name)
        together.setdefault(key, []).append(line)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(_row(some) for some in together.values())
    return text.getvalue()


def write_csv(path: Path, lines: Iterable[CostLine]) -> None:
    """Make a new file of it.

    Raises:
        InvalidInput: `path` is there already, or cannot be written.
    """
    with new_file(path) as file:
        file.write(csv_text(lines).encode("utf-8", "replace"))


def _row(lines: list[CostLine]) -> list[str]:
    """Of one day and job: it may have had several machines."""
    first = lines[0]
    billed = [line.billed_usd for line in lines if line.billed_usd is not None]
    return [
        f"{first.day:%Y-%m-%d}",
        first.kind,
        _harmless(first.job_id),
        _harmless(first.job_name),
        _harmless(";".join(sorted({line.gpu_label for line in lines}))),
        _harmless(";".join(first.tags)),
        f"{sum(line.hours for line in lines):.4f}",
        f"{sum(line.gpu_hours for line in lines):.4f}",
        f"{sum(line.usd for line in lines):.4f}",
        f"{sum(billed):.4f}" if len(billed) == len(lines) else "",
    ]


def _harmless(text: str) -> str:
    """Foreign text, in which nothing steers a terminal or a spreadsheet."""
    cleaned = clean_line(text)
    return f"'{cleaned}" if cleaned.startswith(_FORMULA) else cleaned
