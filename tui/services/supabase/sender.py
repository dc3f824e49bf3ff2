"""Sends one job to the web application's tables: its row, what was measured, its artifacts.

Every write may be repeated, in whole or in part, and ends the same: rows are told apart by keys
that are made of what they say. Knows no pauses and no other job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared.clean_text import clean_line
from shared.errors import SupabaseRefused
from shared.events import JournalRecord, utc_now
from shared.store.cursor import Cursor
from shared.store.mirror_progress import MirrorFailure, Picture
from shared.store.store import Store
from shared.store.web_facts import WebFacts
from tui.services.supabase.connection import Supabase, supabase_errors
from tui.services.supabase.rows_of import Row, artifact_rows, digest_of, job_row, metric_rows
from tui.services.web_objects import job_object, store_mark

BATCH_ROWS = 500
"""Of metrics in one request: at most 320 bytes each, some 150 kB in all. Thousands a second go that
way (scripts/bench_mirror.py); larger ones hold up the console's own loop for longer."""
BATCHES_AT_ONCE = 20
"""Of one job, before others have their turn."""
MOST_BAD_ROWS = 20
"""In one batch; beyond that it is not the rows that are bad."""
_METRICS_KEY = "training_job_id,attempt,step"
_LINK_CODES = ("23503", "42501")
"""A training file that is gone, or that the user does not see any more."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row that will not be taken as it is."""

    row: Row
    reason: str

    def __str__(self) -> str:
        return f"attempt {self.row['attempt']} step {self.row['step']}: {self.reason}"


class Sender:
    """Sends over one connection."""

    def __init__(self, store: Store, supabase: Supabase, target: str) -> None:
        self._store = store
        self._progress = store.mirror_progress
        self._supabase = supabase
        self._target = target

    async def send(self, job_id: str) -> bool:
        """Bring a job up to date; False where it is not yet, and has to come again.

        Raises:
            SupabaseRefused: something of this job is not accepted.
            SupabaseError: nothing can be sent now.
        """
        picture = await self._progress.take_picture(job_id, self._target)
        if picture is None:
            return True
        facts = (await self._store.web_facts.of([job_id]))[job_id]
        job = job_object(picture.job, facts, await store_mark(self._store), utc_now())
        await self._send_job(job_row(job, self._supabase.user_id, picture.as_of))
        if not await self._send_metrics(picture, job["id"]):
            return False
        digest = await self._send_artifacts(job, facts, picture.artifacts_digest)
        await self._progress.advance(
            job_id,
            self._target,
            cursor=picture.job.cursor,
            job_updated_at=picture.job.updated_at,
            artifacts_digest=digest,
        )
        if picture.failure not in ("", MirrorFailure.ROWS):
            await self._progress.note_success(job_id, self._target)
        return True

    async def _send_job(self, row: Row) -> None:
        try:
            answer = await self._upsert("training_jobs", [row], "id", "representation")
        except SupabaseRefused as error:
            if "training_file_id" not in row or error.code not in _LINK_CODES:
                raise
            answer = await self._upsert(
                "training_jobs", [{**row, "training_file_id": None}], "id", "representation"
            )
        if not answer:
            raise SupabaseRefused(
                f"Supabase took the row of {row['brightrun_job_id']}, and does not show it: row "
                "level security gives it to another user."
            )

    async def _send_metrics(self, picture: Picture, web_job_id: str) -> bool:
        """What the target lacks, in order; False where more is left than may be sent at once."""
        job, cursor = picture.job, picture.sent
        for _ in range(BATCHES_AT_ONCE):
            if cursor >= job.cursor:
                return True
            records = await self._progress.measured(job.job_id, cursor, job.cursor, BATCH_ROWS)
            await self._send_batch(job.job_id, records, web_job_id)
            is_last = len(records) < BATCH_ROWS
            cursor = job.cursor if is_last else Cursor(records[-1].attempt, records[-1].seq)
            if not is_last:
                await self._progress.advance(job.job_id, self._target, cursor=cursor)
        return cursor >= job.cursor

    async def _send_batch(
        self, job_id: str, records: Sequence[JournalRecord], web_job_id: str
    ) -> None:
        refusals: list[Refusal] = []
        for rows in metric_rows(records, web_job_id):
            await self._put_metrics(rows, refusals)
        if refusals:
            left_out = f"{len(refusals)} metric rows were left out"
            words = f"{left_out}, the first of them: {clean_line(str(refusals[0]))}"
            await self._progress.note_failure(
                job_id, self._target, MirrorFailure.ROWS, words, utc_now()
            )

    async def _put_metrics(self, rows: list[Row], refusals: list[Refusal]) -> None:
        """All of them but bad ones, which are found by halving."""
        try:
            await self._upsert("training_metrics_history", rows, _METRICS_KEY, "minimal")
        except SupabaseRefused as error:
            if not _is_of_a_row(error.code) or len(refusals) >= MOST_BAD_ROWS:
                raise
            if len(rows) == 1:
                refusals.append(Refusal(rows[0], str(error)))
                return
            half = len(rows) // 2
            await self._put_metrics(rows[:half], refusals)
            await self._put_metrics(rows[half:], refusals)

    async def _send_artifacts(self, job: Row, facts: WebFacts, known_digest: str) -> str:
        """Returns what names the rows that are there now."""
        rows = artifact_rows(job, facts, self._supabase.user_id)
        digest = digest_of(rows)
        if digest != known_digest:
            for row in rows:
                await self._upsert("model_artifacts", [row], "id", "minimal")
        return digest

    async def _upsert(
        self,
        table: str,
        rows: list[Row],
        key: str,
        returning: Literal["minimal", "representation"],
    ) -> list[Any]:
        from postgrest.types import ReturnMethod

        with supabase_errors():
            query = self._supabase.table(table).upsert(
                rows, on_conflict=key, returning=ReturnMethod(returning)
            )
            answer = await query.execute()
        return list(answer.data or ())


def _is_of_a_row(code: str) -> bool:
    """True for a rule that one row breaks and others may not: its values, a check, a trigger."""
    # 23503: the job itself is missing there, which is no fault of a row.
    return code.startswith(("22", "23", "54", "P0")) and code != "23503"
