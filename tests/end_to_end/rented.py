"""Jobs on rented machines: the fake provider, whose pods are real, and a controller that hurries.

Everything but the provider and the trainer is real: the controller, SSH, the installation, the
agent, its limits, the store. One volume on which the agent is installed is made for each module and
copied for each test, since installing is not what most tests are about.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from agent.run_directory import AgentRoot
from shared.dataset.report import DatasetReport
from shared.events import Event, Metrics, decode_journal_records
from shared.forecast.arithmetic import forecast
from shared.forecast.forecast import Place, PlannedWork
from shared.job_spec import DatasetReference, JobSpec
from shared.lifecycle import JobStatus
from shared.machine_request import Candidate, MachineRequest, Stock
from shared.manifest import verify
from shared.rental import Machine, MachineState, RentalPhase
from shared.store.rentals import StoredRental
from shared.store.stored import StoredJob
from tests.fakes.runpod.server import FakeRunpod
from tests.tui.local_console import STAND_IN, document
from tui.config import Config
from tui.services.controller.controller import Controller, controlling
from tui.services.controller.machine_names import mark_prefix
from tui.services.controller.settings import ControllerSettings
from tui.services.dataset_check import CheckSettings, check_training_file
from tui.services.rented_jobs import cancel_rented_job, start_rented_job
from tui.services.session import Session, open_session

SHARED = ("code", "env", "trainer-env", "pip")
"""Parts of an installation that all jobs share."""
H100 = "NVIDIA H100 PCIe"
PRICE = 2.39

QUICK = ControllerSettings(
    tick_s=0.2,
    lease_s=4.0,
    absence_grace_s=1.0,
    deadline_factor=1.0,
    stock_retry_s=0.5,
    provider_pause_s=1.0,
    log_patience_s=1.0,
    contact_patience_s=2.0,
    unreachable_after_s=10.0,
    lost_after_s=20.0,
    cancel_patience_s=5.0,
    ending_alarm_s=2.0,
    heartbeat_s=1.0,
    silence_limit_s=60,
    idle_end_s=30.0,
    overtime_s=5.0,
    guard_poll_s=0.2,
    dead_man_tick_s=0.5,
)
"""The rules of the real one, with shorter waits."""


@dataclass
class Rented:
    """One user with an account at the fake provider."""

    fake: FakeRunpod
    config: Config
    dataset: Path
    template: Path
    """A volume on which the agent is installed."""

    def volume(self, data_center: str = "US-KS-2") -> str:
        """A new network volume with the agent on it."""
        made = self.fake.create_volume({"name": "data", "size": 100, "dataCenter": data_center})
        directory = self.fake.volume_directory(made["id"])
        if self.template.exists():
            # What an installation leaves is only read: no volume needs a copy of its own.
            (directory / "brightrun").mkdir()
            for part in (self.template / "brightrun").iterdir():
                if part.name in SHARED:
                    (directory / "brightrun" / part.name).symlink_to(part)
            subprocess.run(["chown", "-R", f"{self.fake.user}:", str(directory)], check=True)
        return str(made["id"])

    def base_of(self, volume_id: str, job_id: str) -> Path:
        """The job's own directory on a volume."""
        return self.fake.volume_directory(volume_id) / "brightrun" / "jobs" / job_id

    def request(self, **changes: Any) -> MachineRequest:
        """An H100 PCIe on a new volume, unless it says otherwise."""
        if "network_volume_id" not in changes:
            changes["network_volume_id"] = self.volume()
        values: dict[str, Any] = {
            "candidates": (self.candidate(),),
            "start_script": str(self.fake.start_script),
            "mount_path": str(self.fake.mount_path),
            "budget_usd": 50.0,
            **changes,
        }
        return MachineRequest(**values)

    def candidate(self, gpu_type: str = "H100_PCIE", **changes: Any) -> Candidate:
        """In the volume's data centre, at the catalogue's price, unless it says otherwise."""
        gpu_id = {"H100_PCIE": H100, "H100_SXM": "NVIDIA H100 80GB HBM3"}[gpu_type]
        values: dict[str, Any] = {
            "data_center": "US-KS-2",
            "usd_per_hour": self.price(gpu_id),
            "stock": Stock.HIGH,
            **changes,
        }
        return Candidate(gpu_type=gpu_type, **values)

    def price(self, gpu_id: str = H100) -> float:
        """By the catalogue, in the secure cloud."""
        return self.fake.catalogue.gpus[gpu_id].usd_per_hour("SECURE")

    def spec(self, job_id: str, notes: str, **changes: Any) -> JobSpec:
        """A job for the stand-in trainer, which reads the notes."""
        dataset = DatasetReference.of(self.dataset)
        return JobSpec(job_id=job_id, name=job_id, notes=notes, dataset=dataset, **changes)

    async def start(
        self, session: Session, job_id: str, notes: str, request: MachineRequest, **changes: Any
    ) -> StoredJob:
        """As `brightrun start` does, once all was checked; the trainer is the stand-in."""
        if self.fake.user is not None:
            places = [self.template] if self.template.exists() else []
            if request.network_volume_id in self.fake.volumes:
                places.append(self.fake.volume_directory(request.network_volume_id))
            for place in places:
                use_stand_in_trainer(self, place, job_id)
        spec = self.spec(job_id, notes, **changes)
        report = _clean_report(self.dataset)
        first = request.candidates[0]
        foreseen = forecast(
            PlannedWork(base_model="tiny", tokens_per_epoch=100, num_epochs=1, total_steps=1),
            Place(machine=first.gpu_type, is_rented=True, usd_per_hour=first.usd_per_hour),
        )
        job, _ = await start_rented_job(
            session, self.dataset, spec, report, request, foreseen=foreseen
        )
        return job

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        async with open_session(self.config) as session:
            yield session

    @asynccontextmanager
    async def controlled(
        self, settings: ControllerSettings = QUICK, **changes: Any
    ) -> AsyncIterator[tuple[Session, Controller]]:
        """A session whose rented jobs are driven."""
        settings = replace(settings, **changes)
        async with (
            self.session() as session,
            controlling(session, kind="console", settings=settings) as controller,
        ):
            yield session, controller


