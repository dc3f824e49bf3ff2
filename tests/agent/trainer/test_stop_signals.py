"""SIGTERM is acted upon within 5 s, though the main thread is far away in C."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from agent.trainer.exit_codes import EXIT_TERMINATED
from shared.events import LogLine, TrainerFinished, decode_trainer_record
from shared.lifecycle import StopReason

CHILD = """
import hashlib, signal, sys, time
from pathlib import Path
from agent.trainer.event_writer import EventWriter
from agent.trainer.stop_signals import StopSignals
from shared.events import LogLine

writer = EventWriter(Path(sys.argv[1]))

def save(timeout_s):
    writer.write(LogLine(message=f"saving, {timeout_s:.1f} s left"))
    return "step 7 is saved"

def hang(timeout_s):
    time.sleep(600)

def far_away_in_c():
    # Minutes in one call, outside the interpreter's lock; no signal interrupts it.
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)

with StopSignals(writer) as signals:
"""


def start(folder: Path, body: str) -> subprocess.Popen[str]:
    """A small process with the trainer's signals; it says `ready` before it is far away."""
    program = CHILD + textwrap.indent(textwrap.dedent(body), "    ")
    command = [sys.executable, "-c", program, str(folder / "trainer.jsonl")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> int:
    try:
        return process.wait(timeout=30)
    finally:
        process.kill()
        process.communicate()


def told(folder: Path) -> list[object]:
    lines = (folder / "trainer.jsonl").read_bytes().splitlines()
    return [decode_trainer_record(line).event for line in lines]


def test_sigterm_in_the_middle_of_a_long_call_saves_says_so_and_exits(tmp_path: Path) -> None:
    process = start(tmp_path, "signals.end_with(save)\nfar_away_in_c()")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert end(process) == EXIT_TERMINATED
    assert time.monotonic() - began < 5
    assert told(tmp_path) == [
        LogLine(message="saving, 3.5 s left"),
        TrainerFinished(stop_reason=StopReason.TRAINER_KILLED, detail="step 7 is saved"),
    ]


def test_a_save_that_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    process = start(tmp_path, "signals.end_with(hang)\nfar_away_in_c()")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert end(process) == EXIT_TERMINATED
    assert time.monotonic() - began < 5


def test_before_training_sigterm_just_ends_the_process(tmp_path: Path) -> None:
    process = start(tmp_path, "far_away_in_c()")
    process.send_signal(signal.SIGTERM)
    assert end(process) == -signal.SIGTERM
    assert told(tmp_path) == []


def test_a_run_that_ends_by_itself_in_time_has_the_last_word(tmp_path: Path) -> None:
    body = """
    signals.end_with(save)
    print("ready", flush=True)
    while not signals.terminated:
        time.sleep(0.01)
    """
    process = start(tmp_path, body)
    process.send_signal(signal.SIGTERM)
    assert end(process) == 0
    assert told(tmp_path) == []


def test_a_checkpoint_is_asked_for_without_ending_anything(tmp_path: Path) -> None:
    body = """
    signals.end_with(save)
    print("ready", flush=True)
    while not signals.wants_checkpoint:
        time.sleep(0.01)
    sys.exit(0 if not signals.terminated else 1)
    """
    process = start(tmp_path, body)
    process.send_signal(signal.SIGUSR1)
    assert end(process) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_afterwards_signals_are_as_they_were(number: signal.Signals, tmp_path: Path) -> None:
    from agent.trainer.event_writer import EventWriter
    from agent.trainer.stop_signals import StopSignals

    before = signal.getsignal(number), signal.set_wakeup_fd(-1)
    with StopSignals(EventWriter(tmp_path / "trainer.jsonl")) as signals:
        signals.end_with(lambda timeout_s: "")
        assert signal.getsignal(number) is not before[0]
    assert (signal.getsignal(number), signal.set_wakeup_fd(before[1])) == (before[0], -1)
