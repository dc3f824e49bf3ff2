from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from agent.limits import Usage
from agent.presence import Presence
from agent.self_end import Guarded, PodClient, PodIdentity, SelfEnd, SelfEndSettings, why_end
from agent.self_end import read_pod as read_pod_client
from shared.agent_protocol import SelfEndAnswer
from shared.job_state import JobState
from shared.lifecycle import STOP_REASONS, StopReason


@pytest.fixture
def guarded(limits):
    """A job of this machine, `elapsed_s` after its limits came in."""

    def made(reason: str | None = "completed", elapsed_s=0.0, state=None, **changes):
        usage = Usage(limits=limits(**changes), elapsed_s=elapsed_s, uptime_s=0.0, boot_id="boot")
        values = dict(state or {})
        if reason is not None:
            stop_reason = StopReason(reason)
            values |= {"stop_reason": stop_reason, "status": STOP_REASONS[stop_reason].status}
        return Guarded(JobState(**values), usage)

    return made


HOURS = 3600.0
SAVED = {"last_checkpoint_step": 4}
ADAPTER = {"adapter_path": "adapter"}
LOST_WITH_THE_MACHINE = {"results_survive": False}

CASES = {
    "a job that runs": ({"reason": None}, 1e6, False),
    "ended, and somebody asked a moment ago": ({}, 599, False),
    "ended, and nobody asks": ({}, 600, True),
    "cancelled, and nobody asks": ({"reason": "cancelled"}, 600, True),
    "budget used up, a console is asking": ({"reason": "budget_exhausted"}, 0, False),
    "budget used up, nobody asks": ({"reason": "budget_exhausted"}, 60, True),
    "deadline reached, nobody asks": ({"reason": "deadline_reached"}, 60, True),
    "results that go with the machine": (LOST_WITH_THE_MACHINE | {"state": ADAPTER}, 1e6, False),
    "a checkpoint that goes with the machine": (
        LOST_WITH_THE_MACHINE | {"state": SAVED, "reason": "budget_exhausted"},
        1e6,
        False,
    ),
    "nothing to lose": (LOST_WITH_THE_MACHINE | {"reason": "invalid_dataset"}, 600, True),
    "results that go with it, the reserve used up": (
        LOST_WITH_THE_MACHINE | {"state": ADAPTER, "elapsed_s": 24.5 * HOURS, "deadline_s": 1e6},
        0,
        True,
    ),
    "results that go with it, long after the deadline": (
        LOST_WITH_THE_MACHINE | {"state": ADAPTER, "elapsed_s": 7 * HOURS},
        0,
        True,
    ),
}


@pytest.mark.parametrize(("job", "idle_s", "ends"), CASES.values(), ids=CASES)
def test_when_a_machine_ends_itself(guarded, job, idle_s, ends):
    assert bool(why_end([guarded(**job)], idle_s)) is ends


def test_a_machine_whose_hardware_failed_ends_itself_once_nobody_asks(guarded):
    job = replace(guarded(reason=None, state=SAVED), needs_another_machine=True)
    assert why_end([job], 599) == ""
    assert "hardware" in why_end([job], 600)


def test_one_job_that_has_to_stay_keeps_the_machine_for_all(guarded):
    assert why_end([guarded(), guarded(reason=None)], 1e6) == ""
    assert why_end([], 1e6) == ""


def client_of(api):
    return PodClient(PodIdentity(pod_id="pod1", api_key="rpa_canary", api=api.url))


async def test_it_terminates_with_the_pods_own_key(pod_api):
    ended = await client_of(pod_api).end()
    assert (ended.how, ended.detail) == ("terminate", "accepted (204)")
    assert pod_api.requests == [("DELETE", "/v2/pods/pod1", "Bearer rpa_canary", b"")]


async def test_where_that_is_refused_it_stops_and_says_which(pod_api):
    pod_api.answers["DELETE"] = 403
    ended = await client_of(pod_api).end()
    assert ended.how == "stop"
    assert ended.detail == "terminate was refused (403); stop was accepted (200)"
    assert pod_api.asked[1] == 'POST /v2/pods/pod1/action {"action":"stop"}'


