"""Two agents with directories of their own, on loopback, train one job together."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from agent.run_directory import AgentRoot
from shared import events, manifest
from shared.events import decode_journal_record
from shared.lifecycle import StopReason
from tests.agent.trainer.conftest import SHORT

JOB_FILE = """
dataset = "short.json"
job_id = "machine-{rank}"
name = "together"
checkpoint_interval_steps = 1
[hyperparameters]
{hyperparameters}
"""
HYPERPARAMETERS = {**SHORT, "batch_size": 4, "eval_fraction": 0.0, "lora_dropout": 0.1}
"""Two steps."""


def start_node(folder: Path, rank: int, port: int) -> subprocess.Popen[str]:
    """`brightrun-agent run` as an engineer types it on each machine."""
    command = [sys.executable, "-P", "-m", "agent.cli", "run", "--json"]
    options = ["--nnodes", "2", "--node-rank", str(rank), "--rdzv-endpoint", f"127.0.0.1:{port}"]
    return subprocess.Popen(
        [*command, str(folder / "job.toml"), "--root", str(folder / "root"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )


@pytest.mark.slow
def test_two_machines_train_one_job_and_the_first_keeps_the_adapter(
    tmp_path: Path, models_directory: Path, short_dataset: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = []
    for rank in range(2):
        folder = tmp_path / str(rank)
        (folder / "root").mkdir(parents=True)
        (folder / "root" / "models").symlink_to(models_directory)
        shutil.copy(short_dataset, folder / "short.json")
        lines = [f"{key} = {json.dumps(value)}" for key, value in HYPERPARAMETERS.items()]
        text = JOB_FILE.format(rank=rank, hyperparameters="\n".join(lines))
        (folder / "job.toml").write_text(text, encoding="utf-8")
        nodes.append(start_node(folder, rank, port))
    outputs = [node.communicate(timeout=400) for node in nodes]
    attempts = [
        AgentRoot(tmp_path / str(rank) / "root").job(f"machine-{rank}").attempt(1)
        for rank in range(2)
    ]
    logs = [attempt.log_path.read_text(encoding="utf-8") for attempt in attempts]
    assert [node.returncode for node in nodes] == [0, 0], (outputs, logs)

    told = [[decode_journal_record(line).event for line in out.splitlines()] for out, _ in outputs]
    ends = [records[-1] for records in told]
    assert [end.stop_reason for end in ends if isinstance(end, events.AttemptEnded)] == [
        StopReason.COMPLETED,
        StopReason.REPLICAS_FINISHED,
    ]
    steps = [
        {event.step: event.loss for event in records if isinstance(event, events.Metrics)}
        for records in told
    ]
    assert steps[0] == steps[1]
    assert len(steps[0]) == 2
    manifest.verify(attempts[0].adapter_path)
    weights = load_file(attempts[0].adapter_path / "adapter_model.safetensors")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    assert not attempts[1].adapter_path.exists()
    assert not attempts[1].checkpoints_path.exists() or not any(
        attempts[1].checkpoints_path.iterdir()
    )
