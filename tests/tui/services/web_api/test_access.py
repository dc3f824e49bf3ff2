"""Who gets in, and what happens to the others: tokens, scopes, users, names, origins."""

from __future__ import annotations

import hashlib
import logging

import pytest

from shared.errors import InvalidInput
from tests.tui.services.web_api.served import (
    JOBS,
    START,
    USER_ONE,
    USER_TWO,
    Served,
    is_problem,
    served,
)
from tui.services.session import Session
from tui.services.web_api.settings import ApiSettings, checked_origin
from tui.services.web_api.tokens import TokenScope

EVERY_ROUTE = [
    ("POST", START),
    ("GET", JOBS),
    ("GET", JOBS + "/job-one"),
    ("DELETE", JOBS + "/job-one"),
    ("GET", "/api/anything"),
]


async def test_without_a_token_that_holds_nobody_gets_in(api: Served) -> None:
    for given in (None, "", "Bearer", "Bearer brt_" + "x" * 43, "Basic YTpi", "brt_x"):
        headers = {} if given is None else {"Authorization": given}
        async with api.caller(**headers) as stranger:
            for method, path in EVERY_ROUTE:
                answer = await stranger.request(method, path)
                problem = is_problem(answer, 401)
                assert "brightrun serve token create" in problem["detail"]
                assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_token_is_kept_as_a_hash_and_told_by_its_prefix(api: Served) -> None:
    token = await api.token("web")

    assert token.startswith("brt_") and len(token) == 4 + 43
    database = api.session.config.database_path
    raw = b"".join(path.read_bytes() for path in database.parent.glob("brightrun.db*"))
    assert token.encode() not in raw
    assert hashlib.sha256(token.encode()).hexdigest().encode() in raw


async def test_each_scope_opens_its_own_routes_only(api: Served) -> None:
    await api.add_job("job-one")
    reader = await api.token("reader", (TokenScope.JOBS_READ,))
    writer = await api.token("writer", (TokenScope.JOBS_WRITE,))

    async with api.caller(reader) as client:
        assert (await client.get(JOBS)).status_code == 200
        assert (await client.get(JOBS + "/job-one")).status_code == 200
        answer = await client.delete(JOBS + "/job-one")
        assert "jobs:write" in is_problem(answer, 403)["detail"]
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        is_problem(await client.post(START, json={"training_file_id": USER_ONE}), 403)
    async with api.caller(writer) as client:
        is_problem(await client.get(JOBS), 403)
        assert (await client.delete(JOBS + "/job-one")).status_code == 200


async def test_a_revoked_token_is_refused_from_the_next_request_on(api: Served) -> None:
    token = await api.token("web")
    async with api.caller(token) as client:
        assert (await client.get(JOBS)).status_code == 200
        await api.session.store.api_tokens.revoke("web")
        is_problem(await client.get(JOBS), 401)


async def test_its_use_is_written_down(api: Served) -> None:
    token = await api.token("web")
    async with api.caller(token) as client:
        await client.get(JOBS)

    [stored] = await api.session.store.api_tokens.all()
    assert stored.last_used_at is not None


async def test_a_user_sees_and_cancels_their_own_jobs_only(api: Served) -> None:
    await api.add_job("job-one", created_by=USER_ONE)
    await api.add_job("job-two", created_by=USER_TWO)
    await api.add_job("job-nobodys")
    one = await api.token("one", user=USER_ONE)
    service = await api.token("service")

    async with api.caller(one) as client:
        listed = (await client.get(JOBS)).json()
        assert [job["brightrun_job_id"] for job in listed["jobs"]] == ["job-one"]
        assert listed["total"] == 1
        for foreign in ("job-two", "job-nobodys"):
            is_problem(await client.get(f"{JOBS}/{foreign}"), 404)
            is_problem(await client.delete(f"{JOBS}/{foreign}"), 404)
        is_problem(await client.get(JOBS, params={"created_by": USER_TWO}), 403)
    async with api.caller(service) as client:
        assert (await client.get(JOBS)).json()["total"] == 3
        assert (await client.get(JOBS, params={"created_by": USER_TWO})).json()["total"] == 1
    assert not (await api.session.store.get_job("job-two")).status.is_final


