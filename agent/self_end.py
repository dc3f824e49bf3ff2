"""Ends the pod from within: with the pod's own key, when its work is done and nobody asks for it.

Also touches the heartbeat, without which the dead-man of `shared.pod_start` ends the pod; so that
acts only where both this agent and the console are silent. When to end is decided by a pure
function; the provider is spoken to by a small client that knows three requests.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.fence import MachineMark
from agent.limits import Usage
from agent.presence import Presence
from agent.run_directory import AgentRoot
from agent.supervisor import Supervisor
from shared.agent_protocol import SelfEndAnswer
from shared.clean_text import clean_line
from shared.events import utc_now
from shared.job_state import JobState
from shared.lifecycle import StopReason
from shared.manifest import write_atomic
from shared.pod_start import HEARTBEAT_FILE, POD_FILE

logger = logging.getLogger(__name__)

LIMIT_WAIT_S = 60.0
"""After a limit has stopped the training, so long for a console that is just asking."""
KEEP_RESULTS_S = 6 * 3600.0
"""Beyond the deadline, for results that would go with the machine; the budget may end it before."""
_REQUEST_TIMEOUT_S = 30.0
_LONGEST_DETAIL = 200

How = Literal["terminate", "stop", ""]


class PodIdentity(BaseModel):
    """`pod.json`: what the start command found in the pod's environment."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pod_id: str = Field(min_length=1)
    api_key: str = Field(min_length=1, repr=False)
    api: str


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of one try; an accepted one is no proof."""

    how: How
    """"" where everything was refused."""
    detail: str


@dataclass(frozen=True, slots=True)
class Guarded:
    """One job that this machine was rented for."""

    state: JobState
    usage: Usage
    needs_another_machine: bool = False
    """The hardware of this one has failed: here the job never goes on."""

    @property
    def is_over(self) -> bool:
        """True if nothing of it will run here any more."""
        return self.state.status.is_final or self.needs_another_machine


def why_end(jobs: Sequence[Guarded], idle_s: float) -> str:
    """Why the pod is to end now; "" while it has to stay.

    `idle_s` is the time since anybody with the token last asked for something; 0 while one does.
    """
    if not jobs or not all(job.is_over for job in jobs):
        return ""
    reasons = [_why_over(job, idle_s) for job in jobs]
    return "" if "" in reasons else reasons[-1]


def _why_over(job: Guarded, idle_s: float) -> str:
    limits, spent_usd = job.usage.limits, job.usage.spent_usd
    if spent_usd >= limits.budget_usd:
        return f"the budget of {limits.budget_usd:.2f} USD is used up to the end"
    if job.usage.elapsed_s >= limits.deadline_s + KEEP_RESULTS_S:
        return f"the deadline is over since {KEEP_RESULTS_S / 3600:.0f} h"
    if job.needs_another_machine:
        if idle_s < limits.idle_end_s:
            return ""
        return f"its hardware has failed, and nobody has asked for {idle_s:.0f} s"
    if not limits.results_survive and _has_results(job.state):
        return ""
    wait_s = limits.idle_end_s
    if job.state.stop_reason in (StopReason.BUDGET_EXHAUSTED, StopReason.DEADLINE_REACHED):
        wait_s = min(wait_s, LIMIT_WAIT_S)
    if idle_s < wait_s:
        return ""
    return f"the job has ended ({job.state.stop_reason}) and nobody has asked for {idle_s:.0f} s"


def _has_results(state: JobState) -> bool:
    return state.adapter_path is not None or state.last_checkpoint_step is not None


class PodClient:
    """The provider, as far as one pod may speak to it about itself."""

    def __init__(self, pod: PodIdentity) -> None:
        self._pod = pod

    async def end(self) -> Ended:
        """Terminate the pod; stop it where that is refused."""
        path = f"/v2/pods/{self._pod.pod_id}"
        status, told = await self._ask("DELETE", path)
        if status in range(200, 300) or status == 404:
            return Ended("terminate", f"accepted ({status})")
        stopped, also_told = await self._ask("POST", f"{path}/action", {"action": "stop"})
        refusal = f"terminate was refused ({told})"
        if stopped in range(200, 300):
            return Ended("stop", f"{refusal}; stop was accepted ({stopped})")
        return Ended("", f"{refusal}; stop was refused ({also_told})")

    async def probe(self) -> SelfEndAnswer:
        """Whether the pod's key may end it, found out without ending it.

        A running pod cannot be started: a key that may act on it is told so (409), one that may
        not is refused (401, 403). That it may also be terminated shows only when it is; stopping
        is as much as this proves. Unverified on hardware.
        """
        path = f"/v2/pods/{self._pod.pod_id}/action"
        status, told = await self._ask("POST", path, {"action": "start"})
        if status == 409:
            return SelfEndAnswer(
                can_end=True,
                how="stop",
                detail="The pod's key may act on the pod; whether it may terminate it, and not "
                "only stop it, shows at the end.",
            )
        if status in (401, 403):
            detail = f"The pod's own key may not act on the pod ({told})."
        else:
            detail = f"Whether the pod can end itself could not be found out ({told})."
        return SelfEndAnswer(can_end=False, how="", detail=detail)

    async def _ask(
        self, method: str, path: str, body: dict[str, str] | None = None
    ) -> tuple[int | None, str]:
        """The status, None where there was no answer, and what to tell of it."""
        headers = {"Authorization": f"Bearer {self._pod.api_key}"}
        try:
            async with httpx.AsyncClient(timeout=_REQUEST_TIMEOUT_S, headers=headers) as client:
                response = await client.request(method, self._pod.api + path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return None, clean_line(str(error) or type(error).__name__)[:_LONGEST_DETAIL]
        return response.status_code, str(response.status_code)


def read_pod(mark: MachineMark | None) -> PodClient | None:
    """The client of this pod; None where there is no identity to end it with."""
    if mark is None:
        return None
    try:
        content = (mark.run_directory / POD_FILE).read_bytes()
        return PodClient(PodIdentity.model_validate_json(content))
    except (OSError, ValidationError):
        return None


@dataclass(frozen=True, slots=True)
class SelfEndSettings:
    """Pauses of the watch."""

    look_s: float = 5.0
    """Between two heartbeats, and between two looks at the jobs."""
    retry_s: float = 30.0
    """Between two tries to end the pod."""


class SelfEnd:
    """Watches the jobs of a rented machine, and ends the machine after them."""

    def __init__(
        self,
        supervisor: Supervisor,
        pod: PodClient | None,
        presence: Presence,
        settings: SelfEndSettings | None = None,
    ) -> None:
        self._supervisor = supervisor
        self._pod = pod
        self._presence = presence
        self._settings = settings or SelfEndSettings()

    async def run(self) -> None:
        """Until cancelled, or until another machine has taken over."""
        mark = self._supervisor.fence.mark
        if mark is None:
            return
        while not self._supervisor.replaced.is_set():
            jobs = self.guarded()
            if jobs:
                # While there is nothing to guard, the console alone keeps the pod.
                await asyncio.to_thread(_touch, mark.run_directory / HEARTBEAT_FILE)
            if why := why_end(jobs, self._presence.idle_s):
                await self._end(mark, why)
            else:
                await asyncio.sleep(self._settings.look_s)

    def guarded(self) -> list[Guarded]:
        """The jobs that somebody has started on this machine."""
        rental = self._supervisor.fence.rental
        found = []
        for job_id, job in self._supervisor.jobs.items():
            usage = self._supervisor.meters[job_id].usage
            if usage is not None and usage.limits.rental >= rental:
                needs_another = self._supervisor.needs_another_machine(job)
                found.append(Guarded(job.state, usage, needs_another))
        return found

    async def _end(self, mark: MachineMark, why: str) -> None:
        """Try once, and write down before and after what was done."""
        record = _Recorder(self._supervisor.root, mark.rental, why)
        await asyncio.to_thread(record.write, None)
        logger.warning("this machine ends itself: %s", why)
        if self._pod is None:
            ended = Ended("", "there is no key to end it with")
        else:
            ended = await self._pod.end()
        logger.warning("%s: %s", ended.how or "not ended", ended.detail)
        await asyncio.to_thread(record.write, ended)
        await asyncio.sleep(self._settings.retry_s)


class _Recorder:
    """Writes `machine-end.json`, for whoever looks at the volume afterwards."""

    def __init__(self, root: AgentRoot, rental: int, why: str) -> None:
        self._path = root.machine_end_path
        self._facts = {"rental": rental, "why": why, "at": utc_now().isoformat()}

    def write(self, ended: Ended | None) -> None:
        how, detail = ("", "being tried") if ended is None else (ended.how, ended.detail)
        try:
            write_atomic(self._path, json.dumps({**self._facts, "how": how, "detail": detail}))
        except OSError as error:
            # The machine has to end all the same.
            logger.warning("%s: %s", self._path, error)


def _touch(path: Path) -> None:
    try:
        path.touch()
    except OSError as error:
        logger.warning("%s: the heartbeat cannot be touched: %s", path, error)
