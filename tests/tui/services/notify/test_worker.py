"""People outside are told once, late rather than never, and not of old things."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from shared.errors import InvalidInput
from shared.events import utc_now
from shared.lifecycle import JobStatus, StopReason
from shared.money.records import MoneyNotice, NoticeScope
from shared.notification import quiet_hours
from shared.rental import RentalPhase
from shared.store.notifications import NotificationState
from shared.store.schema import uploads
from shared.store.store import Store
from shared.store.web_training_files import WebFile
from tests.fakes.notice_receiver import NoticeReceiver, serving
from tests.shared.store.journal import job_spec
from tests.tui import rented
from tui.config import load_config
from tui.services.background import WORKERS, Background
from tui.services.notify import worker
from tui.services.notify.choices import choose_kinds, choose_quiet_hours
from tui.services.notify.receivers import add_receiver
from tui.services.notify.worker import MOST_TRIES, Messenger, WorkerSettings
from tui.services.session import Session, open_session

pytest.importorskip("apprise", reason='needs the extra "notify"')

FAST = WorkerSettings(poll_s=0.02, first_pause_s=0.0, longest_pause_s=0.0)
REASONS = {
    JobStatus.COMPLETED: StopReason.COMPLETED,
    JobStatus.FAILED: StopReason.TRAINER_CRASHED,
}
NIGHT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


@pytest.fixture
def http(home: Path) -> Iterator[NoticeReceiver]:
    server = NoticeReceiver()
    with serving(server):
        add_receiver(home, f"json://127.0.0.1:{server.port}/canary-secret-path")
        yield server


@pytest.fixture
async def session(http: NoticeReceiver) -> AsyncIterator[Session]:
    async with open_session(load_config()) as opened:
        yield opened


@dataclass
class Clock:
    now: datetime

    def __call__(self) -> datetime:
        return self.now


def messenger(
    session: Session, clock: Clock | None = None, said: list[str] | None = None
) -> Messenger:
    say = (said if said is not None else []).append
    return Messenger(session, say, FAST, clock or utc_now)


async def work(one: Messenger) -> None:
    await one.look()
    await one.deliver()


async def end(store: Store, job_id: str, status: JobStatus = JobStatus.COMPLETED) -> None:
    await store.settle_job(job_id, status, "", REASONS[status])


async def states(store: Store) -> dict[str, NotificationState]:
    return {each.notification.id: each.state for each in await store.notifications.latest(99)}


async def test_a_job_that_ends_is_told_of_once(session: Session, http: NoticeReceiver) -> None:
    one = messenger(session)
    await work(one)
    await session.store.add_job(job_spec(name="night run"), "local")
    await end(session.store, "job-one")
    for _ in range(3):
        await work(one)

    assert http.titles == ["brightrun: night run: completed"]
    assert await states(session.store) == {
        "job/job-one/queued": NotificationState.SILENT,
        "job/job-one/completed": NotificationState.SENT,
    }


async def test_another_process_goes_on_where_one_was_killed_and_repeats_nothing(
    session: Session, http: NoticeReceiver
) -> None:
    await work(messenger(session))
    await session.store.add_job(job_spec("job-one", name="the first"), "local")
    await end(session.store, "job-one")
    await work(messenger(session))
    await session.store.add_job(job_spec("job-two", name="the second"), "local")
    await end(session.store, "job-two")

    await work(messenger(session))
    await work(messenger(session))

    assert http.titles == ["brightrun: the first: completed", "brightrun: the second: completed"]


async def test_what_was_over_when_it_was_switched_on_is_never_told(
    session: Session, http: NoticeReceiver
) -> None:
    for number in range(5):
        await session.store.add_job(job_spec(f"job-{number}"), "local")
        await end(session.store, f"job-{number}")
    await rented.add_rented_job(session.store)
    await rented.put(session.store, question="Go on?", phase=RentalPhase.ASKING, interruptions=1)

    await work(messenger(session))
    await work(messenger(session))

    assert http.posts == []


async def test_an_end_that_came_while_nobody_looked_is_told(
    session: Session, http: NoticeReceiver
) -> None:
    await session.store.add_job(job_spec(name="night run"), "local")
    await work(messenger(session))
    await end(session.store, "job-one", JobStatus.FAILED)

    await work(messenger(session))

    assert http.titles == ["brightrun: night run: failed"]


async def test_several_at_once_are_told_together(session: Session, http: NoticeReceiver) -> None:
    one = messenger(session)
    await work(one)
    for number in range(30):
        await session.store.add_job(job_spec(f"job-{number}", name=f"run {number}"), "local")
        await end(session.store, f"job-{number}")
    await work(one)

    [(_, post)] = http.posts
    assert post["title"] == "brightrun: 30 notices"
    assert post["message"].count("completed") == 20
    assert "10 earlier ones" in post["message"]


async def test_quiet_hours_hold_back_what_is_not_urgent_until_they_end(
    session: Session, http: NoticeReceiver
) -> None:
    clock = Clock(NIGHT)
    one = messenger(session, clock)
    await choose_quiet_hours(session.store.settings, quiet_hours("22:00-07:00 UTC"))
    await work(one)
    for number in (1, 2):
        await session.store.add_job(job_spec(f"job-{number}", name=f"run {number}"), "local")
        await end(session.store, f"job-{number}")
    await session.store.spending.tell_once(
        MoneyNotice(NoticeScope.JOB, "job-1", 1.0, utc_now(), "$10.00 of $10.00")
    )
    await work(one)
    assert http.titles == ["brightrun: run 1: 100% of its budget is spent"]

    clock.now = NIGHT + timedelta(hours=5)
    await work(one)

    assert http.titles[1:] == ["brightrun: 2 notices"]


async def test_a_question_passes_quiet_hours(session: Session, http: NoticeReceiver) -> None:
    one = messenger(session, Clock(NIGHT))
    await choose_quiet_hours(session.store.settings, quiet_hours("22:00-07:00 UTC"))
    await rented.add_rented_job(session.store, name="far away")
    await work(one)
    await rented.put(session.store, question="Go on?", phase=RentalPhase.ASKING, interruptions=1)
    await work(one)
    assert http.titles == ["brightrun: far away: asks you"]


async def test_a_receiver_that_is_down_hears_of_it_later_and_the_other_only_once(
    session: Session, http: NoticeReceiver, home: Path
) -> None:
    other = NoticeReceiver()
    said: list[str] = []
    with serving(other):
        add_receiver(home, f"json://127.0.0.1:{other.port}/other-secret-path")
        one = messenger(session, said=said)
        await work(one)
        await session.store.add_job(job_spec(name="night run"), "local")
        await end(session.store, "job-one")
        other.answers = [503, 500]
        for _ in range(4):
            await work(one)

    assert http.titles == other.titles == ["brightrun: night run: completed"]
    [words] = said
    assert "503" in words
    assert "secret" not in words
    [known] = [each for each in await session.store.notifications.latest(9) if each.tries]
    assert (known.tries, known.error) == (3, "")


async def test_a_failing_receiver_is_asked_ever_more_seldom_and_given_up(
    session: Session, http: NoticeReceiver
) -> None:
    clock = Clock(utc_now())
    one = Messenger(session, lambda text: None, WorkerSettings(first_pause_s=10), clock)
    await work(one)
    await session.store.add_job(job_spec(), "local")
    await end(session.store, "job-one")
    http.answers = [500] * 9
    await work(one)
    await work(one)
    assert len(http.answers) == 8, "not before the pause is over"
    [waiting] = await session.store.notifications.due(clock.now + timedelta(seconds=20))
    assert waiting.next_try_at is not None
    assert waiting.next_try_at - clock.now <= timedelta(seconds=10)

    await session.store.notifications.save(
        replace(waiting, tries=MOST_TRIES - 1, next_try_at=clock.now)
    )
    await work(one)

    assert (await states(session.store))["job/job-one/completed"] is NotificationState.FAILED


async def test_only_the_kinds_that_were_chosen_are_told(
    session: Session, http: NoticeReceiver
) -> None:
    await choose_kinds(session.store.settings, ["queued"])
    one = messenger(session)
    await work(one)
    await session.store.add_job(job_spec(name="night run"), "local")
    await end(session.store, "job-one")
    await work(one)
    assert http.titles == ["brightrun: night run: queued"]
    with pytest.raises(InvalidInput, match="'nonsense' is no kind"):
        await choose_kinds(session.store.settings, ["nonsense"])


async def test_it_runs_under_the_lease_and_in_no_second_process(
    session: Session, http: NoticeReceiver
) -> None:
    assert worker.__name__ in WORKERS
    await work(messenger(session))
    await session.store.add_job(job_spec(name="night run"), "local")
    await end(session.store, "job-one")
    both = [
        asyncio.create_task(Background(session, kind, workers=[worker]).run())
        for kind in ("console", "serve")
    ]
    try:
        async with asyncio.timeout(10):
            while not http.posts:
                await asyncio.sleep(0.02)
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
    assert http.titles == ["brightrun: night run: completed"]


async def test_without_a_receiver_nothing_is_sent_or_written(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_session(load_config()) as session:
        assert not worker.is_wanted(session)
        monkeypatch.setenv("BRIGHTRUN_NOTIFY_URLS", "json://127.0.0.1/x")
        assert worker.is_wanted(session)


async def test_a_long_silence_tells_nothing_twice(session: Session, http: NoticeReceiver) -> None:
    """Old notifications are forgotten, but none that a first look might find again."""
    clock = Clock(utc_now())
    await work(messenger(session, clock))
    await session.store.add_job(job_spec(name="night run"), "local")
    await end(session.store, "job-one")
    await work(messenger(session, clock))

    clock.now += timedelta(days=400)
    await work(messenger(session, clock))

    assert http.titles == ["brightrun: night run: completed"]


async def test_a_file_and_an_adapter_of_the_web_application_are_told_when_that_was_chosen(
    session: Session, http: NoticeReceiver
) -> None:
    await choose_kinds(session.store.settings, ["dataset", "artifact"])
    one = messenger(session)
    await work(one)
    await session.store.add_job(job_spec(name="night run"), "local")
    await session.store.web_files.put(WebFile("id", "a" * 64, "Week one", "/x", utc_now()))
    upload = dict.fromkeys(("target", "source", "error"), "") | {
        "object_name": "jobs/x/adapter",
        "training_job_id": "job-one",
        "attempt": 1,
        "artifact_type": "lora_adapter",
        "file_name": "adapter_model.safetensors",
        "sha256": "b" * 64,
        "size_bytes": 1,
        "content_type": "application/octet-stream",
        "state": "verified",
        "sent_bytes": 1,
        "updated_at": utc_now(),
    }
    async with session.store.database.writing() as connection:
        await connection.execute(insert(uploads), upload)
    await work(one)
    await work(one)

    [(_, post)] = http.posts
    assert "Week one: training file ready" in post["message"]
    assert "night run: adapter uploaded" in post["message"]