@contextmanager
def rented(directory: Path, fake: FakeRunpod, template: Path) -> Iterator[Rented]:
    """A user with a home of their own; the environment is theirs while inside."""
    home = directory / "home"
    home.mkdir(parents=True)
    dataset = directory / "train.json"
    dataset.write_text(json.dumps(document()))
    environment = {
        "RUNPOD_API_KEY": str(fake.api_key),
        "RUNPOD_API_BASE_URL": fake.url,
        "BRIGHTRUN_HOME": str(home),
        "BRIGHTRUN_AGENT_ROOT": str(directory / "agent"),
    }
    with mock.patch.dict(os.environ, environment):
        yield Rented(fake, Config(home, directory / "agent"), dataset, template)


async def until(
    what: Callable[[], Awaitable[bool]], timeout_s: float = 40.0, poll_s: float = 0.1
) -> None:
    """Wait for it, but not for ever."""
    async with asyncio.timeout(timeout_s):
        while not await what():
            await asyncio.sleep(poll_s)


async def until_phase(
    session: Session, job_id: str, *phases: RentalPhase, timeout_s: float = 40.0
) -> StoredRental:
    """Wait until the job is in one of the phases; the ledger says where it hangs, if it does."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                stored = await session.store.rentals.get(job_id)
                assert stored is not None
                if stored.rental.phase in phases:
                    return stored
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(await story(session, job_id)) from None


async def until_question(
    session: Session, job_id: str, phase: RentalPhase, timeout_s: float = 40.0
) -> StoredRental:
    """Wait until the job asks something in this phase."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                stored = await session.store.rentals.get(job_id)
                assert stored is not None
                if stored.rental.phase is phase and stored.rental.question:
                    return stored
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(await story(session, job_id)) from None


async def until_final(session: Session, job_id: str, timeout_s: float = 60.0) -> StoredJob:
    """The job at its end."""
    await until_phase(session, job_id, RentalPhase.DONE, timeout_s=timeout_s)
    return await session.store.get_job(job_id)


async def until_step(session: Session, job_id: str, step: int, timeout_s: float = 60.0) -> None:
    """Wait until the store has the metrics of this step."""

    async def is_there() -> bool:
        return (await session.store.get_job(job_id)).state.step >= step

    try:
        await until(is_there, timeout_s)
    except TimeoutError:
        raise AssertionError(await story(session, job_id)) from None


async def until_machine(
    session: Session, job_id: str, state: MachineState, *, number: int = 1, timeout_s: float = 40.0
) -> Machine:
    """Wait until the ledger says so of the job's machine of this number."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                for machine in await session.store.rentals.machines(job_id):
                    if (machine.number, machine.state) == (number, state):
                        return machine
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(await story(session, job_id)) from None


async def called_off(session: Session, job_id: str, timeout_s: float = 40.0) -> StoredJob:
    """The job at its end, after the user has cancelled it."""
    await cancel_rented_job(session, await session.store.get_job(job_id), "enough")
    return await until_final(session, job_id, timeout_s)


def events_on_volume(rented: Rented, volume_id: str, job_id: str, attempt: int = 1) -> list[Event]:
    """What the agent has written in the job's journal there, whoever has seen it."""
    base = rented.base_of(volume_id, job_id)
    journal = AgentRoot(base / "agent").job(job_id).attempt(attempt).journal_path
    return [record.event for record in decode_journal_records(journal.read_bytes())]


