from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.job_state import JobState
from shared.lifecycle import Activity, JobStatus
from shared.store.stored import StoredJob
from shared.turns import TurnLimits, at_work, in_order, next_turns, places_after_move, why_it_waits
from tests.shared.store.journal import BEGIN, job_spec

NOW_S = BEGIN.timestamp() + 3600


def job(number: int, host: str = "local", *, waits: bool = True, **state: Any) -> StoredJob:
    activity = Activity.WAITING_FOR_TURN if waits else Activity.TRAINING
    created = BEGIN + timedelta(seconds=number)
    return StoredJob(
        job_spec(f"job-{number:02}"),
        JobState(**{"activity": activity, **state}),
        host,
        None,
        None,
        created,
        created,
        waits_for_turn=waits,
    )


def ids(jobs: list[StoredJob]) -> list[str]:
    return [each.job_id.removeprefix("job-") for each in jobs]


def moved(jobs: list[StoredJob], job_id: str, place: int) -> list[StoredJob]:
    places = places_after_move(jobs, job_id, place, NOW_S)
    return in_order(
        replace(each, queue_place=places.get(each.job_id, each.queue_place)) for each in jobs
    )


def test_a_move_to_the_front_the_middle_and_the_end_changes_one_place_only() -> None:
    jobs = [job(number) for number in range(1, 6)]

    assert ids(moved(jobs, "job-05", 1)) == ["05", "01", "02", "03", "04"]
    assert ids(moved(jobs, "job-05", 3)) == ["01", "02", "05", "03", "04"]
    assert ids(moved(jobs, "job-01", 5)) == ["02", "03", "04", "05", "01"]
    assert ids(moved(jobs, "job-01", 99)) == ["02", "03", "04", "05", "01"]
    assert [len(places_after_move(jobs, "job-05", place, NOW_S)) for place in (1, 3)] == [1, 1]
    assert places_after_move(jobs, "job-03", 3, NOW_S) == {}


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 8)), max_size=200))
def test_any_number_of_moves_gives_the_order_that_a_list_would_have(
    moves: list[tuple[int, int]],
) -> None:
    jobs = [job(number) for number in range(8)]
    expected = [each.job_id for each in jobs]
    for number, place in moves:
        job_id = f"job-{number:02}"
        jobs = moved(jobs, job_id, place)
        expected.remove(job_id)
        expected.insert(place - 1, job_id)
        assert [each.job_id for each in jobs] == expected
    # Who comes now comes last.
    assert all(each.place <= NOW_S + 200 for each in jobs)


@given(st.integers(60, 200))
def test_places_that_come_too_close_are_numbered_anew(times: int) -> None:
    """Two jobs change places before a third: the gap halves each time, and doubles run out."""
    jobs = [job(0), job(1), job(2)]
    for _ in range(times):
        jobs = moved(jobs, jobs[1].job_id, 1)
        jobs = moved(jobs, jobs[2].job_id, 2)
        assert len({each.place for each in jobs}) == 3


def test_a_clock_that_goes_back_does_not_bring_the_last_one_to_the_front() -> None:
    jobs = [job(1), job(2)]
    places = places_after_move(jobs, "job-01", 2, jobs[1].place - 500)
    assert places["job-01"] > jobs[1].place


def test_one_job_a_host_and_so_many_in_all_have_their_turn() -> None:
    limits = TurnLimits(on_a_host=1, in_all=2)
    jobs = [job(1), job(2), job(3, "ssh:a"), job(4, "ssh:b")]

    assert ids(next_turns(jobs, limits)) == ["01", "03"]
    assert ids(next_turns([job(0, waits=False), *jobs], limits)) == ["03"]
    assert ids(next_turns(jobs, TurnLimits(2, 3))) == ["01", "02", "03"]


def test_a_host_that_is_away_keeps_only_its_own_jobs_waiting() -> None:
    limits = TurnLimits(1, 3)
    jobs = [job(1, "ssh:a"), job(2, "ssh:a"), job(3)]
    assert ids(next_turns(jobs, limits, away={"ssh:a"})) == ["03"]


def test_a_job_that_no_agent_knows_or_that_has_ended_takes_no_place() -> None:
    limits = TurnLimits(1, 3)
    lost = job(1, waits=False)
    over = job(2, waits=False, status=JobStatus.FAILED)
    assert ids(next_turns([lost, over, job(3)], limits, not_there={"job-01"})) == ["03"]
    assert ids(next_turns([lost, over, job(3)], limits)) == []


def test_a_job_that_is_being_handed_over_takes_a_place() -> None:
    handed = job(1, activity=Activity.CONNECTING)
    assert ids(at_work([handed, job(2)])) == ["01"]
    assert next_turns([handed, job(2)], TurnLimits(1, 3)) == []


def test_what_keeps_a_job_waiting_is_said_in_words() -> None:
    busy, first, second = job(1, waits=False), job(2), job(3)
    away = job(4, "ssh:a", detail="ssh:a: no route")
    jobs = [busy, first, second, away]

    assert why_it_waits(first, jobs, TurnLimits(1, 3)) == "job-01 is at work there"
    assert why_it_waits(second, jobs, TurnLimits(2, 3)) == "1 before it on local"
    assert why_it_waits(first, jobs, TurnLimits(2, 1)) == "1 job at work, which is the limit"
    assert why_it_waits(away, jobs, TurnLimits(1, 3)) == "ssh:a: no route"
    assert why_it_waits(first, [first, second], TurnLimits(1, 3)) == ""
