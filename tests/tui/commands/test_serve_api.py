"""`brightrun serve --api` as a process of its own, with a real agent; the trainer is a stand-in."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.job_spec import DatasetReference
from tests.tui.local_console import Console, until
from tests.tui.services.web_api.served import FILE, JOBS, SECRET, START, WEBHOOK, signed

MODEL = ("--model", "tiny")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    for name in ("SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL", "RUNPOD_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRAINING_WEBHOOK_SECRET", SECRET)
    yield Console(tmp_path)


@pytest.fixture
def agent(console: Console) -> Iterator[None]:
    """At work for the console's own machine."""
    console.start_agent()
    yield
    console.kill_agent()


@pytest.fixture
def start(console: Console) -> Iterator[Start]:
    """Starts one more; all are over at the end."""
    processes: list[subprocess.Popen[str]] = []

    def start_one(*options: str) -> subprocess.Popen[str]:
        process = console.popen("serve", "--api", *(options or ("--port", "0")), *MODEL)
        processes.append(process)
        return process

    yield start_one
    for process in processes:
        process.kill()
        process.communicate()


def lines_up_to(process: subprocess.Popen[str], words: str) -> str:
    """What it says, up to the line with these words."""
    assert process.stdout is not None
    said = ""
    while words not in said:
        line = process.stdout.readline()
        assert line, f"it ended: {said}"
        said += line
    return said


def address(process: subprocess.Popen[str]) -> str:
    """Where it answers, once it does."""
    return lines_up_to(process, "answers at").strip().rpartition(" ")[2]


def token(console: Console, *options: str) -> str:
    scopes = ("--scope", "jobs:read", "--scope", "jobs:write")
    code, out, _ = console.run("serve", "token", "create", "web", *scopes, *options)
    assert code == 0
    return out.strip()


def link(console: Console) -> None:
    """As a file that was fetched from the web application before."""
    import asyncio

    from shared.events import utc_now
    from shared.store.store import open_store
    from shared.store.web_training_files import WebFile

    async def put() -> None:
        sha256 = DatasetReference.of(console.dataset).sha256
        async with open_store(console.home / "brightrun.db") as store:
            path = str(console.dataset)
            await store.web_files.put(WebFile(FILE, sha256, "Kind", path, utc_now()))

    asyncio.run(put())


def caller(url: str, bearer: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {bearer}"}, timeout=30)


def begin(client: httpx.Client, notes: str) -> str:
    body = {"training_file_id": FILE, "hyperparameters": {"num_epochs": 1}, "notes": notes}
    answer = client.post(START, json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["training_job_id"])


def look(client: httpx.Client, job_id: str, **query: Any) -> dict[str, Any]:
    answer = client.get(f"{JOBS}/{job_id}", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_job_goes_from_its_request_to_completed_and_another_is_cancelled(
    console: Console, agent: None, start: Start
) -> None:
    bearer = token(console)
    link(console)
    server = start()
    with caller(address(server), bearer) as client:
        job_id = begin(client, "steps=6 delay=0.05")
        until(lambda: look(client, job_id)["job"]["status"] == "completed", 60)
        answer = look(client, job_id, metrics=True)
        assert [row["step"] for row in answer["metrics_history"]] == list(range(1, 7))
        job = answer["job"]
        assert job["current_step"] == 6 and job["completed_at"] and job["started_at"]
        assert job["error_message"] is None

        long = begin(client, "steps=2000 delay=0.05")
        until(lambda: look(client, long)["job"]["current_step"] > 2, 60)
        assert client.delete(f"{JOBS}/{long}").status_code in (200, 202)
        until(lambda: look(client, long)["job"]["status"] == "cancelled", 60)
        listed = client.get(JOBS, params={"status": "cancelled"}).json()
        assert [each["id"] for each in listed["jobs"]] == [long]

        body = json.dumps({"job_id": long, "status": "training"}).encode()
        headers = signed(SECRET, "msg_1", time.time(), body)
        assert client.post(WEBHOOK, content=body, headers=headers).status_code == 200
        assert look(client, long)["job"]["status"] == "cancelled"

    server.send_signal(signal.SIGTERM)
    began = time.monotonic()
    out, err = server.communicate(timeout=20)
    assert server.returncode == 0 and time.monotonic() - began < 10
    assert "leaves; jobs and machines go on" in out
    assert bearer not in out + err and SECRET not in out + err


@pytest.mark.slow
def test_what_it_started_goes_on_when_it_is_killed_and_the_next_one_tells_of_it(
    console: Console, agent: None, start: Start
) -> None:
    bearer = token(console)
    link(console)
    first = start()
    with caller(address(first), bearer) as client:
        job_id = begin(client, "steps=60 delay=0.05")
        until(lambda: look(client, job_id)["job"]["current_step"] > 2, 60)
        waiting = begin(client, "steps=2")
        first.kill()
        first.communicate()

    with caller(address(start()), bearer) as client:
        until(lambda: look(client, waiting)["job"]["status"] == "completed", 60)
        job = look(client, job_id)["job"]
        assert (job["status"], job["current_step"], job["retry_count"]) == ("completed", 60, 0)


def test_a_taken_port_is_said_and_does_not_end_the_rest(console: Console, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        server = start("--port", port)
        said = lines_up_to(server, "cannot be served")
        assert f"port {port}" in said and "--port" in said
        assert server.poll() is None
    # Once it is free, the next try has it.
    assert f":{port}" in lines_up_to(server, "answers at")


def test_another_address_is_served_with_a_warning_and_a_request_under_way_keeps_nobody(
    console: Console, start: Start
) -> None:
    server = start("--host", "0.0.0.0", "--port", "0")
    said = lines_up_to(server, "answers at")
    assert "WARNING" in said and "TLS" in said and "--allow-host" in said
    assert "brightrun serve token create" in said

    port = int(said.strip().rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.sendall(
            f"POST {WEBHOOK} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n".encode()
        )
        server.send_signal(signal.SIGTERM)
        began = time.monotonic()
        server.communicate(timeout=20)
    assert time.monotonic() - began < 15 and server.returncode == 0


def test_tokens_are_made_listed_and_revoked(console: Console) -> None:
    user = "11111111-1111-4111-8111-111111111111"
    made = token(console, "--user", user)
    assert made.startswith("brt_")
    code, out, err = console.run("serve", "token", "create", "web")
    assert code == 2 and "there is one of that name" in err and "brt_" not in out

    code, out, err = console.run("serve", "token", "list")
    assert code == 0 and "web" in out and user in out and "jobs:write" in out and "never" in out
    code, out, _ = console.run("serve", "token", "list", "--json")
    [listed] = json.loads(out)
    assert listed["name"] == "web" and listed["user_id"] == user
    assert "brt_" not in out and "sha256" not in out

    assert console.run("serve", "token", "revoke", "web")[0] == 0
    assert console.run("serve", "token", "revoke", "web")[0] == 2
    assert "no token" in console.run("serve", "token", "list")[1]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("a", "--scope", "jobs:all"), "jobs:all"),
        (("a", "--user", "me"), "UUID"),
        (("",), "name"),
        (("\x1b[31m",), "name"),
    ],
)
def test_a_token_that_cannot_be_is_refused(
    console: Console, options: tuple[str, ...], word: str
) -> None:
    code, out, err = console.run("serve", "token", "create", *options)
    assert code == 2 and word in err and out == ""


def test_without_the_packages_it_says_what_brings_them(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "fastapi", None)
    code, _, err = console.run("serve", "--api")
    assert code == 2 and 'pip install "brightrun[agent]"' in err