async def test_a_name_that_was_made_to_point_here_is_refused(api: Served) -> None:
    token = await api.token()
    for host in ("evil.example", "127.0.0.1.evil.example", "", "localhost.:80"):
        async with api.caller(token, Host=host) as page:
            for method, path in (*EVERY_ROUTE, ("GET", "/openapi.json")):
                is_problem(await page.request(method, path), 403)


async def test_web_pages_are_refused_where_nobody_has_allowed_them(api: Served) -> None:
    token = await api.token()
    for origin in ("https://evil.example", "null", api.url):
        async with api.caller(token, Origin=origin) as page:
            for method, path in EVERY_ROUTE:
                answer = await page.request(method, path)
                is_problem(answer, 403)
                assert "access-control-allow-origin" not in answer.headers
            preflight = await page.options(JOBS, headers={"Access-Control-Request-Method": "GET"})
            is_problem(preflight, 403)


async def test_an_allowed_origin_may_and_others_still_may_not(session: Session) -> None:
    page = "https://app.example.com"
    settings = ApiSettings(port=0, allow_origins=(page,), allow_hosts=("api.example.com",))
    async with served(session, settings) as api:
        token = await api.token()
        wanted = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
        }
        async with api.caller(Origin=page, Host="api.example.com") as browser:
            preflight = await browser.options(START, headers=wanted)
            assert preflight.status_code == 200
            assert preflight.headers["access-control-allow-origin"] == page
            refused = await browser.get(JOBS)
            is_problem(refused, 401)  # The page is told why.
            assert refused.headers["access-control-allow-origin"] == page
            listed = await browser.get(JOBS, headers={"Authorization": f"Bearer {token}"})
            assert listed.status_code == 200
            assert listed.headers["access-control-allow-origin"] == page
            assert "access-control-allow-credentials" not in listed.headers
        async with api.caller(token, Origin="https://app.example.com.evil.example") as other:
            is_problem(await other.get(JOBS), 403)


async def test_every_answer_has_the_headers_of_safety(api: Served) -> None:
    async with api.caller() as client:
        answers = [
            await client.get("/openapi.json"),
            await client.get(JOBS),
            await client.get(JOBS, headers={"Host": "evil.example"}),
        ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers


async def test_no_token_gets_into_a_log(
    api: Served, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    token = await api.token()
    async with api.caller(token) as client:
        await client.get(JOBS)
        await client.get(JOBS + "/" + token)
        answer = await client.get(JOBS, params={"q": token})
    assert answer.status_code == 200

    kept = [record for record in caplog.records if not record.name.startswith(("http", "hpack"))]
    said = "".join(record.getMessage() for record in kept) + "".join(capsys.readouterr())
    assert "brt_" not in said + "".join(api.said)


async def test_what_there_is_not_is_a_problem_too(api: Served) -> None:
    async with api.caller(await api.token()) as client:
        is_problem(await client.get("/api/training/nothing"), 404)
        is_problem(await client.get("/"), 404)
        refused = await client.put(JOBS + "/job-one")
        is_problem(refused, 405)
        assert refused.headers["allow"] == "DELETE, GET"


async def test_a_defect_is_a_problem_without_its_words(
    api: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the inner words")

    monkeypatch.setattr("tui.services.web_api.job_routes.job_objects", broken)
    async with api.caller(await api.token()) as client:
        answer = await client.get(JOBS)
        problem = is_problem(answer, 500)
        assert (await client.get("/openapi.json")).status_code == 200
    assert "inner words" not in str(problem)
    assert "the inner words" in caplog.text


async def test_a_store_that_fails_is_said_to_be_away(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.errors import StoreError

    async def locked(*_: object) -> None:
        raise StoreError("database is locked")

    token = await api.token()
    monkeypatch.setattr(type(api.session.store.job_pages), "page", locked)
    async with api.caller(token) as client:
        answer = await client.get(JOBS)
    is_problem(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1


def test_only_what_a_browser_sends_is_an_origin() -> None:
    for origin in ("https://app.example.com", "http://localhost:3000"):
        assert checked_origin(origin) == origin
    for wrong in ("*", "null", "app.example.com", "https://a.example/", "https://A.example", ""):
        with pytest.raises(InvalidInput, match="--allow-origin"):
            checked_origin(wrong)
