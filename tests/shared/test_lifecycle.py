from __future__ import annotations

from itertools import product

import pytest

from shared.lifecycle import (
    FINAL_STATUSES,
    STOP_REASONS,
    JobStatus,
    StopReason,
    status_after,
)

IN_ORDER = [
    JobStatus.QUEUED,
    JobStatus.PREPROCESSING,
    JobStatus.MODEL_LOADED,
    JobStatus.TRAINING,
]


def test_every_stop_reason_has_a_row_with_a_final_status_and_advice() -> None:
    assert set(STOP_REASONS) == set(StopReason)
    for row in STOP_REASONS.values():
        assert row.status.is_final
        assert row.advice.endswith(".")


def test_only_interruptions_are_tried_again() -> None:
    retried = {reason: row.idle_retries for reason, row in STOP_REASONS.items() if row.retry}
    assert retried == {
        StopReason.TRAINER_KILLED: None,
        StopReason.TRAINER_LOST: None,
        StopReason.TRAINER_HUNG: 1,
        StopReason.HARDWARE_FAULT: 1,
        StopReason.TRAINER_CRASHED: 0,
        StopReason.DOWNLOAD_FAILED: 2,
    }


def test_three_statuses_are_final() -> None:
    assert {status for status in JobStatus if status.is_final} == FINAL_STATUSES
    assert set(JobStatus) == {*IN_ORDER, *FINAL_STATUSES}


@pytest.mark.parametrize(("current", "proposed"), list(product(IN_ORDER, IN_ORDER)))
def test_an_open_status_moves_forward_and_never_back(
    current: JobStatus, proposed: JobStatus
) -> None:
    assert status_after(current, proposed) == max(current, proposed, key=IN_ORDER.index)


@pytest.mark.parametrize(("final", "proposed"), list(product(sorted(FINAL_STATUSES), JobStatus)))
def test_a_final_status_stays(final: JobStatus, proposed: JobStatus) -> None:
    assert status_after(final, proposed) == final


@pytest.mark.parametrize(("current", "final"), list(product(IN_ORDER, sorted(FINAL_STATUSES))))
def test_any_open_status_may_end(current: JobStatus, final: JobStatus) -> None:
    assert status_after(current, final) == final
