"""What deserves a word to a person, as values made of what the store holds.

Pure: the same rows give the same notifications with the same ids, in every process and at any time.
Everything foreign is cleaned here, and secrets are taken out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from shared.clean_text import clean, clean_line
from shared.lifecycle import JobStatus
from shared.money.records import MoneyNotice, NoticeScope
from shared.notification import Notification, NotificationKind
from shared.number_text import duration, loss, usd
from shared.redaction import redact
from shared.rental import Machine, MachineState
from shared.store.rentals import StoredRental
from shared.store.stored import StoredJob

LEFT_AFTER = timedelta(minutes=5)
"""A machine that is to end and may still be paid for is told of after this time."""
_LONGEST_NAME = 100
_LONGEST_BODY = 700

_ENDS = {
    JobStatus.COMPLETED: NotificationKind.COMPLETED,
    JobStatus.FAILED: NotificationKind.FAILED,
    JobStatus.CANCELLED: NotificationKind.CANCELLED,
}


def of_job(job: StoredJob, machines: Sequence[Machine], now: datetime) -> Iterator[Notification]:
    """That it was queued, that it trains, how it ended."""
    name = shown_name(job)
    kind = NotificationKind.QUEUED
    host = "a rented machine" if job.state.rented else job.host
    yield _notification(
        _id(job, kind), kind, job.created_at, f"{name}: queued", f"For {host}.", job.job_id
    )
    if job.state.started_at is not None:
        kind = NotificationKind.STARTED
        yield _notification(
            _id(job, kind), kind, job.state.started_at, f"{name}: started", "", job.job_id
        )
    if (end := _ENDS.get(job.status)) is not None:
        time = job.state.ended_at or job.updated_at
        body = " ".join(_end_words(job, machines, now))
        yield _notification(_id(job, end), end, time, f"{name}: {end.value}", body, job.job_id)


def of_rental(job: StoredJob, stored: StoredRental) -> Iterator[Notification]:
    """A machine that was lost, a question."""
    name, rental = shown_name(job), stored.rental
    if rental.interruptions > 0:
        kind = NotificationKind.INTERRUPTED
        most = stored.request.max_interruptions
        title = f"{name}: its machine is lost (interruption {rental.interruptions} of {most})"
        identity = f"job/{job.job_id}/{kind.value}/{rental.interruptions}"
        body = rental.reason or "It goes on from its last checkpoint on another machine."
        yield _notification(identity, kind, rental.since, title, body, job.job_id)
    if rental.question:
        kind = NotificationKind.QUESTION
        asked = hashlib.sha256(f"{rental.question}{rental.since.isoformat()}".encode()).hexdigest()
        body = f"{rental.question} Answer: brightrun answer {job.job_id[:12]} ANSWER"
        yield _notification(
            f"job/{job.job_id}/{kind.value}/{asked[:16]}",
            kind,
            rental.since,
            f"{name}: asks you",
            body,
            job.job_id,
            is_urgent=True,
        )


def of_machine(machine: Machine, now: datetime) -> Iterator[Notification]:
    """That it should be gone, and is not."""
    since = machine.ending_at
    if machine.state is not MachineState.ENDING or since is None or now - since < LEFT_AFTER:
        return
    why = f" ({machine.last_error})" if machine.last_error else ""
    body = (
        f"It was to end at {since:%Y-%m-%d %H:%M} UTC{why}. It may be paid for, "
        f"{usd(machine.usd_per_hour)} an hour, until its end is proved. It is tried again by "
        "itself; end it in the provider's own console where that goes on."
    )
    yield _notification(
        f"machine/{machine.name}/left",
        NotificationKind.MACHINE_LEFT,
        since + LEFT_AFTER,
        f"{machine.name}: does not end",
        body,
        machine.job_id or None,
        is_urgent=True,
    )


def of_money(notice: MoneyNotice, name: str) -> Notification:
    """A share of a limit that was reached; `name` is the job's."""
    is_month = notice.scope is NoticeScope.MONTH
    about = "monthly limit" if is_month else name
    words = f"{notice.share:.0%}" if is_month else f"{notice.share:.0%} of its budget is spent"
    if notice.scope is NoticeScope.PROJECTED:
        words = "will need more than its budget"
    return _notification(
        f"money/{notice.scope.value}/{notice.key}/{notice.share:g}",
        NotificationKind.MONTH if is_month else NotificationKind.BUDGET,
        notice.time,
        f"{about}: {words}",
        notice.message,
        None if is_month else notice.key,
        is_urgent=notice.share >= 1 and notice.scope is not NoticeScope.PROJECTED,
    )


def of_artifact(job: StoredJob, attempt: int, time: datetime) -> Notification:
    """Its adapter can be had from the web application's storage."""
    kind = NotificationKind.ARTIFACT
    return _notification(
        f"job/{job.job_id}/{kind.value}/{attempt}",
        kind,
        time,
        f"{shown_name(job)}: adapter uploaded",
        "Read back and verified.",
        job.job_id,
    )


def of_file(file_id: str, name: str, sha256: str, time: datetime) -> Notification:
    """A training file of the web application is here."""
    return _notification(
        f"file/{file_id}/{sha256[:16]}",
        NotificationKind.DATASET,
        time,
        f"{_short(name)}: training file ready",
        "Its bytes are here and its hash is noted; it can be trained on.",
    )


def shown_name(job: StoredJob) -> str:
    """On one line, and not too long."""
    return _short(job.spec.name)


def _short(name: str) -> str:
    return clean_line(name)[:_LONGEST_NAME]


def _id(job: StoredJob, kind: NotificationKind) -> str:
    return f"job/{job.job_id}/{kind.value}"


def _end_words(job: StoredJob, machines: Sequence[Machine], now: datetime) -> Iterator[str]:
    state = job.state
    if job.status is JobStatus.COMPLETED:
        yield "Its adapter is verified." if state.adapter_verified else "It has ended well."
        if state.eval_loss is not None:
            yield f"Validation loss {loss(state.eval_loss)}."
    else:
        if said := job.error_message or state.detail:
            yield f"{said.rstrip('.')}."
        if state.advice and job.status is JobStatus.FAILED:
            yield state.advice
    if state.total_steps:
        yield f"Step {state.step:,} of {state.total_steps:,}."
    if state.started_at is not None and state.ended_at is not None:
        yield f"It took {duration((state.ended_at - state.started_at).total_seconds())}."
    if cost_usd := sum(machine.cost_usd(now) for machine in machines):
        yield f"It cost about {usd(cost_usd)}."


def _notification(
    identity: str,
    kind: NotificationKind,
    time: datetime,
    title: str,
    body: str,
    job_id: str | None = None,
    *,
    is_urgent: bool = False,
) -> Notification:
    return Notification(
        identity,
        kind,
        time,
        redact(clean_line(title)),
        _cut(redact(clean(body).strip())),
        job_id,
        is_urgent,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_BODY else f"{text[: _LONGEST_BODY - 2]} …"
