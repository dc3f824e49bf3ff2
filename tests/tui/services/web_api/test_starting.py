"""From a start request to a job that is written down, or to a problem that says why not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.events import utc_now
from shared.hyperparameters import Hyperparameters
from shared.job_spec import DatasetReference
from shared.lifecycle import Activity, JobStatus
from shared.store.web_training_files import WebFile
from tests.tui.local_console import document
from tests.tui.services.web_api.served import (
    FILE,
    JOBS,
    START,
    USER_ONE,
    USER_TWO,
    Served,
    is_problem,
)
from tui.services.jobs import Again, start_like


@pytest.fixture
async def dataset(api: Served, tmp_path: Path) -> Path:
    """The bytes of `FILE`, as they were fetched before."""
    path = tmp_path / "train.json"
    path.write_text(json.dumps(document()))
    sha256 = DatasetReference.of(path).sha256
    await api.session.store.web_files.put(
        WebFile(FILE, sha256, "Kind conversations", str(path), utc_now())
    )
    return path


@pytest.fixture
async def client(api: Served, dataset: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with api.caller(await api.token("web")) as caller:
        yield caller


def request(**values: Any) -> dict[str, Any]:
    return {"training_file_id": FILE, "hyperparameters": {"num_epochs": 1}, **values}


async def test_a_job_is_written_down_with_the_seeds_answer(
    api: Served, client: httpx.AsyncClient, dataset: Path
) -> None:
    answer = await client.post(START, json=request(created_by=USER_ONE, tags=["a"]))

    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["success"] is True and body["status"] == "queued"
    assert body["runpod_pod_id"] is None
    assert set(body) == {
        "success",
        "training_job_id",
        "status",
        "runpod_pod_id",
        "estimated_duration_minutes",
        "estimated_cost_usd",
    }
    job_id = body["training_job_id"]
    assert UUID(job_id).version == 4
    assert answer.headers["location"] == f"{JOBS}/{job_id}"
    job = await api.session.store.get_job(job_id)
    assert job.state.activity is Activity.WAITING_FOR_TURN and job.host == "local"
    assert (job.created_by, job.training_file_id) == (USER_ONE, FILE)
    assert job.spec.dataset == DatasetReference.of(dataset)
    assert job.spec.name == "Kind conversations" and job.spec.tags == ("a",)
    assert job.spec.hyperparameters == Hyperparameters(num_epochs=1)
    shown = (await client.get(answer.headers["location"])).json()["job"]
    assert shown["id"] == job_id and shown["training_file_id"] == FILE
    assert (await client.get(JOBS, params={"training_file_id": FILE})).json()["total"] == 1


async def test_the_same_key_gives_the_same_job_however_often_and_at_once(
    api: Served, client: httpx.AsyncClient
) -> None:
    key = {"Idempotency-Key": "order-66"}
    answers = await asyncio.gather(
        *(client.post(START, json=request(), headers=key) for _ in range(4))
    )
    later = await client.post(START, json=request(), headers=key)

    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert later.status_code == 200
    assert len({answer.json()["training_job_id"] for answer in (*answers, later)}) == 1
    assert (await client.get(JOBS)).json()["total"] == 1
    other = request(hyperparameters={"num_epochs": 2})
    problem = is_problem(await client.post(START, json=other, headers=key), 422)
    assert "Idempotency-Key" in problem["detail"]
    async with api.caller(await api.token("another")) as another:
        assert (await another.post(START, json=request(), headers=key)).status_code == 201
    assert (await client.get(JOBS)).json()["total"] == 2


async def test_a_key_holds_when_the_file_has_gone_since(
    client: httpx.AsyncClient, dataset: Path
) -> None:
    key = {"Idempotency-Key": "1"}
    first = await client.post(START, json=request(), headers=key)
    dataset.unlink()
    again = await client.post(START, json=request(), headers=key)
    assert again.status_code == 200 and again.json() == first.json()


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"hyperparameters": {"lora_rr": 8}}, "hyperparameters.lora_rr", "no such field"),
    ({"hyperparameters": {"lora_r": 0}}, "hyperparameters.lora_r", "at least 1, at most 256"),
    ({"hyperparameters": {"num_epochs": "3"}}, "hyperparameters.num_epochs", "whole number"),
    ({"surprise": 1}, "surprise", "no such field"),
    ({"training_file_id": "x"}, "training_file_id", "pattern"),
    ({"created_by": "me"}, "created_by", "pattern"),
    ({"name": "ab"}, "name", "3 characters"),
    ({"base_model": "/etc"}, "base_model", "pattern"),
    ({"base_model": "nonsense"}, "base_model", "pattern"),
    ({"base_model": "a/../b"}, "base_model", "pattern"),
    ({"hyperparameters": {"target_modules": []}}, "hyperparameters.target_modules", "names"),
    ({"runpod_config": {"gpu": "H100"}}, "runpod_config.gpu", "no such field"),
    ({"runpod_config": {"max_duration_hours": 0}}, "runpod_config.max_duration_hours", "0"),
]
"""(change to a request, the field that is wrong, a word of the message)"""


async def test_a_value_that_is_wrong_is_refused_by_its_name(client: httpx.AsyncClient) -> None:
    for change, field, word in WRONG:
        problem = is_problem(await client.post(START, json=request(**change)), 422)
        assert [each["field"] for each in problem["errors"]] == [field]
        assert word in problem["errors"][0]["message"]
    assert (await client.get(JOBS)).json()["total"] == 0


async def test_a_directory_of_the_server_is_no_base_model(
    client: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    problem = is_problem(await client.post(START, json=request(base_model="some/model")), 422)
    assert problem["errors"][0]["field"] == "base_model"


async def test_not_a_number_is_no_number(client: httpx.AsyncClient) -> None:
    body = json.dumps(request(hyperparameters={"learning_rate": float("nan")}))
    headers = {"Content-Type": "application/json"}
    is_problem(await client.post(START, content=body, headers=headers), 422)


async def test_null_means_the_presets_value(api: Served, client: httpx.AsyncClient) -> None:
    answer = await client.post(START, json=request(hyperparameters={"lora_r": None}))
    job = await api.session.store.get_job(answer.json()["training_job_id"])
    assert job.spec.hyperparameters == Hyperparameters()


async def test_a_file_that_is_not_known_is_not_found(client: httpx.AsyncClient) -> None:
    problem = is_problem(await client.post(START, json=request(training_file_id=USER_ONE)), 404)
    assert USER_ONE in problem["detail"]


async def test_a_file_with_errors_says_where_and_what_mends_it(
    client: httpx.AsyncClient, dataset: Path
) -> None:
    broken: Any = document()
    broken["conversations"][0]["training_pairs"][0]["target_response"] = ""
    dataset.write_text(json.dumps(broken))

    problem = is_problem(await client.post(START, json=request()), 422)

    assert problem["errors"] and problem["errors"][0]["message"]
    assert str(dataset) not in json.dumps(problem)
    assert (await client.get(JOBS)).json()["total"] == 0


async def test_what_cannot_be_read_does_not_tell_where_it_was_to_lie(
    client: httpx.AsyncClient, dataset: Path
) -> None:
    dataset.unlink()
    problem = is_problem(await client.post(START, json=request()), 422)
    assert FILE in problem["detail"] and str(dataset) not in problem["detail"]


async def test_a_user_starts_for_themselves_alone(api: Served, dataset: Path) -> None:
    async with api.caller(await api.token("one", user=USER_ONE)) as one:
        is_problem(await one.post(START, json=request(created_by=USER_TWO)), 403)
        # Without Supabase nobody can say whose the file is.
        is_problem(await one.post(START, json=request()), 404)


async def test_a_job_that_was_started_and_cancelled_before_its_turn_never_runs(
    api: Served, client: httpx.AsyncClient
) -> None:
    job_id = (await client.post(START, json=request())).json()["training_job_id"]
    answer = await client.delete(f"{JOBS}/{job_id}")
    assert answer.status_code == 200
    assert answer.json()["job"]["status"] == "cancelled"
    job = await api.session.store.get_job(job_id)
    assert job.status is JobStatus.CANCELLED
    assert "web application" in job.state.detail


async def test_a_retry_in_the_console_stays_the_users_and_the_files(
    api: Served, client: httpx.AsyncClient
) -> None:
    answer = await client.post(START, json=request(created_by=USER_ONE))
    store = api.session.store
    job = await store.get_job(answer.json()["training_job_id"])
    spec = job.spec.model_copy(update={"job_id": "job-again"})

    await start_like(api.session, job, spec, Again(retry_of=job.job_id, waits_for_turn=True))

    again = await store.get_job("job-again")
    assert (again.created_by, again.training_file_id) == (USER_ONE, FILE)
