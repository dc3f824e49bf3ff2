"""Versions are made where jobs end, keep their lineage, and move by the rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from shared.deployment import DeploymentStatus
from shared.errors import InvalidInput
from shared.lifecycle import StopReason
from shared.model_version import version_id
from shared.store.store import Store
from shared.web_id import web_job_id
from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.sweeps import add_sweep
from tests.tui.versions import BEGIN, add_completed
from tui.config import load_config
from tui.services.job_end import settle_end
from tui.services.kept_versions import keep_version
from tui.services.models import find_version, move_version, name_version, sync_versions
from tui.services.session import Session, open_session
from tui.services.who import who_acts

TESTING = DeploymentStatus.TESTING


@pytest.fixture
async def session(home: Path, store: Store) -> AsyncIterator[Session]:
    async with open_session(load_config()) as opened:
        yield opened


async def references(store: Store) -> dict[str, str]:
    return {each.job_id: each.reference for each in await store.models.all()}


async def test_a_completed_job_makes_one_version_with_what_it_was(store: Store) -> None:
    await add_completed(store, "job-1", "Elena, v4", lora_r=32)

    version = await keep_version(store, "job-1")
    await settle_end(store, "job-1")

    assert version is not None
    assert await store.models.all() == [version]
    assert version.reference == "elena-v4:1"
    assert version.version_id == version_id(web_job_id(await store.rentals.mark(), "job-1"), 1)
    facts = version.facts
    assert (facts.job_name, facts.dataset_name, facts.host) == ("Elena, v4", "train.json", "local")
    assert facts.settings["lora_r"] == "32" and facts.lora_config["lora_r"] == 32
    assert facts.steps == 40 and facts.size_bytes == 414_200_000
    assert facts.loss is not None and facts.eval_loss is not None
    assert facts.eval_loss_before == 2.1321
    assert facts.hours == pytest.approx(0.28, abs=0.01)
    assert facts.cost_usd is None


@pytest.mark.parametrize("reason", [StopReason.CANCELLED, StopReason.OUT_OF_MEMORY])
async def test_a_job_without_an_adapter_makes_none(store: Store, reason: StopReason) -> None:
    await add_completed(store, "job-1", reason=reason)

    await settle_end(store, "job-1")

    assert await store.models.all() == []
    assert await store.models.jobs_without() == []


async def test_jobs_that_completed_before_get_their_versions_in_the_order_they_ended(
    store: Store, session: Session
) -> None:
    await add_completed(store, "later", begin=BEGIN + timedelta(days=1))
    await add_completed(store, "sooner", begin=BEGIN)
    await add_completed(store, "failed", reason=StopReason.OUT_OF_MEMORY)

    assert await sync_versions(session) == 2
    assert await sync_versions(session) == 0

    assert await references(store) == {"sooner": "empathy:1", "later": "empathy:2"}


async def test_a_retry_is_the_next_version_of_the_model_whatever_its_own_name(
    store: Store, session: Session
) -> None:
    await add_completed(store, "first", "Elena", reason=StopReason.OUT_OF_MEMORY)
    again = BEGIN + timedelta(hours=1)
    await add_completed(store, "second", "Elena again", begin=again, retry_of="first")
    await sync_versions(session)
    assert await references(store) == {"second": "elena:1"}

    await name_version(session, "second", "empathy")
    later = BEGIN + timedelta(hours=2)
    await add_completed(store, "third", "Elena again", begin=later, retry_of="second")
    await sync_versions(session)

    assert await references(store) == {"second": "empathy:1", "third": "empathy:2"}


async def test_the_jobs_of_a_sweep_are_versions_of_one_model(
    store: Store, session: Session
) -> None:
    await add_sweep(store)
    for job_id in ("grid-01", "grid-03"):
        job = await store.get_job(job_id)
        assert job.status.value == "completed"
    # As the sweep's made-up jobs have no adapter: retries of two of them have one.
    for number, job_id in enumerate(("grid-01", "grid-03")):
        begin = BEGIN + timedelta(hours=number)
        await add_completed(store, f"again-{number}", f"x {number}", begin=begin, retry_of=job_id)
    await sync_versions(session)

    assert await references(store) == {"again-0": "elena:1", "again-1": "elena:2"}


async def test_a_move_is_written_down_with_the_user_of_the_system(
    store: Store, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "sam")
    await add_completed(store, "job-1")
    version = await find_version(session, "empathy")

    await move_version(session, version, TESTING, " calmer \n answers ")

    (change,) = await store.models.history()
    assert change.who.startswith("sam@") and change.why == "calmer answers"


async def test_whoever_is_logged_in_to_the_web_application_is_named_by_their_e_mail(
    session: Session, fresh_supabase: SupabaseRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "sam")
    path, user = session.config.supabase_session_path, fresh_supabase.user_one
    assert who_acts(session.config).startswith("sam@")
    for name, value in fresh_supabase.environment(user).items():
        monkeypatch.setenv(name, value)
    assert who_acts(session.config).startswith("sam@")  # Nobody has logged in yet.
    await fresh_supabase.log_in(path, user)
    assert who_acts(session.config) == fresh_supabase.email_of(user)

    monkeypatch.setenv("SUPABASE_SECRET_KEY", fresh_supabase.service_key)
    assert who_acts(session.config).startswith("sam@")


async def test_production_is_refused_and_nothing_is_written(store: Store, session: Session) -> None:
    await add_completed(store, "job-1")
    version = await find_version(session, "empathy:1")
    with pytest.raises(InvalidInput, match="from there it can become archived, testing"):
        await move_version(session, version, DeploymentStatus.PRODUCTION, "now")
    version = await move_version(session, version, TESTING, "try it")

    with pytest.raises(InvalidInput, match="production is closed"):
        await move_version(session, version, DeploymentStatus.PRODUCTION, "now")

    assert (await find_version(session, "empathy:1")).status is TESTING
    assert len(await store.models.history()) == 1


async def test_a_name_is_refused_for_what_has_no_adapter_and_for_what_is_deleted(
    store: Store, session: Session
) -> None:
    await add_completed(store, "job-1")
    await add_completed(store, "job-2", reason=StopReason.CANCELLED)
    with pytest.raises(InvalidInput, match="no verified adapter"):
        await name_version(session, "job-2", "other")
    with pytest.raises(InvalidInput, match="such as two-words"):
        await name_version(session, "job-1", "two words")
    same = await name_version(session, "job-1", "Empathy")
    assert same.reference == "empathy:1" and await store.models.history() == []
