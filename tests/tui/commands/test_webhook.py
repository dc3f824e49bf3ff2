"""`brightrun webhook` and `start --webhook`, with a real agent and a real receiver."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.signing import sign
from tests.fakes.webhook_receiver import SECRET, WebhookReceiver, serve_webhook_receiver
from tests.tui.local_console import Console, forget_secrets, until


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with serve_webhook_receiver() as served:
        yield served


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    made.start_agent()
    # After the agent is there: it has the secret from nowhere but the console.
    made.environment["TRAINING_WEBHOOK_SECRET"] = SECRET
    yield made
    made.kill_agent()
    forget_secrets(made.root)


@pytest.fixture
def alone(tmp_path: Path) -> Console:
    """A console without an agent."""
    made = Console(tmp_path)
    made.environment["TRAINING_WEBHOOK_SECRET"] = SECRET
    return made


def start(console: Console, receiver: WebhookReceiver, job_id: str, *more: str) -> None:
    where = ("--webhook", receiver.url, "--webhook-allow-private")
    code, _, err = console.start(job_id, "steps=3", *where, *more)
    assert (code, err) == (0, "")


def test_a_job_is_told_from_queued_to_completed_with_no_console_open(
    console: Console, receiver: WebhookReceiver
) -> None:
    start(console, receiver, "job-one")
    until(lambda: "completed" in receiver.statuses)

    assert receiver.statuses == [
        "queued",
        "preprocessing",
        "model_loaded",
        "training",
        "completed",
    ]
    web_ids = {each.body["job_id"] for each in receiver.taken}
    assert len(web_ids) == 1
    assert receiver.refused == []


def test_the_secret_is_nowhere_on_the_disk(
    console: Console, receiver: WebhookReceiver, tmp_path: Path
) -> None:
    start(console, receiver, "job-one")
    until(lambda: "completed" in receiver.statuses)
    console.run("webhook", "list", "job-one")

    for directory, _, names in os.walk(tmp_path):
        for path in (Path(directory, name) for name in names):
            if path.is_file():
                assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET.encode() not in Path(f"/proc/{console.agent.pid}/environ").read_bytes()


def test_a_retry_and_a_clone_tell_who_was_told(console: Console, receiver: WebhookReceiver) -> None:
    start(console, receiver, "job-one", "--webhook-every", "7")
    until(lambda: "completed" in receiver.statuses)
    console.run("watch", "job-one")

    assert console.run("retry", "job-one")[0] == 0
    assert console.run("clone", "job-one")[0] == 0

    with sqlite3.connect(console.home / "brightrun.db") as database:
        rows = database.execute(
            "select url, interval_steps, allow_private from webhook_targets"
        ).fetchall()
    assert rows == [(receiver.url, 7, 1)] * 3
    until(lambda: [each.body["status"] for each in receiver.taken].count("completed") == 3)


def test_the_environment_may_say_where_to(console: Console, receiver: WebhookReceiver) -> None:
    console.environment["BRIGHTRUN_WEBHOOK_URL"] = receiver.url
    console.environment["BRIGHTRUN_WEBHOOK_ALLOW_PRIVATE"] = "1"

    assert console.start("job-one", "steps=2")[0] == 0

    until(lambda: "completed" in receiver.statuses)


def test_what_cannot_be_told_is_refused_before_anything_is_started(
    console: Console, receiver: WebhookReceiver
) -> None:
    code, _, err = console.start("job-one", "", "--webhook", receiver.url)
    assert (code, "is http" in err) == (2, True)
    code, _, err = console.start("job-one", "", "--webhook-every", "5")
    assert (code, "--webhook URL" in err) == (2, True)
    del console.environment["TRAINING_WEBHOOK_SECRET"]
    code, _, err = console.start("job-one", "", "--webhook", "https://example.com/")
    assert (code, "set TRAINING_WEBHOOK_SECRET" in err) == (2, True)
    console.environment["TRAINING_WEBHOOK_SECRET"] = "whsec_not base64"
    code, _, err = console.start("job-one", "", "--webhook", "https://example.com/")
    assert (code, "is not base64" in err) == (2, True)
    assert "not base64 after it: copy" in err and "whsec_not" not in err

    assert not (console.root / "jobs").exists()


def test_one_message_is_sent_for_a_try_and_the_secret_is_not_shown(
    alone: Console, receiver: WebhookReceiver
) -> None:
    where = ("webhook", "test", "--url", receiver.url, "--allow-private")
    code, out, _ = alone.run(*where)

    assert code == 0
    [message] = receiver.taken
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        assert message.headers[name] in out
    assert "204 after" in out and "taken" in out
    assert SECRET not in out

    receiver.faults.add(status=500)
    code, out, _ = alone.run(*where, "--json")
    assert code == 1
    told = json.loads(out)
    assert (told["taken"], told["status_code"]) == (False, 500)


def test_a_try_for_a_job_says_how_it_stands_and_goes_where_the_jobs_go(
    console: Console, receiver: WebhookReceiver
) -> None:
    start(console, receiver, "job-one")
    until(lambda: "completed" in receiver.statuses)

    code, out, _ = console.run("webhook", "test", "--job", "job-one", "--json")

    assert code == 0
    body = json.loads(json.loads(out)["body"])
    assert (body["status"], body["step"]) == ("completed", 3)
    assert body["job_id"] == receiver.taken[0].body["job_id"]


def test_a_try_to_nowhere_says_what_to_set(alone: Console) -> None:
    code, _, err = alone.run("webhook", "test")
    assert (code, "BRIGHTRUN_WEBHOOK_URL" in err) == (2, True)


@pytest.mark.parametrize("form", ["lines", "json"])
def test_a_captured_message_is_checked(alone: Console, tmp_path: Path, form: str) -> None:
    body, headers = tmp_path / "body", tmp_path / "headers"
    body.write_bytes(b'{"status":"training"}')
    signed = sign(SECRET, "msg_1", int(time.time()), body.read_bytes())
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    headers.write_text(json.dumps(signed) if form == "json" else "POST /x HTTP/1.1\r\n" + lines)
    check = ("webhook", "verify", "--body", body, "--headers", headers)

    code, out, _ = alone.run(*check)
    assert (code, "The signature holds: msg_1" in out) == (0, True)

    alone.environment["TRAINING_WEBHOOK_SECRET_PREVIOUS"] = SECRET
    alone.environment["TRAINING_WEBHOOK_SECRET"] = "the new one"
    assert alone.run(*check)[0] == 0
    del alone.environment["TRAINING_WEBHOOK_SECRET_PREVIOUS"]
    code, _, err = alone.run(*check)
    assert (code, "another secret" in err) == (1, True)


def test_an_old_captured_message_is_told_from_a_forged_one(alone: Console, tmp_path: Path) -> None:
    body, headers = tmp_path / "body", tmp_path / "headers"
    body.write_bytes(b"{}")
    headers.write_text(json.dumps(sign(SECRET, "msg_1", int(time.time()) - 600, b"{}")))
    check = ("webhook", "verify", "--body", body, "--headers", headers)

    code, _, err = alone.run(*check)
    assert (code, "600 s old" in err or "601 s old" in err) == (1, True)
    assert alone.run(*check, "--any-age")[0] == 0
    body.write_bytes(b"{} ")
    assert alone.run(*check, "--any-age")[0] == 1


def test_what_was_told_is_listed(console: Console, receiver: WebhookReceiver) -> None:
    start(console, receiver, "job-one")
    until(lambda: "completed" in receiver.statuses)

    def listed() -> list[tuple[str, str]]:
        told = json.loads(console.run("webhook", "list", "job-one", "--json")[1])
        return [(each["body"]["status"], each["outcome"]) for each in told["messages"]]

    until(lambda: ("completed", "delivered") in listed())
    assert [status for status, _ in listed()] == [
        "queued",
        "preprocessing",
        "model_loaded",
        *["training"] * 3,
        "completed",
    ]
    assert {outcome for _, outcome in listed()} == {"delivered"}
    code, out, _ = console.run("webhook", "list", "job-one")
    assert (code, "the job's agent" in out) == (0, True)
    console.start("job-two", "steps=1")
    assert "nobody is told" in console.run("webhook", "list", "job-two")[2]
