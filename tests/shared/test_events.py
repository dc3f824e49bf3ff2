from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import get_args

import pytest

from shared import events
from shared.errors import ProtocolError
from shared.events import (
    JournalRecord,
    TrainerRecord,
    decode_journal_record,
    decode_journal_records,
    encode,
    finite,
)
from shared.lifecycle import Activity, JobStatus, StopReason
from tests.shared.store.journal import metrics, run_facts

TIME = datetime(2026, 11, 22, 15, 31, 7, 123456, tzinfo=UTC)
KINDS = get_args(get_args(events.Event)[0])
ODD_TEXT = 'a "quote", \\, a\nbreak, \x00, \u2028, 🚀 and 文'

ONE_OF_EACH: list[events.Event] = [
    events.AttemptStarted(journal_id="j1", agent_version="0.1.0", detail=ODD_TEXT),
    events.TrainerStarted(shim_pid=10, trainer_pid=11),
    events.TrainerAdopted(trainer_pid=11),
    events.CancelRequested(reason="a person"),
    events.AttemptEnded(stop_reason=StopReason.TRAINER_KILLED, signal=9, will_retry=True),
    events.GpuSample(
        gpus=(
            events.GpuReading(index=0, utilisation_percent=98, held_back_by=("heat",)),
            events.GpuReading(index=1),
        )
    ),
    events.StageEntered(status=JobStatus.TRAINING, activity=Activity.LOADING_MODEL),
    events.ModelProgress(
        what="downloading", done_bytes=2**37, total_bytes=2**38, bytes_per_s=0.5, file=ODD_TEXT
    ),
    run_facts(total_steps=30).model_copy(update={"versions": {"torch": "2.13.0"}}),
    metrics(3, 1.0 / 3, memory_bytes=2**40),
    events.Evaluation(step=3, epoch=0.1, loss=1e-300, supervised_tokens=50),
    events.CheckpointCommitted(
        step=3, path="c/3", manifest_sha256="a" * 64, size_bytes=414, seconds=0.25
    ),
    events.CheckpointRefused(path="c/3", reason="its hash does not hold"),
    events.Resumed(step=3, path="c/3"),
    events.AdapterSaved(path="adapter", manifest_sha256="a" * 64, size_bytes=414),
    events.AdapterVerified(
        manifest_sha256="a" * 64, prompt="Hi", generated=ODD_TEXT, generated_tokens=9
    ),
    events.LogLine(level="warning", message=ODD_TEXT),
    events.TrainerFinished(stop_reason=StopReason.NON_FINITE, detail="step 3"),
]


def journal_record(event: events.Event) -> JournalRecord:
    return JournalRecord(
        job_id="job-one", attempt=2, seq=41, time=TIME, trainer_offset=10**12, event=event
    )


def test_every_kind_of_event_is_tried_here() -> None:
    assert [type(event) for event in ONE_OF_EACH] == list(KINDS)


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: event.kind)
def test_a_record_survives_its_line(event: events.Event) -> None:
    journal = journal_record(event)
    assert "\n" not in encode(journal)
    assert decode_journal_record(encode(journal)) == journal
    assert decode_journal_record(encode(journal).encode()) == journal

    trainer = TrainerRecord(time=TIME, event=event)
    assert events.decode_trainer_record(encode(trainer)) == trainer


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: event.kind)
def test_keys_of_a_later_version_are_tolerated(event: events.Event) -> None:
    line = json.loads(encode(journal_record(event)))
    line["later"] = 1
    line["event"]["later"] = {"a": [1]}
    assert decode_journal_record(json.dumps(line)) == journal_record(event)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_non_finite_numbers_travel_as_null_with_their_names(broken: float) -> None:
    numbers = finite(loss=broken, grad_norm=broken, learning_rate=2e-4)
    event = events.Metrics(step=1, epoch=0.1, tokens=9, supervised_tokens=4, step_s=0.5, **numbers)
    line = json.loads(encode(journal_record(event)), parse_constant=pytest.fail)
    assert (line["event"]["loss"], line["event"]["learning_rate"]) == (None, 2e-4)
    assert line["event"]["non_finite"] == ["loss", "grad_norm"]
    assert decode_journal_record(json.dumps(line)).event == event


def test_a_number_that_is_not_known_is_not_called_non_finite() -> None:
    assert finite(loss=None, grad_norm=1.5) == {"loss": None, "grad_norm": 1.5, "non_finite": ()}


def test_perplexity_is_the_exponential_of_the_loss() -> None:
    def perplexity(loss: float | None) -> float | None:
        return events.Evaluation(step=0, epoch=0, loss=loss, supervised_tokens=1).perplexity

    assert perplexity(0.0) == 1
    assert perplexity(None) is None
    assert perplexity(1e9) == pytest.approx(math.exp(700))


GOOD = json.loads(encode(journal_record(metrics(1, 2.0))))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "Invalid JSON"),
        ('{"job_id": "job', "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        ("[]", "Input should be an object"),
        ("{}", r"^not a journal record: job_id: Field required"),
        (json.dumps({**GOOD, "seq": "one"}), r"seq: .* \(got 'one'\)"),
        (json.dumps({**GOOD, "time": "2026-11-22T15:31:07"}), "time: .* timezone"),
        (json.dumps({**GOOD, "event": {"kind": "party"}}), r"event: .*'party'"),
        (json.dumps({**GOOD, "event": {**GOOD["event"], "step": None}}), r"event\.metrics\.step: "),
    ],
)
def test_a_line_that_is_no_record_is_refused_with_the_place_in_it(
    line: str | bytes, complaint: str
) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        decode_journal_record(line)


def test_a_trainers_line_is_refused_by_its_own_name() -> None:
    with pytest.raises(ProtocolError, match=r"^not a trainer record: time: Field required"):
        events.decode_trainer_record("{}")


def test_a_long_value_is_cut_in_the_complaint() -> None:
    line = json.dumps({**GOOD, "attempt": "x" * 10_000})
    with pytest.raises(ProtocolError) as caught:
        decode_journal_record(line)
    assert len(str(caught.value)) < 250


def test_many_lines_are_decoded_as_one_by_one() -> None:
    records = [journal_record(event) for event in ONE_OF_EACH]
    lines = "\n".join(map(encode, records)).encode()

    assert decode_journal_records(lines) == records
    assert decode_journal_records(lines + b"\n") == records
    assert decode_journal_records(lines.replace(b"\n", b"\r\n")) == records
    assert decode_journal_records(b"") == []


@pytest.mark.parametrize("bad", [b'{"job_id": "job', b"[]", b"", b"\xff"])
def test_one_bad_line_among_many_is_refused_as_it_is_alone(bad: bytes) -> None:
    good = encode(journal_record(metrics(1, 2.0))).encode()
    with pytest.raises(ProtocolError) as alone:
        decode_journal_record(bad)

    with pytest.raises(ProtocolError) as among:
        decode_journal_records(b"\n".join([good, bad, good]))

    assert str(among.value) == str(alone.value)
