"""What this end tells of jobs on the user's own hosts, with a real agent and a real receiver."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.errors import AgentUnreachable, InvalidInput
from shared.job_spec import DatasetReference, JobSpec
from shared.lifecycle import JobStatus
from shared.store.webhooks import WebhookEnd
from shared.webhook import WebhookTarget
from tests.fakes.webhook_receiver import SECRET, WebhookReceiver, serve_webhook_receiver
from tests.tui.local_console import STAND_IN, Console, forget_secrets
from tests.tui.rented import add_rented_job
from tui.config import Config
from tui.services import jobs, queue
from tui.services.agent_client import AgentClient
from tui.services.dataset_check import CheckSettings, check_training_file
from tui.services.hosts.host import Host
from tui.services.session import Session, open_session
from tui.services.webhook_targets import keep_target, take_back_webhooks
from tui.services.webhooks import Webhooks, WebhookSettings, is_wanted

QUICK = WebhookSettings(poll_s=0.05, agent_look_s=0.2, longest_look_s=0.4, timeout_s=5.0)
"""The rules of the real one, with shorter waits."""


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with serve_webhook_receiver() as served:
        yield served


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    made.root.mkdir()
    command = json.dumps({"command": [sys.executable, "-P", str(STAND_IN)]})
    (made.root / "trainer.json").write_text(command)
    yield made
    if (made.root / "agent.json").exists():
        made.end_detached_agent()
    forget_secrets(made.root)


@pytest.fixture
async def session(console: Console, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Session]:
    monkeypatch.setenv("TRAINING_WEBHOOK_SECRET", SECRET)
    async with open_session(Config(console.home, console.root)) as opened:
        yield opened


@asynccontextmanager
async def telling(session: Session, settings: WebhookSettings = QUICK) -> AsyncIterator[list[str]]:
    said: list[str] = []
    webhooks = Webhooks(session, SECRET, said.append, settings)
    running = asyncio.create_task(webhooks.run())
    try:
        yield said
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await webhooks.aclose()


def target(receiver: WebhookReceiver) -> WebhookTarget:
    return WebhookTarget(url=receiver.url, allow_private=True)


def spec_of(console: Console, job_id: str, notes: str) -> JobSpec:
    reference = DatasetReference.of(console.dataset)
    return JobSpec(job_id=job_id, name=job_id, notes=notes, dataset=reference)


async def start(
    session: Session, console: Console, receiver: WebhookReceiver, notes: str = "steps=2"
) -> None:
    report = check_training_file(console.dataset, CheckSettings("tiny"), None).report
    spec, wanted = spec_of(console, "job-one", notes), target(receiver)
    await jobs.start_job(session, console.dataset, spec, report, webhook=wanted)


async def put_in_queue(session: Session, console: Console, receiver: WebhookReceiver) -> None:
    report = check_training_file(console.dataset, CheckSettings("tiny"), None).report
    spec, wanted = spec_of(console, "job-one", "steps=2"), target(receiver)
    await queue.queue_job(session, console.dataset, spec, report, webhook=wanted)


async def until(what: Callable[[], Awaitable[bool]], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not await what():
            await asyncio.sleep(0.05)


async def until_settled(session: Session) -> None:
    async def is_so() -> bool:
        found = await session.store.webhooks.target("job-one")
        return found is not None and found.sender is WebhookEnd.NOBODY

    await until(is_so)


async def test_a_job_that_is_cancelled_before_its_turn_is_told_from_here(
    session: Session, console: Console, receiver: WebhookReceiver
) -> None:
    await put_in_queue(session, console, receiver)
    async with telling(session):
        await until(_has(receiver, "queued"))
        await jobs.cancel_job(session, await session.store.get_job("job-one"), "not now")
        await until_settled(session)

    assert receiver.told == [("queued", 0), ("cancelled", 0)]
    assert len(receiver.taken) == 2


async def test_while_nobody_takes_them_they_wait_in_order_over_a_restart(
    session: Session, console: Console, receiver: WebhookReceiver
) -> None:
    fault = receiver.faults.add(status=503, times=None)
    await put_in_queue(session, console, receiver)
    async with telling(session) as said:
        await until(_met(fault))
        await jobs.cancel_job(session, await session.store.get_job("job-one"), "not now")
        await until(_waits(session, 2))
    [first, _] = await session.store.webhooks.messages("job-one")
    assert (first.outcome, first.tries, first.next_try_at is None) == ("waiting", 1, False)
    assert "503" in first.error and "503" in said[0]

    receiver.faults.clear()
    async with telling(session):
        await until_settled(session)

    assert receiver.told == [("queued", 0), ("cancelled", 0)]
    assert len({each.id for each in receiver.requests}) == 2


async def test_one_that_was_being_sent_when_this_end_stopped_is_sent_again(
    session: Session, console: Console, receiver: WebhookReceiver
) -> None:
    fault = receiver.faults.add(delay_s=30, after_doing=True)
    await put_in_queue(session, console, receiver)
    async with telling(session):
        await until(_met(fault))
    receiver.released.set()

    async with telling(session):
        await jobs.cancel_job(session, await session.store.get_job("job-one"), "not now")
        await until_settled(session)

    ids = [each.id for each in receiver.requests]
    assert ids[0] == ids[1] != ids[2]


async def test_an_agent_tells_of_its_job_and_this_end_does_not(
    session: Session, console: Console, receiver: WebhookReceiver
) -> None:
    async with telling(session):
        await start(session, console, receiver)
        await until_settled(session)
        await session.mirror.catch_up(await session.store.get_job("job-one"))

    assert receiver.statuses == [
        "queued",
        "preprocessing",
        "model_loaded",
        "training",
        "completed",
    ]
    assert len({each.id for each in receiver.taken}) == len(receiver.taken)


async def test_an_agent_that_has_lost_its_memory_is_told_again(
    session: Session, console: Console, receiver: WebhookReceiver
) -> None:
    await start(session, console, receiver, "steps=60 delay=0.05")
    async with session.hosts.get("local").client() as client:
        await client.release_webhooks("job-one")  # As after a restart of the machine.
        assert not (await client.webhook("job-one")).is_set

    async with telling(session):
        await until_settled(session)

    assert receiver.statuses[-3:] == ["model_loaded", "training", "completed"]


async def test_a_job_that_its_host_refused_is_told_from_here(
    session: Session, console: Console, receiver: WebhookReceiver
) -> None:
    await put_in_queue(session, console, receiver)
    await session.store.settle_job("job-one", JobStatus.FAILED, "refused: no such thing")

    async with telling(session):
        await until_settled(session)

    assert receiver.told == [("queued", 0), ("failed", 0)]
    assert receiver.taken[-1].body["error_message"] == "refused: no such thing"


async def test_a_rented_job_whose_machine_went_with_its_messages_is_still_told_its_end(
    session: Session, receiver: WebhookReceiver
) -> None:
    await add_rented_job(session.store, "job-one")
    await keep_target(session.store, "job-one", target(receiver))
    waiting = await session.store.webhooks.messages("job-one")
    await session.store.webhooks.handed_over("job-one", [each.message.id for each in waiting])
    async with telling(session):
        await session.store.settle_job("job-one", JobStatus.FAILED, "the machine was lost")
        await until_settled(session)

    # What the agent had taken over is not told twice.
    assert receiver.told == [("failed", 0)]


async def test_what_an_agent_has_not_told_is_taken_back_before_its_machine_ends(
    session: Session, console: Console, receiver: WebhookReceiver
) -> None:
    receiver.faults.add(status=503, times=None)
    await start(session, console, receiver)
    await until(_is_final(session))
    host = session.hosts.get("local")

    assert await take_back_webhooks(session, host.client(), "job-one")
    assert await take_back_webhooks(session, host.client(), "job-one")

    left = await session.store.webhooks.messages("job-one")
    statuses = [json.loads(each.message.body)["status"] for each in left]
    assert statuses[:4] == ["queued", "preprocessing", "model_loaded", "training"]
    assert statuses[-1] == "completed"
    assert {each.outcome for each in left} == {"waiting"}
    async with host.client() as client:
        assert not (await client.webhook("job-one")).is_set


async def test_a_machine_that_does_not_answer_keeps_nobody_waiting(
    session: Session, console: Console, receiver: WebhookReceiver
) -> None:
    await put_in_queue(session, console, receiver)
    await session.store.webhooks.handed_over("job-one", [])

    host = session.hosts.get("local")
    assert not await take_back_webhooks(session, _never_connecting(host), "job-one")


async def test_a_receiver_that_wants_no_more_ends_the_telling(
    session: Session, console: Console, receiver: WebhookReceiver
) -> None:
    receiver.faults.add(status=410, times=None)
    await put_in_queue(session, console, receiver)
    await session.store.settle_job("job-one", JobStatus.FAILED, "refused")
    async with telling(session) as said:
        await until_settled(session)

    assert "410" in said[0]
    outcomes = [each.outcome for each in await session.store.webhooks.messages("job-one")]
    assert set(outcomes) == {"gone"}


async def test_a_receiver_that_hangs_holds_up_its_own_job_only(
    session: Session, console: Console, receiver: WebhookReceiver
) -> None:
    with serve_webhook_receiver() as other:
        other.faults.add(hang=True, times=None)
        await put_in_queue(session, console, other)
        report = check_training_file(console.dataset, CheckSettings("tiny"), None).report
        spec, wanted = spec_of(console, "job-two", "steps=2"), target(receiver)
        await queue.queue_job(session, console.dataset, spec, report, webhook=wanted)
        async with telling(session, WebhookSettings(poll_s=0.05)):
            await until(_has(receiver, "queued"), timeout_s=10)
        assert other.taken == []


async def test_without_a_secret_nothing_is_wanted_and_a_broken_one_is_said(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_wanted(session)
    monkeypatch.setenv("TRAINING_WEBHOOK_SECRET", "whsec_!")
    with pytest.raises(InvalidInput, match="not base64"):
        is_wanted(session)
    monkeypatch.delenv("TRAINING_WEBHOOK_SECRET")
    assert not is_wanted(session)
    monkeypatch.setenv("BRIGHTRUN_WEBHOOK_URL", "gopher://x")
    with pytest.raises(InvalidInput, match="BRIGHTRUN_WEBHOOK_URL"):
        is_wanted(session)


@asynccontextmanager
async def _never_connecting(host: Host) -> AsyncIterator[AgentClient]:
    raise AgentUnreachable("nobody answers")
    yield


def _is_final(session: Session) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        job = await session.store.get_job("job-one")
        return (await session.mirror.catch_up(job)).job.status.is_final

    return is_so


def _has(receiver: WebhookReceiver, status: str) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return status in receiver.statuses

    return is_so


def _met(fault: object) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return bool(fault.met)  # type: ignore[attr-defined]

    return is_so


def _waits(session: Session, count: int) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        found = await session.store.webhooks.messages("job-one")
        return [each.outcome for each in found] == ["waiting"] * count

    return is_so
