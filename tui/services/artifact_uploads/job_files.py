"""What the console itself writes about a job for the web application: metrics and a report.

The same job gives the same bytes, so that they are uploaded once. Knows nothing of Supabase.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.events import JournalRecord, RunFacts
from shared.stages import StageClock
from shared.store.stored import MetricsPoint, StoredArtifact, StoredJob

METRICS_FILE = "metrics.csv"
REPORT_FILE = "run_report.json"
LOG_FILE = "trainer.log"

_COLUMNS = (
    "step",
    "attempt",
    "epoch",
    "loss",
    "learning_rate",
    "grad_norm",
    "eval_loss",
    "tokens",
    "supervised_tokens",
    "step_s",
    "memory_bytes",
)


def metrics_csv(points: Iterable[MetricsPoint]) -> bytes:
    """One row a step, as the latest attempt measured it; empty where nothing finite was."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow((*_COLUMNS, "recorded_at"))
    for point in points:
        writer.writerow((*(getattr(point, name) for name in _COLUMNS), point.time.isoformat()))
    return text.getvalue().encode()


def run_report(
    job: StoredJob,
    records: Sequence[JournalRecord],
    artifact: StoredArtifact | None,
    hashes: Mapping[str, str],
) -> bytes:
    """What ran, on what, for how long, and what came of it; `hashes` are sha256 by file name."""
    facts = [record.event for record in records if isinstance(record.event, RunFacts)]
    report = {
        "job": job.spec.model_dump(mode="json"),
        "status": job.status.value,
        "error_message": job.error_message,
        "created_at": job.created_at.isoformat(),
        "started_at": _moment(job.state.started_at),
        "ended_at": _moment(job.state.ended_at),
        "attempts": job.state.attempt,
        "run": facts[-1].model_dump(mode="json") if facts else None,
        "stages_s": _stages(job, records),
        "figures": _figures(job),
        "adapter": None if artifact is None else _adapter(artifact),
        "sha256": dict(sorted(hashes.items())),
    }
    return (json.dumps(report, indent=2, sort_keys=True) + "\n").encode()


def _stages(job: StoredJob, records: Sequence[JournalRecord]) -> dict[str, float | None]:
    clock = StageClock()
    clock.add(records)
    # Whatever is still open then ended with the job, not when somebody writes a report of it.
    ended_at = job.state.ended_at or job.updated_at
    return {time.stage.value: time.seconds for time in clock.times(ended_at)}


def _figures(job: StoredJob) -> dict[str, float | int | None]:
    state = job.state
    names = ("step", "total_steps", "epoch", "first_loss", "loss", "eval_loss", "base_eval_loss")
    return {name: getattr(state, name) for name in names}


def _adapter(artifact: StoredArtifact) -> dict[str, Any]:
    return {
        "manifest_sha256": artifact.manifest_sha256,
        "size_bytes": artifact.size_bytes,
        "base_model": artifact.base_model,
        "base_model_revision": artifact.base_model_revision,
        "lora_config": artifact.lora_config,
        "eval_loss": artifact.eval_loss,
        "perplexity": artifact.perplexity,
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
