"""Start requests that name a machine, against a stand-in for RunPod over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.events import utc_now
from shared.job_spec import DatasetReference
from shared.store.store_settings import MONTHLY_LIMIT_USD
from shared.store.web_training_files import WebFile
from tests.fakes.runpod.server import FakeRunpod
from tests.tui.local_console import document
from tests.tui.services.web_api.served import FILE, JOBS, START, USER_ONE, is_problem, served
from tui.services.session import Session
from tui.services.web_api.settings import ApiSettings

MACHINE = {"gpu_type": "H100_PCIE", "instance_type": "on_demand", "max_duration_hours": 2}


@dataclass
class Renting:
    session: Session
    client: httpx.AsyncClient

    async def start(self, **config: Any) -> httpx.Response:
        body = {
            "training_file_id": FILE,
            "hyperparameters": {"num_epochs": 1},
            "runpod_config": {**MACHINE, **config},
            "created_by": USER_ONE,
        }
        return await self.client.post(START, json=body)

    async def count(self) -> int:
        return int((await self.client.get(JOBS)).json()["total"])


@pytest.fixture
async def renting(runpod: FakeRunpod, session: Session, tmp_path: Path) -> AsyncIterator[Renting]:
    path = tmp_path / "train.json"
    path.write_text(json.dumps(document()))
    sha256 = DatasetReference.of(path).sha256
    await session.store.web_files.put(WebFile(FILE, sha256, "Kind", str(path), utc_now()))
    settings = ApiSettings(port=0, base_model="tiny", job_budget_usd=50.0)
    async with served(session, settings) as api, api.caller(await api.token()) as client:
        yield Renting(session, client)


async def test_a_machine_is_agreed_on_and_rented_by_nobody_here(
    runpod: FakeRunpod, renting: Renting
) -> None:
    answer = await renting.start()

    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["status"] == "queued" and body["runpod_pod_id"] is None
    job = await renting.session.store.get_job(body["training_job_id"])
    assert job.state.rented and job.created_by == USER_ONE and job.training_file_id == FILE
    stored = await renting.session.store.rentals.get(job.job_id)
    assert stored is not None
    assert [each.gpu_type for each in stored.request.candidates] == ["H100_PCIE"]
    assert stored.request.max_duration_hours == 2
    # What its hours cost: nobody has named another cap.
    price = stored.request.candidates[0].usd_per_hour
    assert stored.request.budget_usd == pytest.approx(2 * price, abs=0.01)
    assert len(runpod.pods) == 0


async def test_a_budget_in_the_request_is_the_cap(renting: Renting) -> None:
    job_id = (await renting.start(budget_usd=3.5)).json()["training_job_id"]
    stored = await renting.session.store.rentals.get(job_id)
    assert stored is not None and stored.request.budget_usd == 3.5


async def test_no_job_is_given_more_than_the_server_allows(renting: Renting) -> None:
    problem = is_problem(await renting.start(budget_usd=51), 422)
    assert problem["errors"][0]["field"] == "runpod_config.budget_usd"
    assert "$50.00" in problem["detail"]

    job_id = (await renting.start(max_duration_hours=700)).json()["training_job_id"]
    stored = await renting.session.store.rentals.get(job_id)
    assert stored is not None and stored.request.budget_usd == 50.0


async def test_spot_is_answered_with_the_truth(renting: Renting) -> None:
    problem = is_problem(await renting.start(instance_type="spot"), 422)
    assert problem["detail"].startswith("RunPod no longer sells spot")
    assert await renting.count() == 0


async def test_a_gpu_that_there_is_not_is_refused_with_those_near_it(renting: Renting) -> None:
    problem = is_problem(await renting.start(gpu_type="H1000"), 422)
    assert "H100_SXM" in problem["detail"]


async def test_a_budget_that_pays_for_nothing_is_refused(renting: Renting) -> None:
    is_problem(await renting.start(budget_usd=0.01), 422)
    assert await renting.count() == 0


async def test_the_months_limit_holds_here_too(renting: Renting) -> None:
    await renting.session.store.settings.put(MONTHLY_LIMIT_USD, 0.01)
    problem = is_problem(await renting.start(), 422)
    assert "month" in problem["detail"]
    assert await renting.count() == 0


async def test_a_provider_that_is_away_is_said_to_be(
    runpod: FakeRunpod, renting: Renting, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.errors import ProviderUnreachable

    async def away(*_: object, **__: object) -> None:
        raise ProviderUnreachable("RunPod does not answer.")

    monkeypatch.setattr(type(renting.session.provider()), "offers", away)
    answer = await renting.start()
    is_problem(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1
