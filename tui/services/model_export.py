"""What was measured of some versions as a CSV or JSON file: one row for each version and step.

Columns: model, version, job_id, attempt, step, epoch, loss, eval_loss, grad_norm, learning_rate,
tokens, step_s, time (ISO 8601, UTC). Empty, or null, where nothing was measured.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from typing import Any

from shared.clean_text import clean_line
from shared.dataset.writing.new_file import new_file
from shared.errors import InvalidInput
from tui.services.model_comparison import ComparedVersion

COLUMNS = (
    "model",
    "version",
    "job_id",
    "attempt",
    "step",
    "epoch",
    "loss",
    "eval_loss",
    "grad_norm",
    "learning_rate",
    "tokens",
    "step_s",
    "time",
)
_SUFFIXES = (".csv", ".json")


def checked_export_path(typed: str) -> Path:
    """Where to write, by its name as CSV or JSON.

    Raises:
        InvalidInput: it ends in neither.
    """
    path = Path(clean_line(typed)).expanduser()
    if path.suffix.lower() not in _SUFFIXES:
        raise InvalidInput(f"{path}: ends in neither .csv nor .json.")
    return path


def metric_rows(compared: Iterable[ComparedVersion]) -> list[dict[str, Any]]:
    """Plain values under `COLUMNS`."""
    return [
        {
            "model": each.version.model_name,
            "version": each.version.version,
            "job_id": each.version.job_id,
            "attempt": point.attempt,
            "step": point.step,
            "epoch": point.epoch,
            "loss": point.loss,
            "eval_loss": point.eval_loss,
            "grad_norm": point.grad_norm,
            "learning_rate": point.learning_rate,
            "tokens": point.tokens,
            "step_s": point.step_s,
            "time": point.time.astimezone(UTC).isoformat(),
        }
        for each in compared
        for point in each.points
    ]


def write_metrics(path: Path, compared: Iterable[ComparedVersion]) -> int:
    """Make a new file of it; returns the number of rows.

    Raises:
        InvalidInput: `path` is there already, cannot be written, or ends in neither suffix.
    """
    path = checked_export_path(str(path))
    rows = metric_rows(compared)
    text = _csv_text(rows)
    if path.suffix.lower() == ".json":
        text = json.dumps(rows, indent=1, allow_nan=False) + "\n"
    with new_file(path) as file:
        file.write(text.encode("utf-8", "replace"))
    return len(rows)


def _csv_text(rows: Iterable[dict[str, Any]]) -> str:
    written = io.StringIO()
    writer = csv.DictWriter(written, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()
