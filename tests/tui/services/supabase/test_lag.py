from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.store.cursor import Cursor
from shared.store.mirror_progress import Behind, MirrorFailure
from tests.shared.store import journal
from tests.tui.services.supabase.mirroring import add_job, session_in
from tui.services.supabase.lag import lag, lag_of

NOW = datetime(2026, 11, 22, 14, 10, tzinfo=UTC)


def behind(
    seconds: float, failure: str = "", error: str = "", failing_s: float | None = None
) -> Behind:
    failing = None if failing_s is None else NOW - timedelta(seconds=failing_s)
    return Behind("job-one", NOW - timedelta(seconds=seconds), failure, error, failing)


def test_nothing_lacking_is_up_to_date() -> None:
    assert lag_of([]).words(NOW) == "up to date"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "up to date"),
        (12, "12 s behind"),
        (600, "10 min behind"),
        (10_800, "3 h behind"),
        (-600, "up to date"),  # A clock that was set back.
    ],
)
def test_the_oldest_thing_that_is_lacking_says_how_far_it_is_behind(
    seconds: float, words: str
) -> None:
    assert lag_of([behind(1), behind(seconds)]).words(NOW) == words


def test_a_project_that_does_not_answer_says_since_when_and_that_nothing_is_lost() -> None:
    found = lag_of(
        [behind(900, "unreachable", "Supabase does not answer: refused.", 420), behind(9)]
    )
    since = f"{(NOW - timedelta(seconds=420)).astimezone():%H:%M}"
    assert found.words(NOW) == (
        f"unreachable since {since}, nothing is lost: Supabase does not answer: refused."
    )
    assert found.failure is MirrorFailure.UNREACHABLE
    assert found.jobs == 2


def test_a_job_that_is_refused_does_not_hide_that_the_others_are_there() -> None:
    found = lag_of([behind(9000, "refused", "row level security says no.", 9000)])
    assert found.words(NOW) == "up to date, 1 job refused: row level security says no."
    assert found.jobs == 0


async def test_without_a_project_there_is_nothing_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    async with session_in(tmp_path) as session:
        assert await lag(session) is None


async def test_it_counts_from_the_oldest_record_that_was_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_URL", "https://project.supabase.co")
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_123")
    target = "https://project.supabase.co#public"
    records = journal.completed_job(steps=5)
    async with session_in(tmp_path) as session:
        await add_job(session.store, records)
        found = await lag(session)
        assert found is not None
        assert (found.jobs, found.since) == (1, records[0].time)
        progress = session.store.mirror_progress
        await progress.take_picture("job-one", target)
        await progress.advance("job-one", target, cursor=Cursor(1, 3))
        found = await lag(session)
        assert found is not None
        assert found.since == records[3].time
        job = await session.store.get_job("job-one")
        await progress.advance("job-one", target, cursor=job.cursor, job_updated_at=job.updated_at)
        found = await lag(session)
        assert found is not None
        assert (found.jobs, found.since) == (0, None)