async def test_where_everything_is_refused_or_nobody_answers_it_says_so(pod_api):
    pod_api.answers = {"DELETE": 401, "POST": 401}
    assert (await client_of(pod_api).end()).how == ""
    nobody = PodClient(PodIdentity(pod_id="p", api_key="rpa_canary", api="http://127.0.0.1:9"))
    ended = await nobody.end()
    assert ended.how == ""
    assert "terminate was refused (All connection attempts failed)" in ended.detail


@pytest.mark.parametrize(
    ("status", "can_end", "how"), [(409, True, "stop"), (403, False, ""), (500, False, "")]
)
async def test_the_probe_asks_for_what_a_running_pod_cannot_do(pod_api, status, can_end, how):
    pod_api.answers["POST"] = status
    answer = await client_of(pod_api).probe()
    assert (answer.can_end, answer.how) == (can_end, how)
    assert pod_api.asked == ['POST /v2/pods/pod1/action {"action":"start"}']


async def test_the_agent_answers_whether_its_machine_can_end_itself(pod, pod_api):
    pod_api.answers["POST"] = 409
    pod.rent(1, pod_api.url)
    await pod.start_agent()
    async with pod.client() as client:
        response = await client.get("/machine/self-end")
    assert SelfEndAnswer.model_validate(response.json()).can_end
    assert "canary" not in response.text


async def test_a_machine_that_is_not_rented_cannot(pod):
    await pod.start_agent()
    async with pod.client() as client:
        answer = (await client.get("/machine/self-end")).json()
    assert (answer["can_end"], answer["how"]) == (False, "")


async def watching(pod, supervisor):
    settings = SelfEndSettings(look_s=0.02, retry_s=0.05)
    pod_client = read_pod_client(supervisor.fence.mark)
    return asyncio.create_task(SelfEnd(supervisor, pod_client, Presence(), settings).run())


async def test_after_its_work_the_machine_ends_itself_and_writes_down_how(pod, limits, pod_api):
    run_directory = pod.rent(1, pod_api.url)
    supervisor = await pod.supervisor()
    watch = await watching(pod, supervisor)
    try:
        await asyncio.sleep(0.1)
        assert not (run_directory / "heartbeat").exists()
        await supervisor.start(pod.spec("steps=20 delay=0.05"), limits=limits(idle_end_s=0.3))
        await pod.until((run_directory / "heartbeat").exists)
        (run_directory / "heartbeat").unlink()
        await pod.until((run_directory / "heartbeat").exists)
        assert pod_api.requests == []
        await pod.until_final(supervisor)
        # One that was accepted is tried again for as long as we live to do so.
        await pod.until(lambda: len(pod_api.requests) >= 2)
        told = json.loads(pod.root.machine_end_path.read_bytes())
        assert (told["rental"], told["how"]) in {(1, "terminate"), (1, "")}
        assert told["why"].startswith("the job has ended (completed) and nobody has asked for")
    finally:
        watch.cancel()


async def test_a_job_of_an_earlier_machine_gives_no_heartbeat_before_it_is_asked_for(
    pod, limits, pod_api
):
    pod.rent(1, pod_api.url)
    first = await pod.supervisor()
    await first.start(pod.spec(), limits=limits(1, idle_end_s=0.01))
    await pod.until_final(first)
    await pod.close(first)
    run_directory = pod.rent(2, pod_api.url)
    second = await pod.supervisor()
    watch = await watching(pod, second)
    await asyncio.sleep(0.2)
    watch.cancel()
    assert not (run_directory / "heartbeat").exists()
    assert pod_api.requests == []


async def test_the_key_stands_in_nothing_that_is_shown():
    pod = PodIdentity(pod_id="pod1", api_key="rpa_canary", api="https://api.runpod.io")
    assert "canary" not in repr(pod)
