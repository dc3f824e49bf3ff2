"""A trainer without torch: real events, checkpoints and adapter, made-up losses.

    python stand_in_trainer.py ATTEMPT_DIRECTORY

It behaves as the `key=value` words of the job's notes say:
    steps=N delay=SECONDS      optimizer steps, and how long each takes
    slow=STEP                  from that step on each takes four times as long
    at=STEP dies=HOW until=N   at that step `crash`, `kill` itself, `hang`, end with `exit0`, be
                               `stopped`, hold the `gil` for ever, wait in a `deadlock`, say what a
                               GPU with an `ecc` error makes torch say, die of a `segfault`, or take
                               200 MB of `memory`; in attempts up to N (1 by default)
    says=ACTIVITY              at that step, first, it enters this activity
    flood=LINES                so many lines to stdout before the first step
    roar=MIB line=MIB          before the first step, so much to stdout of lines that steer a
                               terminal, and then a single line of that size
    talk=1                     a line to stdout at each step
    chatter=EVENTS             so many log events before the first step
    copy=BYTES                 loads a quantised copy of the base model of that size
    weights=BYTES              the size of the adapter's weights
    garbage=1                  a line that is no event
    stubborn=1                 ignores SIGTERM
    child=1                    starts a process that outlives it, and writes its pid to child.pid
    child=session              the same, in a session of its own
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from agent.run_directory import AttemptDirectory, checkpoint_name
from shared import events, manifest
from shared.lifecycle import Activity, JobStatus, StopReason


class StandInTrainer:
    def __init__(self, directory: AttemptDirectory) -> None:
        self.directory = directory
        self.spec = directory.read_spec()
        self.words = dict(word.split("=", 1) for word in self.spec.job.notes.split())
        self.steps = int(self.words.get("steps", "4"))
        self.file = directory.trainer_events_path.open("ab", buffering=0)
        self.is_told_to_stop = False
        self.is_told_to_save = False

    def run(self) -> int:
        self._listen()
        self._prelude()
        for step in range(self._resume() + 1, self.steps + 1):
            time.sleep(self._delay_s(step))
            self._perhaps_die(step)
            self._write_metrics(step)
            if "talk" in self.words:
                print(f"the stand-in trainer took step {step}", flush=True)
            if self.is_told_to_save or self.is_told_to_stop or step % 2 == 0:
                self._save(step)
            if self.is_told_to_stop:
                return self._finish(StopReason.TRAINER_KILLED, f"SIGTERM; saved step {step}", 75)
            if self.spec.job.dry_run:
                return self._finish(StopReason.DRY_RUN_PASSED, "", 0)
        self._save_adapter()
        return self._finish(StopReason.COMPLETED, "", 0)

    def _delay_s(self, step: int) -> float:
        is_slow = step >= int(self.words.get("slow", self.steps + 1))
        return float(self.words.get("delay", "0")) * (4 if is_slow else 1)

    def write(self, event: events.Event) -> None:
        record = events.TrainerRecord(time=events.utc_now(), event=event)
        self.file.write(events.encode(record).encode() + b"\n")

    def _listen(self) -> None:
        def stop(*_: object) -> None:
            self.is_told_to_stop = True

        def save(*_: object) -> None:
            self.is_told_to_save = True

        signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in self.words else stop)
        signal.signal(signal.SIGUSR1, save)
        faulthandler.register(signal.SIGUSR2, all_threads=True)

    def _prelude(self) -> None:
        if "child" in self.words:
            own_session = self.words["child"] == "session"
            child = subprocess.Popen(["sleep", "600"], start_new_session=own_session)
            (self.directory.path / "child.pid").write_text(str(child.pid))
        for number in range(int(self.words.get("flood", "0"))):
            print(f"line {number} of the flood")
        self._roar()
        for number in range(int(self.words.get("chatter", "0"))):
            self.write(events.LogLine(message=f"{number} ".ljust(200, "-")))
        if "copy" in self.words:
            size_bytes = int(self.words["copy"])
            self.write(events.ModelProgress(what="loading", done_bytes=0, total_bytes=size_bytes))
        print("the stand-in trainer écrit", os.environ.get("BRIGHTRUN_SECRET", "no secret"))
        sys.stdout.flush()
        if "garbage" in self.words:
            self.file.write(b'{"time": "now", "event": {"kind": "confetti"}}\n')
        self._enter(JobStatus.PREPROCESSING, Activity.CHECKING_DATASET)
        self._enter(JobStatus.MODEL_LOADED, Activity.LOADING_MODEL)
        self.write(
            events.RunFacts(
                conversations=2,
                held_out_conversations=0,
                targets=4,
                tokens_per_epoch=100,
                supervised_tokens_per_epoch=50,
                total_steps=self.steps,
                trainable_parameters=8,
                base_model=self.spec.job.base_model,
                device="none",
                optim="none",
                quantization="none",
            )
        )

    def _roar(self) -> None:
        line = "\x1b[31m\x1b]52;c;aGFybQ==\x07\x1b]0;title\x07\u202eROAR\r 50%\x1b[2J\n" * 30_000
        for _ in range(int(self.words.get("roar", "0"))):
            sys.stdout.write(line[: 1 << 20])
        for _ in range(int(self.words.get("line", "0"))):
            sys.stdout.write("\x1b]52;c;" + "A" * (1 << 20))
        sys.stdout.write("\n" if "line" in self.words else "")

    def _resume(self) -> int:
        self._enter(JobStatus.TRAINING, Activity.TRAINING)
        for earlier in self.directory.earlier():
            for path in sorted(earlier.checkpoints_path.glob("step-????????"), reverse=True):
                step = int(manifest.verify(path)["step"])
                self.write(events.Resumed(step=step, path=str(path)))
                return step
        return 0

    def _enter(self, status: JobStatus, activity: Activity) -> None:
        self.write(events.StageEntered(status=status, activity=activity))

    def _perhaps_die(self, step: int) -> None:
        is_time = step == int(self.words.get("at", "0"))
        if not is_time or self.spec.attempt > int(self.words.get("until", "1")):
            return
        if "says" in self.words:
            self._enter(JobStatus.TRAINING, Activity(self.words["says"]))
        match self.words["dies"]:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                while not self.is_told_to_stop:
                    time.sleep(0.05)
            case "stopped":
                while True:  # Whoever wakes it gets its stacks and no more.
                    os.kill(os.getpid(), signal.SIGSTOP)
            case "gil":
                while True:  # Each signal ends one sleep.
                    ctypes.PyDLL(None).sleep(600)
            case "deadlock":
                _deadlock()
            case "segfault":
                ctypes.string_at(0)
            case "ecc":
                raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
            case "memory":
                bytearray(200 << 20).replace(b"\0", b"x")
            case "exit0":
                sys.exit(0)
            case "crash":
                raise RuntimeError("the stand-in trainer crashes as told")

    def _write_metrics(self, step: int) -> None:
        self.write(
            events.Metrics(
                step=step,
                epoch=step / self.steps,
                loss=2.0 / step,
                grad_norm=1.0,
                learning_rate=1e-4,
                tokens=100,
                supervised_tokens=50,
                step_s=self._delay_s(step) if "slow" in self.words else 0.1,
            )
        )

    def _save(self, step: int) -> None:
        path = self.directory.checkpoints_path / checkpoint_name(step)
        self.is_told_to_save = False
        manifest.commit(path, lambda partial: _write_weights(partial, {"step": step}))
        self.write(
            events.CheckpointCommitted(
                step=step,
                path=str(path),
                manifest_sha256=manifest.manifest_sha256(path),
                size_bytes=10,
                seconds=0.0,
            )
        )

    def _save_adapter(self) -> None:
        path = self.directory.adapter_path
        size_bytes = int(self.words.get("weights", "10"))
        self._enter(JobStatus.TRAINING, Activity.SAVING_ADAPTER)
        manifest.commit(
            path, lambda partial: _write_weights(partial, {"job": "stand-in"}, size_bytes)
        )
        digest = manifest.manifest_sha256(path)
        self.write(events.AdapterSaved(path=str(path), manifest_sha256=digest, size_bytes=10))
        self.write(
            events.AdapterVerified(
                manifest_sha256=digest, prompt="Hello", generated="world", generated_tokens=1
            )
        )

    def _finish(self, reason: StopReason, detail: str, exit_code: int) -> int:
        self.write(events.TrainerFinished(stop_reason=reason, detail=detail))
        return exit_code


def _deadlock() -> None:
    """Two threads that wait for each other."""
    first, second = threading.Lock(), threading.Lock()
    both_hold_one = threading.Barrier(2)

    def hold_and_wait(held: threading.Lock, wanted: threading.Lock) -> None:
        with held:
            both_hold_one.wait()
            wanted.acquire()

    threading.Thread(target=hold_and_wait, args=(second, first), daemon=True).start()
    hold_and_wait(first, second)


def _write_weights(partial: Path, facts: dict[str, Any], size_bytes: int = 10) -> dict[str, Any]:
    (partial / "adapter_config.json").write_text('{"r": 8}')
    content = b"0123456789" * (size_bytes // 10 + 1)
    (partial / "adapter_model.safetensors").write_bytes(content[:size_bytes])
    return facts


if __name__ == "__main__":
    sys.exit(StandInTrainer(AttemptDirectory(Path(sys.argv[1]))).run())
