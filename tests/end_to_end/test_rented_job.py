"""A job on a rented machine, from the intent to the proof that nothing is paid for any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.events import Resumed
from shared.forecast.forecast import PartName
from shared.lifecycle import JobStatus
from shared.manifest import verify
from shared.rental import RentalPhase
from tests.end_to_end.rented import (
    H100,
    PRICE,
    Rented,
    check_invariants,
    until,
    until_final,
    until_question,
    until_step,
)
from tests.remote.remote_box import needs_a_box
from tui.services.controller.fleet import our_machines
from tui.services.controller.rescue import rescue
from tui.services.forecasting import past_of
from tui.services.kept_logs import kept_log
from tui.services.model_files import local_copies
from tui.services.rented_jobs import MOVE, answer_question
from tui.services.session import Session

pytestmark = needs_a_box


async def test_a_job_gets_a_machine_trains_comes_home_and_nothing_is_left(user: Rented) -> None:
    async with user.controlled() as (session, _):
        await user.start(session, "job-one", "steps=6 delay=0.1 talk=1", user.request())

        job = await until_final(session, "job-one")

        assert (job.status, job.state.step) == (JobStatus.COMPLETED, 6)
        assert (user.config.home / "adapters" / "job-one").is_dir()
        assert "took step 6" in kept_log(user.config.home, "job-one", None, last_lines=3)
        await check_forecast(session, "job-one")
        await check_version(session, "job-one")
        await check_invariants(user, session, "job-one")


async def check_forecast(session: Session, job_id: str) -> None:
    """What the job took stands beside what was foreseen, all of what was paid for in its parts."""

    async def is_settled() -> bool:
        kept = await session.store.forecasts.get(job_id)
        return kept is not None and kept.actual is not None

    await until(is_settled)
    found = await session.store.forecasts.get(job_id)
    assert found is not None and found.actual is not None
    actual = found.actual
    assert actual.corrects and actual.machine == found.forecast.place.machine
    told = {PartName.MACHINE, PartName.INSTALL, PartName.TRAINING, PartName.HOME}
    assert told <= set(actual.seconds)
    assert actual.cost_usd == pytest.approx(actual.total_s / 3600 * PRICE)
    # Looks at the provider come every now and then, and the parts begin and end with them.
    assert sum(actual.seconds.values()) == pytest.approx(actual.total_s, abs=3)
    assert (await past_of(session.store, "tiny")).jobs[0].job_id == job_id


async def check_version(session: Session, job_id: str) -> None:
    """It is a version of a model before anybody has looked, with what the machine cost."""

    async def is_there() -> bool:
        return bool(await session.store.models.of_job(job_id))

    await until(is_there)
    (version,) = await session.store.models.of_job(job_id)
    assert version.facts.steps == 6 and version.facts.cost_usd
    adapter = session.config.home / "adapters" / job_id
    assert local_copies(session.config, version) == [adapter]


async def test_a_machine_lost_in_mid_run_is_replaced_and_the_job_resumes(user: Rented) -> None:
    async with user.controlled() as (session, _):
        await user.start(session, "job-two", "steps=30 delay=0.2", user.request())
        await until_step(session, "job-two", 5)
        (pod,) = user.fake.pods

        user.fake.lose_pod(pod.id, "exited")
        job = await until_final(session, "job-two")

        assert (job.status, job.state.step) == (JobStatus.COMPLETED, 30)
        assert job.state.attempt == 2
        stored = await session.store.rentals.get("job-two")
        assert stored is not None and stored.rental.interruptions == 1
        await check_invariants(user, session, "job-two")


@pytest.mark.slow
async def test_an_adapter_that_nobody_fetched_is_brought_home_from_its_volume(
    user: Rented, tmp_path: Path
) -> None:
    async with user.controlled() as (session, _):
        await user.start(session, "job-far", "steps=4", user.request())
        job = await until_final(session, "job-far")
        steps: list[str] = []

        provider = session.provider()
        home = await rescue(session, provider, job, tmp_path, steps.append, poll_s=0.2)

        assert verify(home / "adapter") == verify(user.config.home / "adapters/job-far/adapter")
        assert [machine.name for machine in await our_machines(session, provider)] == []
        await check_invariants(user, session, "job-far")


@pytest.mark.slow
async def test_a_job_moves_by_consent_where_its_volume_has_no_machine_any_more(
    user: Rented,
) -> None:
    user.fake.settings.image_workspace = str(user.template)
    async with user.controlled() as (session, _):
        await user.start(session, "job-moved", "steps=40 delay=0.2", user.request())
        await until_step(session, "job-moved", 8)
        (pod,) = user.fake.pods
        user.fake.catalogue.set_stock(-9, H100, "US-KS-2")  # the lost one comes back to it
        user.fake.lose_pod(pod.id, "gone")
        job = await session.store.get_job("job-moved")
        stored = await until_question(session, "job-moved", RentalPhase.WAITING)
        assert "the volume" in stored.rental.question and user.fake.pods == []

        await answer_question(session, job, MOVE)
        job = await until_final(session, "job-moved", timeout_s=90)

        assert (job.status, job.state.step) == (JobStatus.COMPLETED, 40)
        resumed = await session.store.events_of("job-moved", Resumed)
        assert [event.step for event in resumed][-1] >= 6
        await check_invariants(user, session, "job-moved")
