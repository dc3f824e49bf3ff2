"""Runs the real trainer as a process, and reads what it wrote."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from agent.run_directory import AttemptDirectory
from shared import events
from shared.events import decode_trainer_record


def next_attempt(attempt: AttemptDirectory) -> AttemptDirectory:
    """What the supervisor makes after an interruption: the same job, one number higher."""
    following = AttemptDirectory(attempt.path.parent / str(attempt.number + 1))
    following.path.mkdir()
    spec = attempt.read_spec().model_copy(update={"attempt": following.number})
    following.spec_path.write_text(spec.model_dump_json(), encoding="utf-8")
    return following


def start_trainer(
    attempt: AttemptDirectory,
    program: Sequence[str] = ("-m", "agent.trainer"),
    arguments: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """The real trainer process, its output in the attempt's log."""
    with attempt.log_path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", *program, str(attempt.path), *arguments],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )


def run_trainer(attempt: AttemptDirectory, timeout_s: float = 120) -> int:
    """Run the trainer to its end; returns the exit code."""
    process = start_trainer(attempt)
    try:
        return process.wait(timeout=timeout_s)
    finally:
        process.kill()
        process.wait()


def read_events(attempt: AttemptDirectory) -> list[events.Event]:
    """All whole lines that the trainer has written so far."""
    if not attempt.trainer_events_path.exists():
        return []
    text = attempt.trainer_events_path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1].splitlines()
    return [decode_trainer_record(line).event for line in whole]


def metrics_by_step(*attempts: AttemptDirectory) -> dict[int, events.Metrics]:
    """The latest attempt's metrics of each step."""
    return {
        event.step: event
        for attempt in attempts
        for event in read_events(attempt)
        if isinstance(event, events.Metrics)
    }


def finish_of(attempt: AttemptDirectory) -> events.TrainerFinished:
    """The trainer's last word."""
    last = read_events(attempt)[-1]
    assert isinstance(last, events.TrainerFinished), attempt.log_path.read_text()
    return last


def wait_until(condition: Callable[[], bool], timeout_s: float = 90) -> None:
    """Wait for a condition; fails loudly at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)
