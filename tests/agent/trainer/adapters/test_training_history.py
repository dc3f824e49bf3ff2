"""The losses of a run are those of all its attempts, the latest for each step."""

from __future__ import annotations

from pathlib import Path

from agent.run_directory import AttemptDirectory, JobDirectory
from agent.trainer.adapters.training_history import TrainingHistory, read_history
from shared import events
from shared.events import TrainerRecord, encode, utc_now


def metrics(step: int, loss: float | None) -> events.Metrics:
    return events.Metrics(
        step=step,
        epoch=0.5,
        loss=loss,
        grad_norm=1.0,
        learning_rate=1e-4,
        tokens=10,
        supervised_tokens=5,
        step_s=0.1,
    )


def evaluation(step: int, loss: float) -> events.Evaluation:
    return events.Evaluation(step=step, epoch=0.5, loss=loss, supervised_tokens=5)


def write(attempt: AttemptDirectory, *happened: events.Event, then: bytes = b"") -> None:
    attempt.path.mkdir(parents=True)
    lines = [encode(TrainerRecord(time=utc_now(), event=event)) + "\n" for event in happened]
    attempt.trainer_events_path.write_bytes("".join(lines).encode() + then)


def test_a_repeated_step_counts_as_the_latest_attempt_had_it(tmp_path: Path) -> None:
    job = JobDirectory(tmp_path)
    write(job.attempt(1), evaluation(0, 3.0), metrics(1, 2.9), metrics(2, 2.8), metrics(3, 2.7))
    write(job.attempt(2), events.Resumed(step=1, path="/c"), metrics(2, 2.6), metrics(3, None))
    write(job.attempt(10), metrics(4, 2.4), evaluation(4, 2.5))
    write(job.attempt(11), metrics(4, 9.9))
    assert read_history(job.attempt(10)) == TrainingHistory(
        {1: 2.9, 2: 2.6, 3: None, 4: 2.4}, {0: 3.0, 4: 2.5}
    )


def test_half_a_line_of_a_killed_attempt_is_passed_over(tmp_path: Path) -> None:
    job = JobDirectory(tmp_path)
    line = encode(TrainerRecord(time=utc_now(), event=metrics(2, 2.8))).encode()
    write(job.attempt(1), metrics(1, 2.9), then=line[: len(line) // 2])
    assert read_history(job.attempt(1)).training == {1: 2.9}


def test_an_attempt_that_wrote_nothing_has_no_losses(tmp_path: Path) -> None:
    job = JobDirectory(tmp_path)
    job.attempt(1).path.mkdir(parents=True)
    assert read_history(job.attempt(1)) == TrainingHistory()
