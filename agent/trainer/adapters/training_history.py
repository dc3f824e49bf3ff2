"""The losses of a run over all of its attempts, read back from the trainer's own events.

Nothing of it is kept in memory while training: the files are there whatever was killed meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.run_directory import AttemptDirectory
from shared import events
from shared.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class TrainingHistory:
    """Loss by step, in nats; None where it was not finite."""

    training: dict[int, float | None] = field(default_factory=dict)
    held_out: dict[int, float | None] = field(default_factory=dict)


def read_history(directory: AttemptDirectory) -> TrainingHistory:
    """The losses of this attempt and those before it; the latest attempt counts for each step."""
    training: dict[int, float | None] = {}
    held_out: dict[int, float | None] = {}
    for attempt in (*reversed(directory.earlier()), directory):
        for event in _events_of(attempt):
            if isinstance(event, events.Metrics):
                training[event.step] = event.loss
            elif isinstance(event, events.Evaluation):
                held_out[event.step] = event.loss
    return TrainingHistory(dict(sorted(training.items())), dict(sorted(held_out.items())))


def _events_of(attempt: AttemptDirectory) -> Iterator[events.Event]:
    """Every whole line; a killed attempt may end in half of one."""
    try:
        content = attempt.trainer_events_path.read_bytes()
    except OSError:
        return
    for line in content.splitlines():
        # Most lines of a long run are others; only these two are worth the parsing.
        if b'"metrics"' not in line and b'"evaluation"' not in line:
            continue
        try:
            yield events.decode_trainer_record(line).event
        except ProtocolError:
            continue
