"""What deserves a word, and in which words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.lifecycle import JobStatus, StopReason
from shared.money.records import MoneyNotice, NoticeScope
from shared.notification import NotificationKind
from shared.rental import MachineState, Rental, RentalPhase
from shared.store.store import Store
from shared.store.stored import StoredJob
from tests.shared.store.journal import job_spec
from tests.tui import rented
from tests.tui.rented import BEGIN, machine, request
from tui.services.notify import happenings

MINUTE = timedelta(minutes=1)


async def stored(store: Store, **changes: object) -> StoredJob:
    job, _ = await store.add_job(job_spec(name="night run"), "local")
    return replace(job, state=job.state.model_copy(update=changes))


async def test_a_job_is_told_of_when_it_is_queued_starts_and_ends(store: Store) -> None:
    job = await stored(
        store,
        status=JobStatus.COMPLETED,
        adapter_verified=True,
        eval_loss=1.23456,
        step=141,
        total_steps=141,
        started_at=BEGIN,
        ended_at=BEGIN + 90 * MINUTE,
    )
    gone = machine(state=MachineState.GONE, gone_at=BEGIN + 60 * MINUTE)

    queued, started, ended = happenings.of_job(job, [gone], BEGIN)

    assert [one.id for one in (queued, started, ended)] == [
        "job/job-one/queued",
        "job/job-one/started",
        "job/job-one/completed",
    ]
    assert (ended.title, ended.time) == ("night run: completed", BEGIN + 90 * MINUTE)
    assert ended.body == (
        "Its adapter is verified. Validation loss 1.2346. Step 141 of 141. It took 1:30:00. "
        "It cost about $2.39."
    )


async def test_a_failure_says_why_and_what_to_do_cleaned_of_secrets(store: Store) -> None:
    job = await stored(store, status=JobStatus.FAILED, stop_reason=StopReason.OUT_OF_MEMORY)
    said = "out_of_memory: \x1b[31mhf_abcdefghijklmnopqrstuv was used"

    *_, ended = happenings.of_job(replace(job, error_message=said), [], BEGIN)

    assert ended.kind is NotificationKind.FAILED
    assert "\x1b" not in ended.body
    assert "abcdefgh" not in ended.body
    assert job.state.advice in ended.body


async def test_each_lost_machine_and_each_question_is_one_event(store: Store) -> None:
    await rented.add_rented_job(store)
    job = await store.get_job("job-rent")
    await rented.put(store, interruptions=2, phase=RentalPhase.ASKING, question="Go on?")
    sight = await store.rentals.get("job-rent")
    assert sight is not None

    lost, asks = happenings.of_rental(job, sight)

    assert lost.id == "job/job-rent/interrupted/2"
    assert not lost.is_urgent
    assert (asks.kind, asks.is_urgent) == (NotificationKind.QUESTION, True)
    assert "Go on?" in asks.body
    later = replace(sight, rental=sight.rental.model_copy(update={"since": BEGIN}))
    assert [*happenings.of_rental(job, later)][1].id != asks.id, "asked again another day"


async def test_a_calm_rental_is_no_news(store: Store) -> None:
    await rented.add_rented_job(store)
    job, sight = await store.get_job("job-rent"), await store.rentals.get("job-rent")
    assert sight is not None
    assert sight.rental == Rental(since=sight.rental.since)
    assert request() == sight.request
    assert [*happenings.of_rental(job, sight)] == []


@pytest.mark.parametrize(("minutes", "is_told"), [(4, False), (5, True), (500, True)])
def test_a_machine_that_does_not_end_is_urgent(minutes: int, is_told: bool) -> None:
    left = machine(state=MachineState.ENDING, ending_at=BEGIN, last_error="the provider is down")
    found = [*happenings.of_machine(left, BEGIN + minutes * MINUTE)]
    assert [one.is_urgent for one in found] == [True] * is_told
    if is_told:
        assert "the provider is down" in found[0].body
        assert "$2.39 an hour" in found[0].body


def test_only_a_limit_that_is_used_up_is_urgent() -> None:
    def told(scope: NoticeScope, share: float) -> tuple[str, str, bool]:
        notice = MoneyNotice(scope, "job-one", share, BEGIN, "said so")
        one = happenings.of_money(notice, "night run")
        return one.kind.value, one.title, one.is_urgent

    assert told(NoticeScope.JOB, 0.5) == ("budget", "night run: 50% of its budget is spent", False)
    assert told(NoticeScope.JOB, 1.0) == ("budget", "night run: 100% of its budget is spent", True)
    assert told(NoticeScope.MONTH, 1.0) == ("month", "monthly limit: 100%", True)
    assert told(NoticeScope.PROJECTED, 1.0)[2] is False


async def test_a_name_stays_on_one_line(store: Store) -> None:
    job, _ = await store.add_job(job_spec(name="a\nb \x1b]0;title\x07c" + "x" * 80), "local")
    queued = next(happenings.of_job(job, [], BEGIN))
    assert queued.title.startswith("a b cx")
    assert "\n" not in queued.title
