"""What the store knows of an ended job, put together for the advisor; and its changed job."""

from __future__ import annotations

from typing import Any

from shared.advice.advisor import suggestions
from shared.advice.suggestion import EndedJob, Suggestion
from shared.errors import InvalidInput
from shared.events import CheckpointCommitted, LogLine, RunFacts
from shared.store.store import Store
from shared.store.stored import StoredJob
from tui.services.resumption import newest_checkpoint

_WARNINGS_READ = 500


async def suggestions_for(store: Store, job: StoredJob) -> list[Suggestion]:
    """Changed jobs that may do better than this one; none as long as it has not ended."""
    if not job.status.is_final or job.state.stop_reason is None:
        return []
    job_id = job.job_id
    facts = await store.events_of(job_id, RunFacts, last=1)
    lines = await store.events_of(job_id, LogLine, last=_WARNINGS_READ)
    checkpoints = await store.events_of(job_id, CheckpointCommitted, last=1)
    ended = EndedJob(
        spec=job.spec,
        state=job.state,
        points=await store.metrics(job_id),
        facts=facts[0] if facts else None,
        report=await store.training_files.report(job.spec.dataset.sha256),
        warnings=tuple(line.message for line in lines if line.level != "info"),
        checkpoint_bytes=checkpoints[0].size_bytes if checkpoints else None,
    )
    return suggestions(ended)


def chosen_suggestion(found: list[Suggestion], number: int, job_id: str) -> Suggestion:
    """The one with this number, from 1.

    Raises:
        InvalidInput: there is none, or none that can be started.
    """
    startable = [suggestion for suggestion in found if suggestion.can_be_launched]
    if not startable:
        raise InvalidInput(
            f"{job_id}: nothing is suggested for it; `brightrun retry {job_id} --set NAME=VALUE` "
            "changes what you choose."
        )
    if not 1 <= number <= len(startable):
        raise InvalidInput(
            f"{job_id}: there is no suggestion {number}, only 1 to {len(startable)}; "
            f"`brightrun show {job_id}` lists them."
        )
    return startable[number - 1]


async def changes_of(store: Store, job: StoredJob, suggestion: Suggestion) -> dict[str, Any]:
    """What the new job has otherwise than `job`, its last checkpoint included where it resumes."""
    changes = dict(suggestion.changes)
    if suggestion.way == "resume":
        changes["resume_from"] = await newest_checkpoint(store, job)
    return changes
