"""Reads what is left of an attempt once its trainer is gone; `agent.verdict` says what it means."""

from __future__ import annotations

import json
from pathlib import Path

from agent.launch import read_exit
from agent.log_window import read_end
from agent.run_directory import AttemptDirectory
from agent.verdict import Evidence, Verdict
from shared.errors import IntegrityError
from shared.events import AdapterVerified, TrainerFinished
from shared.lifecycle import StopReason
from shared.manifest import manifest_sha256, verify

_LOG_TAIL_BYTES = 4000
_LOG_TAIL_LINES = 20


def gather_evidence(
    directory: AttemptDirectory,
    *,
    finished: TrainerFinished | None,
    verified: AdapterVerified | None,
    is_cancelled: bool,
    dataset_fault: str,
) -> Evidence:
    """What the files say, beside what the journal and the agent know. Blocks while it hashes."""
    spec = directory.read_spec()
    return Evidence(
        finished=finished,
        exit=read_exit(directory),
        is_dry_run=spec.job.dry_run,
        is_cancelled=is_cancelled,
        has_replicas=spec.job.num_gpus > 1 or spec.nodes is not None,
        is_further_node=spec.nodes is not None and spec.nodes.rank > 0,
        dataset_fault=dataset_fault,
        verified=verified is not None,
        adapter_fault=_adapter_fault(directory.adapter_path, verified),
        hang=_read_hang(directory.hang_path),
        limit=read_limit(directory.limit_path),
        log_tail=_tail(directory.log_path),
    )


def _adapter_fault(directory: Path, verified: AdapterVerified | None) -> str:
    if verified is None:
        return ""
    try:
        verify(directory)
        if manifest_sha256(directory) != verified.manifest_sha256:
            return f"{directory}: is not the adapter that was verified."
    except (IntegrityError, OSError) as error:
        return str(error)
    return ""


def _read_hang(path: Path) -> str:
    try:
        return str(json.loads(path.read_bytes())["detail"])
    except FileNotFoundError:
        return ""


def read_limit(path: Path) -> Verdict | None:
    """The limit for which an attempt was stopped; None if it was not."""
    try:
        told = json.loads(path.read_bytes())
        return Verdict(StopReason(told["stop_reason"]), str(told["detail"]))
    except FileNotFoundError:
        return None


def _tail(path: Path) -> str:
    return "\n".join(read_end(path, _LOG_TAIL_BYTES).splitlines()[-_LOG_TAIL_LINES:])
