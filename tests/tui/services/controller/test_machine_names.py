from __future__ import annotations

import pytest

from tui.services.controller.machine_names import (
    cache_name,
    job_of,
    machine_name,
    rescue_name,
    volume_owner,
)

MARK = "0a1b2c3d"


def test_a_machines_name_says_for_which_job_it_is() -> None:
    assert machine_name(MARK, "job-one-2", 3) == "brightrun-0a1b2c3d-job-one-2-3"
    assert job_of(machine_name(MARK, "job-one-2", 3), MARK) == "job-one-2"
    assert job_of(rescue_name(MARK, "job-one-2", 3), MARK) == "job-one-2"


def test_a_machine_that_serves_a_volume_is_ours_and_no_jobs() -> None:
    assert job_of(cache_name(MARK, "vol-1", 2), MARK) == volume_owner("vol-1") == "volume--vol-1"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "my-own-pod",
        "brightrun-0a1b2c3d",
        "brightrun-0a1b2c3d-1",
        "brightrun-0a1b2c3d-job-one",
        "brightrun-0a1b2c3d-job-one-",
        "brightrun-ffffffff-job-one-1",
        "x-brightrun-0a1b2c3d-job-one-1",
        "BRIGHTRUN-0a1b2c3d-job-one-1",
    ],
)
def test_a_machine_of_anybody_else_belongs_to_no_job_of_ours(name: str) -> None:
    assert job_of(name, MARK) is None
