"""Webhooks from a real agent's jobs to a real receiver on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.webhook_delivery import DeliverySettings
from agent.webhooks import Webhooks
from shared.events import Metrics, decode_journal_record
from shared.webhook import WebhookTarget
from shared.webhook_protocol import WebhookSetting, WebhookState
from tests.fakes.webhook_receiver import SECRET, WebhookReceiver, serve_webhook_receiver

WEB_ID = "6f1d2b1e-3c7a-5b8e-9d40-8a3f5e7c2b61"
JOB = "/training/jobs/job-one"
HURRIED = DeliverySettings(timeout_s=5, pause_s=lambda failures, retry_after_s: 0.05)


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with serve_webhook_receiver() as served:
        yield served


def setting(receiver: WebhookReceiver, **changes: Any) -> WebhookSetting:
    target = WebhookTarget(
        url=receiver.url,
        interval_steps=changes.pop("interval_steps", None),
        allow_private=changes.pop("allow_private", True),
    )
    values = {"target": target, "secret": SECRET, "web_job_id": WEB_ID, "tells_end": True}
    return WebhookSetting(**{**values, **changes})


def as_json(wanted: WebhookSetting) -> dict[str, Any]:
    return wanted.model_dump(mode="json") | {"secret": wanted.secret.get_secret_value()}


class Told:
    """A supervisor in this process, and the webhooks of its jobs."""

    def __init__(self, pod: Any, tmp_path: Path) -> None:
        self.pod = pod
        self.secrets = tmp_path / "in-memory"
        self.made: list[Webhooks] = []

    async def open(self, settings: DeliverySettings = HURRIED) -> Webhooks:
        self.supervisor = await self.pod.supervisor()
        webhooks = Webhooks(self.supervisor, self.secrets, settings)
        self.made.append(webhooks)
        await webhooks.recover()
        return webhooks

    async def close(self, webhooks: Webhooks) -> None:
        self.made.remove(webhooks)
        await webhooks.close()
        await self.pod.close(self.supervisor)


@pytest.fixture
async def told(pod: Any, tmp_path: Path) -> AsyncIterator[Told]:
    made = Told(pod, tmp_path)
    yield made
    for webhooks in made.made:
        await webhooks.close()


async def told_of(webhooks: Webhooks) -> list[str]:
    """The statuses that are or were to be told."""
    found = await webhooks.messages("job-one")
    return [json.loads(each.message.body)["status"] for each in found]


async def until_complete(webhooks: Webhooks, timeout_s: float = 20) -> WebhookState:
    async with asyncio.timeout(timeout_s):
        while not (state := await webhooks.state("job-one")).is_complete:
            await asyncio.sleep(0.02)
    return state


async def test_a_job_is_told_from_its_first_status_to_its_last(told, pod, receiver):
    webhooks = await told.open()
    await told.supervisor.start(pod.spec("steps=12"))

    await webhooks.put("job-one", setting(receiver))
    state = await until_complete(webhooks)

    # The first step and the last; the two seconds between reports leave out all others.
    assert receiver.told == [
        ("preprocessing", 0),
        ("model_loaded", 0),
        ("training", 0),
        ("training", 1),
        ("training", 12),
        ("completed", 12),
    ]
    assert (state.waiting, state.delivered, state.error) == (0, 6, "")
    assert receiver.refused == []


async def test_the_body_is_the_seeds_and_the_old_signature_is_there(told, pod, receiver):
    webhooks = await told.open()
    await told.supervisor.start(pod.spec("steps=2"))
    await webhooks.put("job-one", setting(receiver))
    await until_complete(webhooks)

    bodies = [each.body for each in receiver.taken]
    keys = ["job_id", "status", "step", "total_steps", "metrics", "timestamp"]
    assert [list(body) for body in bodies] == [keys] * 6
    assert {body["job_id"] for body in bodies} == {WEB_ID}
    at_step_1 = bodies[3]
    assert (at_step_1["step"], at_step_1["total_steps"]) == (1, 2)
    assert list(at_step_1["metrics"]) == ["loss", "learning_rate", "grad_norm", "epoch"]
    assert isinstance(at_step_1["metrics"]["loss"], float)
    assert at_step_1["timestamp"].endswith("Z")
    assert all(len(each.headers["x-webhook-signature"]) == 64 for each in receiver.taken)


async def test_a_failed_job_says_why(told, pod, receiver):
    webhooks = await told.open()
    await told.supervisor.start(pod.spec("steps=4 at=2 dies=crash until=9"))
    await webhooks.put("job-one", setting(receiver))
    await until_complete(webhooks)

    last = receiver.taken[-1].body
    assert last["status"] == "failed"
    assert last["error_message"]
    assert receiver.statuses == ["preprocessing", "model_loaded", "training", "failed"]


async def test_the_end_of_a_rented_job_is_left_to_the_controller(told, pod, receiver):
    webhooks = await told.open()
    await told.supervisor.start(pod.spec("steps=2"))
    await webhooks.put("job-one", setting(receiver, tells_end=False))
    await until_complete(webhooks)

    assert receiver.statuses == ["preprocessing", "model_loaded", "training"]


async def test_what_a_receiver_refuses_is_sent_again_in_order_with_the_same_id(told, pod, receiver):
    receiver.faults.add(status=500, times=2)
    receiver.faults.add(reset=True)
    webhooks = await told.open()
    await told.supervisor.start(pod.spec("steps=3"))
    await webhooks.put("job-one", setting(receiver))
    await until_complete(webhooks)

    first = receiver.requests[0]
    assert [each.id for each in receiver.requests[:4]] == [first.id] * 4
    assert {each.raw for each in receiver.requests[:4]} == {first.raw}
    assert receiver.statuses == ["preprocessing", "model_loaded", "training", "completed"]


async def test_what_was_taken_without_an_answer_comes_twice_with_one_id(told, pod, receiver):
    receiver.faults.add(reset=True, after_doing=True)
    webhooks = await told.open()
    await told.supervisor.start(pod.spec("steps=1"))
    await webhooks.put("job-one", setting(receiver))
    await until_complete(webhooks)

    ids = [each.id for each in receiver.taken]
    assert ids[0] == ids[1]
    assert len(set(ids)) == len(ids) - 1


async def test_a_receiver_that_wants_no_more_is_left_alone(told, pod, receiver):
    receiver.faults.add(status=410, times=None)
    webhooks = await told.open()
    await told.supervisor.start(pod.spec("steps=1"))
    await pod.until_final(told.supervisor)
    await webhooks.put("job-one", setting(receiver))
    state = await until_complete(webhooks)

    assert len(receiver.requests) <= 2  # What the journal still made while the first was asked.
    assert state.delivered == 0
    assert "410" in state.error


async def test_messages_are_given_up_after_a_day(told, pod, receiver):
    receiver.faults.add(status=500, times=None)
    webhooks = await told.open(
        DeliverySettings(pause_s=lambda failures, after: 0.01, give_up_after_s=0.0)
    )
    await told.supervisor.start(pod.spec("steps=1"))
    await webhooks.put("job-one", setting(receiver))
    state = await until_complete(webhooks)

    assert (state.waiting, state.delivered) == (0, 0)
    assert state.given_up == 5


@pytest.mark.parametrize("fault", [{"hang": True}, {"status": 500}, None])
async def test_a_receiver_that_hangs_fails_or_is_down_slows_no_training(told, pod, receiver, fault):
    if fault is not None:
        receiver.faults.add(times=None, **fault)
    url = receiver.url if fault else "http://127.0.0.1:9/nobody"
    webhooks = await told.open(DeliverySettings(timeout_s=30))
    target = WebhookTarget(url=url, interval_steps=1, allow_private=True)
    await told.supervisor.start(pod.spec("steps=40 delay=0.05"))
    await webhooks.put("job-one", setting(receiver).model_copy(update={"target": target}))
    begin = time.monotonic()
    follow = told.supervisor.job("job-one").follow((0, 0), 100)
    lags = []
    async with asyncio.timeout(25):
        async for lines in follow:
            now = time.time()
            for record in map(decode_journal_record, lines):
                if isinstance(record.event, Metrics):
                    lags.append(now - record.time.timestamp())
    took_s = time.monotonic() - begin

    # 40 steps of 0.05 s, and a start of a process: nothing waited 30 s for anybody.
    assert len(lags) == 40
    assert took_s < 20
    assert max(lags) < 5
    state = await webhooks.state("job-one")
    assert (state.delivered, state.is_complete) == (0, False)
    assert state.waiting >= 5


async def test_while_nothing_is_taken_old_figures_are_dropped_and_statuses_kept(
    told, pod, receiver
):
    webhooks = await told.open(
        DeliverySettings(pause_s=lambda failures, after: 0.2, most_waiting=4)
    )
    fault = receiver.faults.add(status=503, times=None)
    # Reports 2 s apart by the job's own clock.
    await told.supervisor.start(pod.spec("steps=3 delay=2.05"))
    await webhooks.put("job-one", setting(receiver, interval_steps=1))
    async with asyncio.timeout(20):
        while "completed" not in await told_of(webhooks):
            await asyncio.sleep(0.02)
    receiver.faults.clear()
    assert fault.met > 0
    await until_complete(webhooks)

    assert receiver.told == [
        ("preprocessing", 0),
        ("model_loaded", 0),
        ("training", 0),
        ("training", 3),
        ("completed", 3),
    ]


async def test_a_restarted_agent_goes_on_where_it_was(told, pod, receiver):
    webhooks = await told.open()
    await told.supervisor.start(pod.spec("steps=60 delay=0.05"))
    await webhooks.put("job-one", setting(receiver))
    # Step 1 is written down as delivered; the next report is two seconds away.
    async with asyncio.timeout(20):
        while (await webhooks.state("job-one")).delivered < 4:
            await asyncio.sleep(0.02)
    await told.close(webhooks)
    before = [each.id for each in receiver.taken]

    webhooks = await told.open()
    await until_complete(webhooks)

    ids = [each.id for each in receiver.taken]
    assert len(set(ids)) == len(ids)
    assert ids[: len(before)] == before
    assert receiver.statuses == ["preprocessing", "model_loaded", "training", "completed"]


async def test_a_killed_agent_that_was_delivering_sends_the_same_id_again(pod, receiver):
    fault = receiver.faults.add(delay_s=60, skip=2, after_doing=True)
    agent = await pod.start_agent()
    async with pod.client() as client:
        body = {"job": pod.spec("steps=20 delay=0.05").model_dump(mode="json")}
        await client.post("/training/start", json=body)
        answer = await client.put(f"{JOB}/webhook", json=as_json(setting(receiver)))
        assert answer.status_code == 200
        await pod.until(lambda: fault.met == 1)
    agent.kill()
    agent.wait()
    receiver.released.set()
    await pod.until(lambda: len(receiver.requests) == 3)

    await pod.start_agent()
    async with pod.client() as client:
        if not (await client.get(f"{JOB}/webhook")).json()["is_set"]:  # No tmpfs here.
            await client.put(f"{JOB}/webhook", json=as_json(setting(receiver)))
        async with asyncio.timeout(20):
            while not (await client.get(f"{JOB}/webhook")).json()["is_complete"]:
                await asyncio.sleep(0.05)

    ids = [each.id for each in receiver.requests]
    assert ids[2] == ids[3]
    assert len(set(ids)) == len(ids) - 1
    assert receiver.statuses == ["preprocessing", "model_loaded", "training", "completed"]


async def test_what_the_console_hands_over_goes_first(told, pod, receiver):
    queued = {
        "id": "msg_6f1d2b1e3c7a5b8e_queued",
        "body": '{"status":"queued","step":0}',
        "created_at": "2026-11-23T10:00:00Z",
    }
    webhooks = await told.open()
    await told.supervisor.start(pod.spec("steps=1"))
    await webhooks.put("job-one", setting(receiver, first=[queued]))
    await webhooks.put("job-one", setting(receiver, first=[queued]))
    await until_complete(webhooks)

    assert [status for status, _ in receiver.told][:2] == ["queued", "preprocessing"]
    assert [each.id for each in receiver.requests].count(queued["id"]) == 1


async def test_what_is_left_is_released_once_and_not_sent_any_more(told, pod, receiver):
    receiver.faults.add(status=503, times=None)
    webhooks = await told.open()
    await told.supervisor.start(pod.spec("steps=2"))
    await pod.until_final(told.supervisor)
    await webhooks.put("job-one", setting(receiver, tells_end=False))

    released = await webhooks.release("job-one")
    assert [json.loads(each.message.body)["status"] for each in released] == [
        "preprocessing",
        "model_loaded",
        "training",
        "training",
        "training",
    ]
    receiver.faults.clear()
    asked = len(receiver.requests)
    assert await webhooks.release("job-one") == released
    assert not (await webhooks.state("job-one")).is_set
    await told.close(webhooks)
    webhooks = await told.open()
    assert not (await webhooks.state("job-one")).is_set
    assert len(receiver.requests) == asked


async def test_a_private_address_is_refused_unless_it_is_allowed(told, pod, receiver):
    webhooks = await told.open()
    await told.supervisor.start(pod.spec("steps=1"))
    await pod.until_final(told.supervisor)
    await webhooks.put("job-one", setting(receiver, allow_private=False))
    async with asyncio.timeout(10):
        while not (await webhooks.state("job-one")).error:
            await asyncio.sleep(0.02)

    assert "only https" in (await webhooks.state("job-one")).error
    assert receiver.paths == []


async def test_the_secret_is_in_memory_only(pod, receiver, tmp_path):
    agent = await pod.start_agent()
    async with pod.client() as client:
        spec = pod.spec("steps=40 delay=0.05 talk=1")
        await client.post("/training/start", json={"job": spec.model_dump(mode="json")})
        answer = await client.put(f"{JOB}/webhook", json=as_json(setting(receiver)))
        assert SECRET not in answer.text
        trainer = await pod.trainer_of(1)
        for pid in (agent.pid, trainer.shim_pid, trainer.trainer_pid):
            for name in ("cmdline", "environ"):
                assert SECRET.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
        for path in ("", "/webhook", "/webhooks", "/logs"):
            assert SECRET not in (await client.get(JOB + path)).text
        # A body that does not hold is told apart without repeating it.
        wrong = as_json(setting(receiver)) | {"tells_end": "perhaps", "target": {"url": 1}}
        refused = await client.put(f"{JOB}/webhook", json=wrong)
        assert (refused.status_code, SECRET in refused.text) == (422, False)
        async with asyncio.timeout(20):
            while not (await client.get(f"{JOB}/webhook")).json()["is_complete"]:
                await asyncio.sleep(0.05)
    for directory, _, names in os.walk(tmp_path):
        for name in names:
            path = Path(directory, name)
            if path.is_file():
                assert SECRET.encode() not in path.read_bytes(), path
