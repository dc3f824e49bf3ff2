"""What tests of rented machines look at: a job's machine, its volume, its ledger and its end."""

from __future__ import annotations

from pathlib import Path

from shared.lifecycle import JobStatus
from tests.end_to_end.rented import Rented, story, until, until_final
from tests.fakes.runpod.pod import Pod
from tui.services.session import Session


def pod_of(user: Rented, job_id: str) -> Pod:
    """The machine that serves the job now."""
    (pod,) = [pod for pod in user.fake.pods if f"-{job_id}-" in pod.name]
    return pod


def files_on(user: Rented, volume_id: str, job_id: str) -> Path:
    """The root of the job's agent on a volume."""
    return user.base_of(volume_id, job_id) / "agent"


async def ledger(session: Session, job_id: str) -> str:
    """All that was said of the job."""
    return "\n".join(entry.message for entry in await session.store.rentals.ledger(job_id))


async def until_said(session: Session, job_id: str, text: str) -> None:
    """Wait until the job's ledger, or the reason on the screen, says it."""

    async def is_said() -> bool:
        stored = await session.store.rentals.get(job_id)
        assert stored is not None
        said = (stored.rental.reason, stored.rental.question, await ledger(session, job_id))
        return text in "\n".join(said)

    try:
        await until(is_said)
    except TimeoutError:
        raise AssertionError(f"{text!r}:\n{await story(session, job_id)}") from None


async def completed(session: Session, job_id: str, step: int, attempt: int) -> None:
    """Wait for the end, and see that it is this one."""
    job = await until_final(session, job_id)
    seen = (job.status, job.state.step, job.state.attempt)
    assert seen == (JobStatus.COMPLETED, step, attempt), await story(session, job_id)
