"""Start requests whose training file lies in Supabase, on a real PostgREST and real bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.local_console import document
from tests.tui.services.web_api.served import JOBS, START, Served, is_problem, served
from tests.tui.web_application import WebApplication
from tui.services.session import Session, open_session
from tui.services.web_api.settings import ApiSettings


def lines(answer: str = "Hello there.") -> bytes:
    """The bytes of an exported file: one line of settings, then one a pair."""
    whole = document()
    [conversation] = whole["conversations"]  # type: ignore[misc]
    [pair] = conversation["training_pairs"]
    meta = {"_meta": {"version": "4.0.0"}}
    return "".join(
        json.dumps(line) + "\n" for line in (meta, {**pair, "target_response": answer})
    ).encode()


@pytest.fixture
def web(fresh_supabase: SupabaseRig) -> WebApplication:
    return WebApplication(fresh_supabase)


@pytest.fixture
async def session(
    web: WebApplication, home: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Session]:
    """On a trusted server, whose key passes every rule of the database."""
    monkeypatch.delenv("RUNPOD_ENDPOINT_URL", raising=False)
    for name, value in web.rig.environment().items():
        monkeypatch.setenv(name, value)
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def api(session: Session) -> AsyncIterator[Served]:
    async with served(session, ApiSettings(port=0, base_model="tiny")) as running:
        yield running


async def test_a_job_is_started_on_a_file_that_is_fetched_for_it(
    api: Served, web: WebApplication
) -> None:
    file_id = web.add(lines())
    async with api.caller(await api.token("one", user=web.rig.user_one)) as client:
        answer = await client.post(START, json={"training_file_id": file_id})
        assert answer.status_code == 201, answer.text
        job_id = answer.json()["training_job_id"]
        shown = (await client.get(f"{JOBS}/{job_id}")).json()["job"]

    job = await api.session.store.get_job(job_id)
    assert job.spec.name == "Coaching / week 1"
    assert job.created_by == web.rig.user_one and job.training_file_id == file_id
    assert shown["created_by"] == web.rig.user_one and shown["training_file_id"] == file_id
    kept = await api.session.store.training_files.find(job.spec.dataset.sha256)
    assert Path(kept.path).read_bytes() == lines()


async def test_another_users_file_is_not_there_although_the_servers_key_sees_it(
    api: Served, web: WebApplication
) -> None:
    file_id = web.add(lines(), created_by=web.rig.user_two)
    async with api.caller(await api.token("one", user=web.rig.user_one)) as one:
        problem = is_problem(await one.post(START, json={"training_file_id": file_id}), 404)
        nothing = is_problem(
            await one.post(START, json={"training_file_id": web.rig.user_one}), 404
        )
        told = problem["detail"].replace(file_id, "")
        assert told == nothing["detail"].replace(web.rig.user_one, "")
        assert (await one.get(JOBS)).json()["total"] == 0
    assert not web.rig.gateway.calls("GET", "/storage/v1/")
    async with api.caller(await api.token("service")) as service:
        assert (await service.post(START, json={"training_file_id": file_id})).status_code == 201


async def test_bytes_that_are_not_the_rows_start_nothing(api: Served, web: WebApplication) -> None:
    file_id = web.add(lines(), sha256="0" * 64)
    async with api.caller(await api.token()) as client:
        is_problem(await client.post(START, json={"training_file_id": file_id}), 502)
        assert (await client.get(JOBS)).json()["total"] == 0


async def test_a_supabase_that_is_away_is_said_to_be_and_the_key_is_not(
    api: Served, web: WebApplication
) -> None:
    file_id = web.add(lines())
    web.rig.faults.add(path=r"/rest/v1/training_files", status=503, times=100)
    async with api.caller(await api.token()) as client:
        answer = await client.post(START, json={"training_file_id": file_id})
    is_problem(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1
    assert web.rig.service_key not in answer.text
