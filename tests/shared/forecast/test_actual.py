"""What a job took, from records whose times are known."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared import events
from shared.events import Event, JournalRecord
from shared.forecast.actual import Actual, measured
from shared.forecast.forecast import PartName
from shared.lifecycle import Activity, JobStatus, StopReason
from shared.rental import RentalPhase
from tests.shared.store.journal import BEGIN, ended, evaluation, metrics, run_facts, stage, started

TRAIN = JobStatus.TRAINING
PREPARE = JobStatus.PREPROCESSING


def at(*timed: tuple[float, Event], attempt: int = 1) -> list[JournalRecord]:
    """Events at so many seconds from the beginning."""
    return [
        JournalRecord(
            job_id="job-one",
            attempt=attempt,
            seq=seq,
            time=BEGIN + timedelta(seconds=seconds),
            trainer_offset=0,
            event=event,
        )
        for seq, (seconds, event) in enumerate(timed, start=1)
    ]


WHOLE = at(
    (0, started()),
    (10, stage(PREPARE, Activity.CHECKING_DATASET)),
    (12, stage(PREPARE, Activity.PREPARING_MODEL)),
    (20, stage(PREPARE, Activity.LOADING_MODEL)),
    (50, run_facts(2)),
    (50, stage(JobStatus.MODEL_LOADED, Activity.TRAINING)),
    (51, stage(TRAIN, Activity.TRAINING)),
    (53, stage(TRAIN, Activity.EVALUATING)),
    (57, stage(TRAIN, Activity.TRAINING)),
    (57, evaluation(0, 3.0)),
    (68, metrics(1, 2.0, step_s=10.0, tokens=100, memory_bytes=7)),
    (79, metrics(2, 1.9, step_s=10.0, tokens=300, memory_bytes=9)),
    (79, stage(TRAIN, Activity.EVALUATING)),
    (83, stage(TRAIN, Activity.TRAINING)),
    (83, evaluation(2, 1.5)),
    (85, stage(TRAIN, Activity.SAVING_ADAPTER)),
    (88, stage(TRAIN, Activity.VERIFYING_ADAPTER)),
    (100, ended(StopReason.COMPLETED)),
)


def actual(records: list[JournalRecord], **values: object) -> Actual:
    usual = {"machine": "local", "status": JobStatus.COMPLETED}
    return measured(records, **{**usual, **values})  # type: ignore[arg-type]


def test_every_second_belongs_to_one_part() -> None:
    found = actual(WHOLE)

    assert found.seconds == {
        # The trainer starts, reads the file and the model, and sets itself up.
        PartName.LOAD: 12 + 30 + 3,
        PartName.MODEL: 8,
        PartName.EVALUATION: 4 + 4,
        PartName.TRAINING: 22,
        # The last checkpoint, the adapter, and another process that loads it.
        PartName.SAVING: 2 + 3 + 12,
    }
    assert found.total_s == sum(found.seconds.values()) == 100
    assert (found.tokens, found.tokens_per_s, found.peak_bytes) == (400, 20.0, 9)
    assert found.corrects


def test_without_an_evaluation_training_begins_with_the_first_step() -> None:
    found = actual(
        at(
            (0, started()),
            (50, stage(TRAIN, Activity.TRAINING)),
            (63, metrics(1, 2.0, step_s=10.0)),
            (73, metrics(2, 2.0, step_s=10.0)),
            (80, ended(StopReason.COMPLETED)),
        )
    )

    assert found.seconds == {PartName.LOAD: 53, PartName.TRAINING: 27}


def test_an_interrupted_job_tells_what_it_took_and_corrects_nothing() -> None:
    first = at(
        (0, started()),
        (5, stage(TRAIN, Activity.TRAINING)),
        (20, ended(StopReason.TRAINER_KILLED, will_retry=True)),
    )
    second = at((25, started()), (125, ended(StopReason.COMPLETED)), attempt=2)

    found = actual([*first, *second])

    assert (found.attempts, found.total_s) == (2, 120)
    assert not found.corrects
    assert not actual(WHOLE, status=JobStatus.CANCELLED).corrects
    assert not actual(WHOLE, machines=2).corrects


def test_of_a_rented_job_the_ledger_tells_what_lies_around_the_journal() -> None:
    phases = {
        RentalPhase.QUEUED: 9999.0,
        RentalPhase.PROVISIONING: 100.0,
        RentalPhase.CONNECTING: 20.0,
        RentalPhase.INSTALLING: 300.0,
        RentalPhase.RUNNING: 100.0,
        RentalPhase.SECURING: 30.0,
        RentalPhase.ENDING: 15.0,
    }

    found = actual(WHOLE, phase_s=phases, paid_s=570.0, cost_usd=0.4, machine="H100_PCIE")

    assert found.part_s(PartName.MACHINE) == 120
    assert found.part_s(PartName.INSTALL) == 300
    assert found.part_s(PartName.HOME) == 45
    assert (found.total_s, found.cost_usd) == (570, 0.4)


def test_a_copy_that_was_there_is_told_by_what_was_loaded() -> None:
    facts = run_facts(2).model_copy(update={"quantized_copy": "c" * 40})

    assert actual(at((0, started()), (1, facts))).model_source == "cache"
    assert actual(WHOLE).model_source is None


def test_a_clock_that_is_set_back_takes_nothing_away() -> None:
    found = actual(
        at((0, started()), (50, stage(PREPARE, Activity.LOADING_MODEL)), (10, metrics(1, 2.0)))
    )

    assert all(seconds >= 0 for seconds in found.seconds.values())


@pytest.mark.parametrize(
    "kind", [events.LogLine(message="x"), events.TrainerAdopted(trainer_pid=1)]
)
def test_what_is_no_stage_changes_nothing(kind: Event) -> None:
    found = actual(at((0, started()), (5, kind), (20, ended(StopReason.COMPLETED))))

    assert found.seconds == {PartName.LOAD: 20}


def test_it_comes_back_from_json_as_it_was() -> None:
    found = actual(WHOLE)

    assert Actual.model_validate_json(found.model_dump_json()) == found
