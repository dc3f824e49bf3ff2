"""The part of bench_memory that trains: counts the bytes of all tensors while the trainer works."""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from agent.run_directory import AttemptDirectory
from agent.trainer.event_writer import EventWriter
from agent.trainer.parallel.replicas import Replicas
from agent.trainer.train import train
from shared import events
from shared.lifecycle import Activity


class LiveTensors(TorchDispatchMode):
    """Bytes of every storage that an operation has touched, from then until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self._sizes: dict[int, int] = {}
        self._now = 0
        self.peak = 0

    def forget_peak(self) -> None:
        """The peak begins anew with what is alive now."""
        self.peak = self._now

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in tree_iter((args, kwargs, result)):
            if isinstance(value, torch.Tensor):
                self._see(value.untyped_storage())
        return result

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self._now += storage.nbytes()
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._freed, key)

    def _freed(self, key: int) -> None:
        self._now -= self._sizes.pop(key)


@dataclass(frozen=True)
class StepPeak:
    """The peak up to the end of a step, in bytes."""

    tokens: int
    """Of all its micro-batches."""
    tensors: int | None
    """None where tensors were not counted."""
    resident: int


class Listener(EventWriter):
    """Writes as always, and looks at the peak after every step."""

    def __init__(self, path: Path, live: LiveTensors | None) -> None:
        super().__init__(path)
        self._live = live
        self.last_step: StepPeak | None = None

    def write(self, event: events.Event) -> None:
        """Append one event."""
        if isinstance(event, events.StageEntered) and event.activity is Activity.TRAINING:
            # The peak of reading the model is none of a step's: proc(5), clear_refs.
            Path("/proc/self/clear_refs").write_text("5")
            if self._live is not None:
                self._live.forget_peak()
        if isinstance(event, events.Metrics):
            tensors = self._live.peak if self._live is not None else None
            self.last_step = StepPeak(event.tokens, tensors, resident_bytes("VmHWM"))
        super().write(event)


def train_measured(attempt: AttemptDirectory, *, count: bool) -> StepPeak:
    """Run the attempt in this process; returns the peak up to the end of its last step."""
    live = LiveTensors() if count else None
    listener = Listener(attempt.trainer_events_path, live)
    with live or nullcontext():
        train(attempt, listener, Replicas.alone())
    assert listener.last_step is not None
    return listener.last_step


def resident_bytes(name: str) -> int:
    """`VmRSS`, or `VmHWM` for its peak, of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this benchmark reads /proc: Linux only")
