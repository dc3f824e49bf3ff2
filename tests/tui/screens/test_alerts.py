"""What a trainer warns of reaches whoever looks, whatever is on the screen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared import events
from shared.job_state import JobState
from shared.lifecycle import JobStatus
from shared.store.stored import StoredJob
from tests.shared.store.journal import BEGIN, job_spec
from tests.tui.console_pilot import ConsolePilot, open_app
from tests.tui.local_console import Console
from tui.services.feed import JobNews

SPLIT = "out of memory: a micro-batch of 6 rows and 7,900 tokens is split"


def news(*messages: str, status: JobStatus = JobStatus.TRAINING, age_s: float = 1) -> JobNews:
    job = StoredJob(
        job_spec("job-one", name="empathy [v4]"),
        JobState(status=status),
        "local",
        retry_of=None,
        error_message=None,
        created_at=BEGIN,
        updated_at=BEGIN,
    )
    records = tuple(
        events.JournalRecord(
            job_id="job-one",
            attempt=1,
            seq=seq,
            time=datetime.now(UTC) - timedelta(seconds=age_s),
            trainer_offset=0,
            event=events.LogLine(level="warning", message=message),
        )
        for seq, message in enumerate(messages, start=1)
    )
    return JobNews(job, records)


def notices(opened: ConsolePilot) -> list[str]:
    return [notice.message for notice in opened.app._notifications]


async def test_a_fresh_warning_of_a_trainer_at_work_is_a_notice(tmp_path: Path) -> None:
    async with open_app(Console(tmp_path)) as opened:
        opened.app._tell(news(SPLIT))
        await opened.until_seen("empathy [v4]: out of memory: a micro-batch")
        opened.app._tell(news("first", "second", "third \x1b[2J[/]"))
        await opened.until_seen("empathy [v4]: third [/] (and 2 more)")


async def test_old_warnings_and_those_of_a_dataset_check_stay_in_the_events(tmp_path: Path) -> None:
    async with open_app(Console(tmp_path)) as opened:
        opened.app._tell(news(SPLIT, age_s=3600))
        opened.app._tell(news("cut_target: 3 times", status=JobStatus.PREPROCESSING))
        assert notices(opened) == []
