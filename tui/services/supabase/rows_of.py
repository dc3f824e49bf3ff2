"""Rows of the web application's tables, as they are sent; pure.

Every value is plain JSON: a number that is not finite is null, and the row says so.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from shared.events import Evaluation, JournalRecord, Metrics
from shared.model_version import version_id
from shared.store.stored import StoredArtifact
from shared.store.web_facts import StoredObject, StoredVersion, WebFacts
from tui.services.web_objects import ADAPTER

Row = dict[str, Any]

_NOT_SENT = frozenset(
    # The database's own.
    {"updated_at"}
    # Of the web API alone.
    | {"gpu_type", "base_model_revision", "dataset_sha256", "retry_of"}
)
_OBJECTS = UUID("c4c1d1c5-7a0e-5b53-9a55-2f1a8f0c6f1d")
"""Drawn once, at random, for this project."""
FILE = "file"
_STORED = "stored"


def job_row(job_object: Row, owner: str | None, as_of: datetime) -> Row:
    """A row of `training_jobs`; `owner` is whose it is where the job itself does not say."""
    row = {name: value for name, value in job_object.items() if name not in _NOT_SENT}
    row["created_by"] = row["created_by"] or owner
    row["source_updated_at"] = as_of.isoformat()
    return _without_unknown(row, "created_by", "training_file_id")


def metric_rows(records: Iterable[JournalRecord], web_job_id: str) -> list[list[Row]]:
    """Rows of `training_metrics_history`, in groups of the same columns; the latest of each key.

    A step and its evaluation fill other columns of one row, and whichever is sent leaves the other
    as it is.
    """
    groups: dict[tuple[str, ...], dict[tuple[int, int], Row]] = {}
    for record in records:
        event = record.event
        if not isinstance(event, Metrics | Evaluation):
            continue
        row = {
            "training_job_id": web_job_id,
            "attempt": record.attempt,
            "step": event.step,
            "epoch": _finite(event.epoch),
            "recorded_at": record.time.isoformat(),
            **(_measured(event) if isinstance(event, Metrics) else _evaluated(event)),
        }
        groups.setdefault(tuple(row), {})[record.attempt, event.step] = row
    return [list(rows.values()) for rows in groups.values()]


def _measured(event: Metrics) -> Row:
    figures = {
        "loss": event.loss,
        "learning_rate": event.learning_rate,
        "grad_norm": event.grad_norm,
    }
    kept = {name: _finite(value) for name, value in figures.items()}
    broken = any(figures[name] is not None and kept[name] is None for name in figures)
    return {**kept, "tokens": event.tokens, "is_finite": not (broken or event.non_finite)}


def _evaluated(event: Evaluation) -> Row:
    loss = _finite(event.loss)
    if loss is None or event.non_finite:
        return {"eval_loss": loss, "is_finite": False}
    return {"eval_loss": loss}  # Whether the step's own figures were finite is left as it is.


def artifact_rows(job_object: Row, facts: WebFacts, owner: str | None) -> list[Row]:
    """Rows of `model_artifacts`: the job's weights that lie verified in the storage."""
    adapters = {adapter.attempt: adapter for adapter in facts.adapters}
    versions = {version.attempt: version for version in facts.versions}
    return [
        _artifact_row(
            job_object, stored, adapters.get(stored.attempt), versions.get(stored.attempt), owner
        )
        for stored in _weights(facts.objects)
    ]


def _weights(objects: Sequence[StoredObject]) -> list[StoredObject]:
    """One object of each adapter, the weights themselves; all others that are no mere files."""
    adapters: dict[int, StoredObject] = {}
    others = []
    for stored in objects:
        if stored.artifact_type == ADAPTER:
            known = adapters.get(stored.attempt)
            if known is None or stored.file_name.endswith(".safetensors"):
                adapters[stored.attempt] = stored
        elif stored.artifact_type != FILE:
            others.append(stored)
    return [*adapters.values(), *others]


def _artifact_row(
    job: Row,
    stored: StoredObject,
    adapter: StoredArtifact | None,
    version: StoredVersion | None,
    owner: str | None,
) -> Row:
    is_adapter = stored.artifact_type == ADAPTER
    if not is_adapter:
        version = None
    row = {
        "id": version_id(job["id"], stored.attempt)
        if is_adapter
        else str(uuid5(_OBJECTS, stored.object_name)),
        "training_job_id": job["id"],
        "artifact_type": stored.artifact_type,
        "storage_path": stored.object_name,
        "file_size_bytes": stored.size_bytes,
        "sha256": stored.sha256,
        "attempt": stored.attempt,
        "base_model": job["base_model"] if adapter is None else adapter.base_model,
        "base_model_revision": None if adapter is None else adapter.base_model_revision,
        "lora_config": _lora_config(job) if adapter is None else adapter.lora_config,
        "manifest_sha256": adapter.manifest_sha256 if adapter and is_adapter else None,
        "validation_loss": _finite(adapter.eval_loss) if adapter and is_adapter else None,
        "validation_perplexity": _finite(adapter.perplexity) if adapter and is_adapter else None,
        "name": None if version is None else version.model_name,
        "version": None if version is None else version.version,
        "deployment_status": (_STORED if version is None else version.deployment_status),
        "deployed_at": (
            None
            if version is None or version.deployed_at is None
            else version.deployed_at.isoformat()
        ),
        "created_by": job["created_by"] or owner,
    }
    if adapter and is_adapter:  # Elsewhere it is when the database first hears of it.
        row["created_at"] = adapter.created_at.isoformat()
    return _without_unknown(row, "created_by")


def _without_unknown(row: Row, *names: str) -> Row:
    """What we do not know of these stays as others have said it."""
    return {name: value for name, value in row.items() if name not in names or value is not None}


def _lora_config(job: Row) -> Row:
    names = ("lora_r", "lora_alpha", "lora_dropout", "target_modules")
    return {name: job["hyperparameters"].get(name) for name in names}


def digest_of(rows: Sequence[Row]) -> str:
    """Names the content of these rows; "" for none."""
    if not rows:
        return ""
    ordered = sorted(rows, key=lambda row: str(row["storage_path"]))
    return hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