async def story(session: Session, job_id: str) -> str:
    """The ledger's last lines, for an assertion that fails."""
    stored = await session.store.rentals.get(job_id)
    last = (await session.store.rentals.ledger(job_id))[-40:]
    lines = [f"{entry.time:%H:%M:%S} {entry.message}" for entry in last]
    return "\n".join([f"{job_id}: {stored and stored.rental}", *lines])


async def check_invariants(
    rented: Rented, session: Session, *job_ids: str, budget_usd: float | None = None
) -> None:
    """I1 to I5 of the fault matrix, after whatever happened; I6 and I7 have tests of their own."""
    mark = await session.store.rentals.mark()
    for job_id in job_ids:
        job = await session.store.get_job(job_id)
        prefix = f"{mark_prefix(mark)}{job_id}-"
        machines = await session.store.rentals.machines(job_id)
        # I1: at most one at a time; I4: final here is final there.
        assert rented.fake.max_billing_at_once(prefix) <= 1
        if job.status.is_final:
            assert rented.fake.billing_now(prefix) == []
            assert {m.state for m in machines} <= {MachineState.GONE, MachineState.NEVER}
        # I2: never above the cap, but for one look.
        request = (await session.store.rentals.get(job_id)).request  # type: ignore[union-attr]
        assert rented.fake.billed_usd(prefix) <= (budget_usd or request.budget_usd)
        await _check_metrics(session, job_id)
        _check_adapter(rented, job)
    assert rented.fake.violations == []


async def _check_metrics(session: Session, job_id: str) -> None:
    """I3: within each attempt no gap, duplicate or disorder, and none between two of them."""
    records = await session.store.events(job_id)
    cursors = [(record.attempt, record.seq) for record in records]
    assert cursors == sorted(set(cursors))
    reached = 0
    for attempt in sorted({record.attempt for record in records}):
        mine = [record for record in records if record.attempt == attempt]
        steps = [record.event.step for record in mine if isinstance(record.event, Metrics)]
        if steps:
            assert steps == list(range(steps[0], steps[0] + len(steps)))
            assert steps[0] <= reached + 1
            reached = steps[-1]
        assert [record.seq for record in mine] == list(range(1, len(mine) + 1))


def _check_adapter(rented: Rented, job: StoredJob) -> None:
    """I5: what came home is what the manifest says."""
    path = rented.config.home / "adapters" / job.job_id
    if job.status is JobStatus.COMPLETED and path.exists():
        assert verify(path / "adapter")


def _clean_report(dataset: Path) -> DatasetReport:
    return check_training_file(dataset, CheckSettings("tiny"), None).report


async def make_template(user: Rented) -> None:
    """Have the agent installed by a first job, and keep its volume for all others."""
    volume = user.volume()
    async with user.controlled() as (session, _):
        await user.start(session, "first", "steps=1", user.request(network_volume_id=volume))
        job = await until_final(session, "first", timeout_s=240)
        assert job.status is JobStatus.COMPLETED, await story(session, "first")
    keep_as_template(user, volume)


def keep_as_template(rented: Rented, volume_id: str) -> None:
    """Use what is on this volume for the next ones; jobs are left out."""
    source = rented.fake.volume_directory(volume_id)
    shutil.rmtree(rented.template, ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(rented.template)], check=True)
    shutil.rmtree(rented.template / "brightrun" / "jobs")


def use_stand_in_trainer(rented: Rented, directory: Path, job_id: str) -> None:
    """The job runs the stand-in, as an environment of the user's own would."""
    base = directory / "brightrun"
    seen_base = rented.fake.mount_path / "brightrun"
    root = base / "jobs" / job_id / "agent"
    root.mkdir(parents=True, exist_ok=True)
    shutil.copy(STAND_IN, base / "stand_in_trainer.py")
    # The environment is made later: whichever there is then.
    find = f'exec $(ls {seen_base}/env/*/bin/python) -P {seen_base}/stand_in_trainer.py "$1"'
    if not (root / "trainer.json").exists():
        command = ["/bin/sh", "-c", find, "sh"]
        (root / "trainer.json").write_text(json.dumps({"command": command}))
    subprocess.run(["chown", "-R", f"{rented.fake.user}:", str(base)], check=True)
