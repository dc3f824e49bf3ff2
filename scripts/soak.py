#!/usr/bin/env python3
"""Many jobs on rented machines, and at random moments everything that can go wrong.

    scripts/soak.py --seed N --minutes M

Real: the controller (a process that is killed and stopped), SSH, agents, trainers (the stand-in),
the store. The provider is the tests' fake, whose machines are real processes; no GPU and no money
is needed, but root and sshd are. After the last fault every job must come to an end, and then the
invariants are checked: at most one machine a job, none after the end, nothing over the budget, no
metric lost or doubled, adapters whose bytes hash to their manifests. Exit 1 where one fails.

The same seed draws the same faults in the same order; what they meet is a matter of timing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from shared.events import utc_now  # noqa: E402
from shared.lifecycle import JobStatus  # noqa: E402
from shared.machine_request import AfterInterruptions  # noqa: E402
from shared.rental import RentalPhase  # noqa: E402
from tests.end_to_end import controller_process  # noqa: E402
from tests.end_to_end.rented import (  # noqa: E402
    Rented,
    check_invariants,
    make_template,
    rented,
    story,
)
from tests.fakes.runpod.pod import Pod  # noqa: E402
from tests.fakes.runpod.server import FakeRunpod, fake_runpod  # noqa: E402
from tui.services.jobs import cancel_job  # noqa: E402
from tui.services.rented_jobs import GO_ON, answer_question  # noqa: E402
from tui.services.session import Session  # noqa: E402

AT_ONCE = 3
SETTLING_S = 240.0
DEADLINE_FACTOR = 0.1
"""Of each phase, so that a machine without sshd is given up within a minute, well inside of it."""
GPU = "NVIDIA H100 PCIe"

Injection = Callable[["Soak"], Awaitable[str]]


class Soak:
    """One run: the user, their jobs, the controller, and what befell them."""

    def __init__(self, user: Rented, session: Session, seed: int, mean_s: float) -> None:
        self.user = user
        self.session = session
        self.random = random.Random(seed)
        self.mean_s = mean_s
        self.jobs: list[str] = []
        self.befell: Counter[str] = Counter()
        self._controller: subprocess.Popen[bytes] | None = None
        self._log = (user.config.home / "controller.log").open("ab")

    @property
    def fake(self) -> FakeRunpod:
        return self.user.fake

    def start_controller(self) -> None:
        """Unless it runs."""
        if self._controller is None or self._controller.poll() is not None:
            self._controller = subprocess.Popen(
                controller_process.start(deadline_factor=DEADLINE_FACTOR),
                cwd=ROOT,
                stdout=self._log,
                stderr=self._log,
            )

    def signal_controller(self, number: signal.Signals) -> None:
        """To the process that this made."""
        assert self._controller is not None
        if self._controller.poll() is None:
            self._controller.send_signal(number)

    def stop_controller(self) -> None:
        """In good order, or by force."""
        self.signal_controller(signal.SIGCONT)
        self.signal_controller(signal.SIGTERM)
        assert self._controller is not None
        try:
            self._controller.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._controller.kill()
            self._controller.wait()

    async def run(self, seconds: float) -> None:
        """Faults until the time is up, then peace until every job has ended."""
        self.start_controller()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await self._keep_jobs_coming()
            await asyncio.sleep(self.random.expovariate(1 / self.mean_s))
            injection = self.random.choice(INJECTIONS)
            what = await injection(self)
            self.befell[what] += 1
            self.start_controller()
            await self._answer_questions()
        self.fake.faults.clear()
        self.fake.restore_key()
        self.fake.catalogue.set_stock(20, GPU)
        self.signal_controller(signal.SIGCONT)
        await self._settle()

    async def open_jobs(self) -> list[str]:
        """Those that are not done."""
        return [stored.job_id for stored in await self.session.store.rentals.open_ones()]

    async def one_pod(self) -> Pod | None:
        """Any that lives."""
        pods = sorted(self.fake.pods, key=lambda pod: pod.name)
        return self.random.choice(pods) if pods else None

    async def _keep_jobs_coming(self) -> None:
        while len(await self.open_jobs()) < AT_ONCE:
            job_id = f"soak-{len(self.jobs) + 1:03d}"
            steps, delay_s = self.random.randint(5, 60), self.random.uniform(0.05, 0.3)
            request = self.user.request(
                after_interruptions=self.random.choice(list(AfterInterruptions)),
                max_interruptions=self.random.choice((1, 3, 5)),
                wait_for_stock_hours=0.05,
            )
            notes = f"steps={steps} delay={delay_s:.2f}"
            await self.user.start(self.session, job_id, notes, request)
            self.jobs.append(job_id)

    async def _answer_questions(self) -> None:
        for stored in await self.session.store.rentals.open_ones():
            if stored.rental.question and not stored.answer:
                job = await self.session.store.get_job(stored.job_id)
                await answer_question(self.session, job, GO_ON)

    async def _settle(self) -> None:
        until = time.monotonic() + SETTLING_S
        while await self.open_jobs():
            if time.monotonic() > until:
                left = [await story(self.session, job_id) for job_id in await self.open_jobs()]
                raise AssertionError("these do not come to an end:\n" + "\n\n".join(left))
            self.start_controller()
            await self._answer_questions()
            await asyncio.sleep(0.5)


async def _kill_controller(soak: Soak) -> str:
    soak.signal_controller(signal.SIGKILL)
    await asyncio.sleep(soak.random.choice((0.0, 0.5, 3.0)))
    return "controller killed"


async def _stop_controller(soak: Soak) -> str:
    soak.signal_controller(signal.SIGSTOP)
    await asyncio.sleep(soak.random.uniform(1.0, 6.0))
    soak.signal_controller(signal.SIGCONT)
    return "controller stopped for a while"


async def _second_controller(soak: Soak) -> str:
    other = subprocess.Popen(
        controller_process.start(deadline_factor=DEADLINE_FACTOR),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    await asyncio.sleep(soak.random.uniform(2.0, 6.0))
    other.kill()
    await asyncio.to_thread(other.wait)
    return "a second controller"


async def _lose_machine(soak: Soak) -> str:
    pod = await soak.one_pod()
    how = soak.random.choice(("exited", "error", "gone"))
    if pod is not None:
        await asyncio.to_thread(soak.fake.lose_pod, pod.id, how)
    return f"machine lost: {how}"


async def _restart_container(soak: Soak) -> str:
    pod = await soak.one_pod()
    if pod is not None and pod.status == "RUNNING":
        await asyncio.to_thread(soak.fake.restart_container, pod.id)
    return "container restarted"


async def _kill_processes(soak: Soak) -> str:
    pod = await soak.one_pod()
    pids = soak.fake.pod_pids(pod.id)[1:] if pod is not None else []
    for pid in pids:
        if soak.random.random() < 0.5:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    return "processes of a machine killed"


async def _api_errors(soak: Soak) -> str:
    status = soak.random.choice((429, 500, 502, 503))
    times = soak.random.randint(1, 8)
    retry_after_s = 1 if status == 429 else None
    soak.fake.faults.add(status=status, times=times, retry_after_s=retry_after_s)
    return f"provider answers {status}"


async def _ambiguous_create(soak: Soak) -> str:
    ways: tuple[dict[str, Any], ...] = ({"status": 500}, {"reset": True})
    how = soak.random.choice(ways)
    soak.fake.faults.add(method="POST", path="/v2/pods$", after_doing=True, **how)
    return "create does it and fails"


async def _lying_end(soak: Soak) -> str:
    soak.fake.faults.add(method="DELETE", path="/v2/pods/", times=3, status=204)
    return "terminate says ok, and the machine lives"


async def _omitted(soak: Soak) -> str:
    soak.fake.faults.add(method="GET", path="/v2/pods$", times=1, omit=".*")
    return "the list omits every machine once"


async def _other_machine(soak: Soak) -> str:
    ways: tuple[dict[str, Any], ...] = (
        {"gpu_name": "NVIDIA A40"},
        {"gpu_count": 0},
        {"memory_mib": 40960},
        {"cuda_version": "12.1"},
        {"price_factor": 1.5},
    )
    differs = soak.random.choice(ways)
    soak.fake.next_machine(**differs)
    return f"a machine with another {next(iter(differs))}"


async def _no_stock(soak: Soak) -> str:
    soak.fake.catalogue.set_stock(0, GPU)
    await asyncio.sleep(soak.random.uniform(1.0, 4.0))
    soak.fake.catalogue.set_stock(20, GPU)
    return "no stock for a while"


async def _revoked_key(soak: Soak) -> str:
    soak.fake.revoke_key()
    await asyncio.sleep(soak.random.uniform(0.5, 4.0))
    soak.fake.restore_key()
    return "key refused for a while"


async def _cancel(soak: Soak) -> str:
    jobs = await soak.open_jobs()
    if jobs and soak.random.random() < 0.3:
        job = await soak.session.store.get_job(soak.random.choice(jobs))
        await cancel_job(soak.session, job, "the user thought better of it")
        return "job cancelled"
    return "nothing"


INJECTIONS: tuple[Injection, ...] = (
    _kill_controller,
    _stop_controller,
    _second_controller,
    _lose_machine,
    _lose_machine,
    _restart_container,
    _kill_processes,
    _api_errors,
    _ambiguous_create,
    _lying_end,
    _omitted,
    _other_machine,
    _no_stock,
    _revoked_key,
    _cancel,
)


async def soak(user: Rented, seed: int, minutes: float, mean_s: float) -> None:
    """One run, and its report.

    Raises:
        AssertionError: an invariant does not hold, or a job does not end.
    """
    async with user.session() as session:
        run = Soak(user, session, seed, mean_s)
        began = utc_now()
        try:
            await run.run(60 * minutes)
        finally:
            run.stop_controller()
        for job_id in run.jobs:
            await check_invariants(user, session, job_id)
        await _report(run, (utc_now() - began).total_seconds())


async def _report(run: Soak, seconds: float) -> None:
    outcomes: Counter[str] = Counter()
    interruptions = machines = attempts = 0
    for job_id in run.jobs:
        job = await run.session.store.get_job(job_id)
        stored = await run.session.store.rentals.get(job_id)
        assert stored is not None and stored.rental.phase is RentalPhase.DONE
        reason = "" if job.status is JobStatus.COMPLETED else f" ({job.state.stop_reason})"
        outcomes[job.status.value + reason] += 1
        interruptions += stored.rental.interruptions
        machines += len(await run.session.store.rentals.machines(job_id))
        attempts += job.state.attempt
    print(f"{seconds:.0f} s, {len(run.jobs)} jobs, {machines} machines asked for, ", end="")
    print(f"{attempts} attempts, {interruptions} interruptions.")
    print("\nEnds:")
    for what, count in outcomes.most_common():
        print(f"{count:5d}  {what}")
    print(f"\nFaults: {sum(run.befell.values())}")
    for what, count in sorted(run.befell.items()):
        print(f"{count:5d}  {what}")
    print("\nThe invariants I1 to I5 hold for every job.")


def main() -> int:
    """As the module says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--mean-s", type=float, default=3.0, help="between two faults")
    asked = parser.parse_args()
    print(f"seed {asked.seed}, {asked.minutes:g} min, a fault every {asked.mean_s:g} s on average")
    with tempfile.TemporaryDirectory(prefix="soak-") as made:
        directory = Path(made)
        directory.chmod(0o755)
        with fake_runpod(directory=directory / "fake", seed=asked.seed) as fake:
            template = directory / "template"
            with rented(directory / "first", fake, template) as user:
                asyncio.run(make_template(user))
            with rented(directory / "user", fake, template) as user:
                try:
                    asyncio.run(soak(user, asked.seed, asked.minutes, asked.mean_s))
                except AssertionError as error:
                    print(f"\nFAILED: {error}\n\nThe controller's log:")
                    print((user.config.home / "controller.log").read_text()[-20_000:])
                    return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
