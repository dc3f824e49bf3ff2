"""Every event has words, and no event can do anything to a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared import events
from shared.event_text import describe_event, describe_record
from shared.job_state import JobState
from shared.lifecycle import Activity, JobStatus, StopReason
from shared.number_text import duration, number, size

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
STEP = events.Metrics(
    step=3,
    epoch=0.5,
    loss=1.25,
    grad_norm=0.5,
    learning_rate=1e-4,
    tokens=1000,
    supervised_tokens=600,
    step_s=2.0,
)


def record(event: events.Event) -> events.JournalRecord:
    return events.JournalRecord(
        job_id="job-one", attempt=1, seq=1, time=NOON, trainer_offset=0, event=event
    )


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (events.CancelRequested(reason="enough"), "cancel requested: enough"),
        (
            events.GpuSample(
                gpus=(
                    events.GpuReading(
                        index=0,
                        utilisation_percent=98,
                        memory_used_mib=61234,
                        memory_total_mib=81559,
                        temperature_c=71,
                        power_w=655,
                        power_limit_w=700,
                        held_back_by=("heat",),
                    ),
                    events.GpuReading(index=1),
                )
            ),
            "GPUs 0: 98 %, 61,234 of 81,559 MiB, 71 C, 655 of 700 W, held back by heat; "
            "1: nothing is known",
        ),
        (
            events.ModelProgress(
                what="downloading",
                done_bytes=35_300_000_000,
                total_bytes=141_200_000_000,
                bytes_per_s=210_000_000,
                eta_s=504.3,
                file="model-00008-of-00030.safetensors",
            ),
            "downloading 35.3 GB of 141.2 GB (25 %), 210.0 MB/s, 0:08:24 left: "
            "model-00008-of-00030.safetensors",
        ),
        (
            events.ModelProgress(what="verifying", done_bytes=1_000, total_bytes=0),
            "verifying 1.0 kB",
        ),
        (
            events.ModelProgress(what="loading", done_bytes=0, total_bytes=39_500_000_000),
            "loading 39.5 GB",
        ),
        (events.TrainerAdopted(trainer_pid=7), "a new agent found the trainer alive (pid 7)"),
        (
            events.StageEntered(status=JobStatus.TRAINING, activity=Activity.SAVING_ADAPTER),
            "training: saving adapter",
        ),
        (
            events.AttemptEnded(stop_reason=StopReason.TRAINER_KILLED, will_retry=True),
            "attempt ended: trainer_killed; the next attempt follows",
        ),
        (
            events.Evaluation(step=0, epoch=0, loss=2.0, supervised_tokens=10),
            "held-out loss 2.0000, perplexity 7.39 (base model)",
        ),
        (
            events.Evaluation(
                step=4, epoch=1, loss=None, supervised_tokens=10, non_finite=("loss",)
            ),
            "held-out loss –, perplexity – (step 4)",
        ),
        (
            events.AdapterVerified(
                manifest_sha256="a" * 64,
                prompt="Hi",
                generated="Hello",
                generated_tokens=1,
                prompts=3,
                logit_difference=0.000123,
            ),
            "adapter loads and generates as the trainer did "
            "(3 prompts, logits within 0.0001): 'Hello'",
        ),
        (events.LogLine(level="error", message="no room"), "error: no room"),
        (
            events.LogLine(
                level="warning",
                message="step 17 is not applied: loss is nan (1 of at most 3 in a row)",
            ),
            "warning: step 17 is not applied: loss is nan (1 of at most 3 in a row)",
        ),
    ],
)
def test_an_event_in_words(event: events.Event, words: str) -> None:
    assert describe_event(record(event)) == words


def test_a_step_says_how_many_there_are_and_when_it_will_be_done() -> None:
    state = JobState(total_steps=13, step=3, step_s=2.0)
    line = describe_record(record(STEP), state)
    assert line.endswith(
        "step 3/13  epoch 0.50  loss 1.2500  lr 1.00e-04  grad_norm 0.5  500 tokens/s  ETA 0:00:20"
    )


def test_foreign_text_is_cleaned_and_cut() -> None:
    payload = "\x1b]52;c;aGFjaw==\x07\x1b[2J" + "x" * 500
    line = describe_event(record(events.LogLine(message=payload)))
    assert line == "x" * 159 + "…"


def test_figures_read_like_figures() -> None:
    assert [size(value) for value in (999, 3_600_000, 414_187_520)] == [
        "999 B",
        "3.6 MB",
        "414.2 MB",
    ]
    assert duration(190_000) == "52:46:40"
    assert number(None, ".2f") == "–"
