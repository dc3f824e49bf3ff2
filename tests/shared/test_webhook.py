"""What a job's journal makes of webhooks: bodies, ids, and how often."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from shared import events
from shared.errors import InvalidInput
from shared.events import Event, JournalRecord
from shared.job_state import JobState
from shared.lifecycle import Activity, JobStatus, StopReason
from shared.webhook import (
    Teller,
    WebhookMessage,
    checked_target,
    end_message,
    interval_for,
    queued_message,
    webhook_body,
)

WEB_ID = "6f1d2b1e-3c7a-5b8e-9d40-8a3f5e7c2b61"
BEGIN = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def metrics(step: int, loss: float | None = 2.5) -> events.Metrics:
    return events.Metrics(
        step=step,
        epoch=step / 10,
        loss=loss,
        grad_norm=1.5,
        learning_rate=2e-4,
        tokens=10,
        supervised_tokens=5,
        step_s=1.0,
    )


def stage(status: JobStatus) -> events.StageEntered:
    return events.StageEntered(status=status, activity=Activity.TRAINING)


def facts(total_steps: int) -> events.RunFacts:
    numbers = dict.fromkeys(
        ["conversations", "held_out_conversations", "targets", "tokens_per_epoch"], 1
    )
    return events.RunFacts(
        **numbers,
        supervised_tokens_per_epoch=1,
        total_steps=total_steps,
        trainable_parameters=1,
        base_model="tiny",
        device="none",
        optim="none",
        quantization="none",
    )


def journal(*happened: Event, step_s: float = 10.0, attempt: int = 1) -> list[JournalRecord]:
    return [
        JournalRecord(
            job_id="job-one",
            attempt=attempt,
            seq=seq,
            time=BEGIN + timedelta(seconds=step_s * seq),
            trainer_offset=0,
            event=event,
        )
        for seq, event in enumerate(happened, start=1)
    ]


def told(teller: Teller, records: list[JournalRecord]) -> list[WebhookMessage]:
    return [message for record in records if (message := teller.hear(record))]


def steps(messages: list[WebhookMessage]) -> list[int]:
    return [json.loads(each.body)["step"] for each in messages if each.is_metrics]


def run_of(total_steps: int, step_s: float = 10.0) -> list[JournalRecord]:
    taken = [metrics(step) for step in range(1, total_steps + 1)]
    return journal(facts(total_steps), stage(JobStatus.TRAINING), *taken, step_s=step_s)


def test_the_body_has_the_seeds_keys_and_what_is_not_known_is_null() -> None:
    assert webhook_body(WEB_ID, JobState(), BEGIN) == (
        '{"job_id":"6f1d2b1e-3c7a-5b8e-9d40-8a3f5e7c2b61","status":"queued","step":0,'
        '"total_steps":null,"metrics":{"loss":null,"learning_rate":null,"grad_norm":null,'
        '"epoch":0.0},"timestamp":"2026-11-23T10:00:00.000Z"}'
    )


def test_a_completed_job_says_where_its_adapter_is_and_a_failed_one_why() -> None:
    completed = JobState(status=JobStatus.COMPLETED, adapter_path="attempts/1/adapter")
    failed = JobState(
        status=JobStatus.FAILED,
        stop_reason=StopReason.OUT_OF_MEMORY,
        detail="no room\x1b[31m, api_key=rpa_abcdefghijklmnopqrst",
    )

    assert "attempts/1" not in webhook_body(WEB_ID, completed, BEGIN)
    stored = webhook_body(WEB_ID, completed, BEGIN, "jobs/x/adapter_model.safetensors")
    assert json.loads(stored)["lora_path"] == "jobs/x/adapter_model.safetensors"
    told = json.loads(webhook_body(WEB_ID, failed, BEGIN))["error_message"]
    assert "no room" in told
    assert "rpa_" not in told and "\x1b" not in told
    bare = failed.model_copy(update={"detail": ""})
    assert json.loads(webhook_body(WEB_ID, bare, BEGIN))["error_message"] == "out_of_memory"


def test_figures_that_are_not_finite_are_null() -> None:
    messages = told(Teller(WEB_ID), journal(stage(JobStatus.TRAINING), metrics(1, loss=None)))

    assert json.loads(messages[-1].body)["metrics"]["loss"] is None


@pytest.mark.parametrize(
    ("wanted", "total_steps", "interval"),
    [
        (None, None, 50),
        (None, 5000, 50),
        (None, 500, 50),
        (None, 141, 14),
        (None, 36, 3),
        (None, 9, 1),
        (7, 36, 7),
        (500, 36, 500),
    ],
)
def test_the_interval_fits_short_runs_unless_somebody_asked_for_one(
    wanted: int | None, total_steps: int | None, interval: int
) -> None:
    assert interval_for(wanted, total_steps) == interval


@pytest.mark.parametrize("total_steps", [9, 36, 100, 141, 499])
def test_a_short_run_gives_about_ten_reports_with_the_first_and_the_last_step(
    total_steps: int,
) -> None:
    reported = steps(told(Teller(WEB_ID), run_of(total_steps)))

    assert (reported[0], reported[-1]) == (1, total_steps)
    assert 9 <= len(reported) <= 14


def test_reports_are_two_seconds_apart_but_for_the_last() -> None:
    messages = told(Teller(WEB_ID, 1), run_of(50, step_s=0.3))

    times = [each.created_at for each in messages if each.is_metrics]
    gaps = [(b - a).total_seconds() for a, b in pairwise(times[:-1])]
    assert min(gaps) >= 2.0
    assert steps(messages)[-1] == 50


def test_each_status_is_told_once_and_steps_that_are_taken_again_are_not() -> None:
    teller = Teller(WEB_ID, 1)
    begun = [
        stage(JobStatus.PREPROCESSING),
        stage(JobStatus.MODEL_LOADED),
        facts(4),
        stage(JobStatus.TRAINING),
    ]
    lost = events.AttemptEnded(stop_reason=StopReason.TRAINER_LOST, will_retry=True)
    ended = events.AttemptEnded(stop_reason=StopReason.COMPLETED)

    first = told(teller, journal(*begun, metrics(1), metrics(2), metrics(3), lost))
    second = told(teller, journal(*begun, metrics(2), metrics(3), metrics(4), ended, attempt=2))

    assert [json.loads(each.body)["status"] for each in [*first, *second]] == [
        "preprocessing",
        "model_loaded",
        *["training"] * 4,  # The status, and the first three steps.
        "training",  # Step 4.
        "completed",
    ]
    assert steps(second) == [4]


def test_a_last_step_that_is_taken_again_is_not_told_again() -> None:
    teller = Teller(WEB_ID, 1)
    training = [facts(2), stage(JobStatus.TRAINING)]

    first = told(teller, journal(*training, metrics(1), metrics(2)))
    second = told(teller, journal(*training, metrics(2), attempt=2))

    assert steps(first) == [1, 2]
    assert second == []


def test_ids_are_places_in_the_journal_and_the_same_however_often_it_is_read() -> None:
    records = run_of(100)

    once, again = told(Teller(WEB_ID), records), told(Teller(WEB_ID), records)

    assert once == again
    assert once[0].id == "msg_6f1d2b1e3c7a5b8e_1_2"
    assert len({each.id for each in once}) == len(once)


def test_whoever_sends_the_end_gives_it_the_same_id() -> None:
    ended = events.AttemptEnded(stop_reason=StopReason.CANCELLED)
    records = journal(stage(JobStatus.TRAINING), ended)

    [*_, by_agent] = told(Teller(WEB_ID), records)
    by_controller = end_message(WEB_ID, JobState(status=JobStatus.CANCELLED), BEGIN)

    assert by_agent.id == by_controller.id
    assert json.loads(by_agent.body)["status"] == "cancelled"
    assert len(told(Teller(WEB_ID, tells_end=False), records)) == 1


def test_on_another_machine_a_job_does_not_move_back() -> None:
    teller = Teller(WEB_ID, status=JobStatus.TRAINING)
    again = journal(stage(JobStatus.PREPROCESSING), stage(JobStatus.TRAINING), attempt=2)

    assert told(teller, again) == []


def test_the_first_message_says_queued() -> None:
    message = queued_message(WEB_ID, JobState(status=JobStatus.TRAINING, step=3), BEGIN)

    assert message.id == "msg_6f1d2b1e3c7a5b8e_queued"
    assert json.loads(message.body)["status"] == "queued"
    assert json.loads(message.body)["step"] == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.com/x", "must be https"),
        ("example.com", "must be https"),
        ("https://", "must be https"),
        ("https://[::1", "cannot be read"),
        ("https://example.com:99999/", "cannot be read"),
        ("https://user:pw@example.com/", "a user or a password"),
        ("https://example.com/" + "x" * 2000, "must be https"),
        ("http://example.com/", "is http"),
    ],
)
def test_a_url_to_which_no_webhook_goes_is_refused(url: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as refused:
        checked_target(url)
    assert "pw" not in str(refused.value).split("password")[0]


def test_http_is_for_private_networks_that_are_allowed() -> None:
    assert checked_target("http://10.0.0.7/hook", 5, allow_private=True).interval_steps == 5
