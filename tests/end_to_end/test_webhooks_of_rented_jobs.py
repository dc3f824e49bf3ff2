"""Who tells of a rented job, and when: its agent while its machine lives, its controller around."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from unittest import mock

import pytest

from shared.lifecycle import JobStatus
from shared.store.webhooks import WebhookEnd
from tests.end_to_end.rented import (
    H100,
    Rented,
    called_off,
    check_invariants,
    story,
    until,
    until_final,
    until_step,
)
from tests.fakes.webhook_receiver import SECRET, WebhookReceiver, serve_webhook_receiver
from tests.remote.remote_box import needs_a_box
from tui.services.session import Session
from tui.services.webhooks import Webhooks, WebhookSettings

pytestmark = [needs_a_box, pytest.mark.slow]

QUICK = WebhookSettings(poll_s=0.1, agent_look_s=0.5, longest_look_s=2.0)


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with serve_webhook_receiver() as served:
        told = {
            "TRAINING_WEBHOOK_SECRET": SECRET,
            "BRIGHTRUN_WEBHOOK_URL": served.url,
            "BRIGHTRUN_WEBHOOK_ALLOW_PRIVATE": "1",
        }
        with mock.patch.dict("os.environ", told):
            yield served


@asynccontextmanager
async def telling(session: Session) -> AsyncIterator[None]:
    webhooks = Webhooks(session, SECRET, lambda text: None, QUICK)
    running = asyncio.create_task(webhooks.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await webhooks.aclose()


async def until_settled(session: Session, job_id: str) -> None:
    async def is_so() -> bool:
        found = await session.store.webhooks.target(job_id)
        return found is not None and found.sender is WebhookEnd.NOBODY

    try:
        await until(is_so)
    except TimeoutError:
        messages = await session.store.webhooks.messages(job_id)
        raise AssertionError(f"{messages}\n{await story(session, job_id)}") from None


async def test_the_end_is_told_once_and_last_by_the_controller(
    user: Rented, receiver: WebhookReceiver
) -> None:
    async with user.controlled() as (session, _), telling(session):
        await user.start(session, "job-told", "steps=20 delay=0.2", user.request())
        await until_step(session, "job-told", 10)
        told_by_agent = list(receiver.statuses)
        job = await until_final(session, "job-told")
        await until_settled(session, "job-told")

        assert job.status is JobStatus.COMPLETED
        assert told_by_agent == ["queued", "preprocessing", "model_loaded", "training"]
        assert receiver.statuses == [*told_by_agent, "completed"]
        assert [each.body["status"] for each in receiver.taken].count("completed") == 1
        assert "lora_path" not in receiver.taken[-1].body  # Nowhere but at home.
        assert ("training", 20) in receiver.told
        await check_invariants(user, session, "job-told")


async def test_what_the_pod_could_not_deliver_is_delivered_afterwards_with_the_same_ids(
    user: Rented, receiver: WebhookReceiver
) -> None:
    receiver.faults.add(status=503, times=None)
    async with user.controlled() as (session, _), telling(session):
        await user.start(session, "job-late", "steps=6 delay=0.1", user.request())
        await until_final(session, "job-late")
        refused = {each.id for each in receiver.requests}
        assert receiver.taken == []
        receiver.faults.clear()
        await until_settled(session, "job-late")

        assert receiver.statuses == [
            "queued",
            "preprocessing",
            "model_loaded",
            "training",
            "completed",
        ]
        assert refused <= {each.id for each in receiver.taken}
        assert len({each.id for each in receiver.taken}) == len(receiver.taken)
        stored = await session.store.webhooks.messages("job-late")
        assert {each.outcome for each in stored} == {"delivered"}


async def test_a_lost_machine_moves_nothing_back(user: Rented, receiver: WebhookReceiver) -> None:
    async with user.controlled() as (session, _), telling(session):
        # Without a volume: the second agent knows nothing of what the first one told.
        request = user.request(network_volume_id=None)
        user.fake.settings.image_workspace = str(user.template)
        await user.start(session, "job-lost", "steps=20 delay=0.2", request)
        await until_step(session, "job-lost", 5)
        (pod,) = user.fake.pods
        user.fake.lose_pod(pod.id, "exited")
        job = await until_final(session, "job-lost")
        await until_settled(session, "job-lost")

        assert (job.status, job.state.attempt) == (JobStatus.COMPLETED, 2)
        assert receiver.statuses == [
            "queued",
            "preprocessing",
            "model_loaded",
            "training",
            "completed",
        ]


async def test_a_job_for_which_there_never_was_a_machine_is_told_from_here(
    user: Rented, receiver: WebhookReceiver
) -> None:
    user.fake.catalogue.set_stock(-9, H100, "US-KS-2")
    async with user.controlled() as (session, _), telling(session):
        await user.start(session, "job-none", "steps=2", user.request())
        await until(lambda: _was_told(receiver, "queued"))
        job = await called_off(session, "job-none")
        await until_settled(session, "job-none")

        assert job.status is JobStatus.CANCELLED
        assert receiver.told == [("queued", 0), ("cancelled", 0)]
        assert len(receiver.taken) == 2


async def test_the_secret_is_on_no_volume_and_in_no_log_of_the_pod(
    user: Rented, receiver: WebhookReceiver
) -> None:
    async with user.controlled() as (session, _), telling(session):
        volume = user.volume()
        request = user.request(network_volume_id=volume)
        await user.start(session, "job-canary", "steps=30 delay=0.2 talk=1", request)
        await until(lambda: _was_told(receiver, "training"))
        for path in user.fake.volume_directory(volume).rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert SECRET.encode() not in path.read_bytes(), path
        await called_off(session, "job-canary")
        await until_settled(session, "job-canary")
        for path in user.config.home.rglob("*"):
            if path.is_file():
                assert SECRET.encode() not in path.read_bytes(), path


async def _was_told(receiver: WebhookReceiver, status: str) -> bool:
    return status in receiver.statuses
