"""`brightrun artifacts`, from a job that was trained here to somebody who unpacks its adapter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from shared.manifest import verify
from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.local_console import Console, until


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    console = Console(tmp_path)
    console.start_agent()
    yield console
    console.kill_agent()


@pytest.fixture
def trained(console: Console, fresh_supabase: SupabaseRig) -> Console:
    """With a completed job, and a project in the environment."""
    code, _, err = console.start("job-one", "steps=3 save=2")
    assert code == 0, err
    until(lambda: "completed" in console.run("jobs")[1])
    console.environment.update(fresh_supabase.environment())
    return console


def test_a_job_goes_up_and_comes_down_and_reaches_somebody_else(
    trained: Console, fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    code, _, err = trained.run("artifacts", "job-one")
    assert code == 0 and "nothing of job-one was uploaded" in err

    code, out, err = trained.run("artifacts", "upload", "job-one", "--json")
    assert code == 0, err
    uploads = {upload["file_name"]: upload for upload in json.loads(out)}
    assert {"adapter_model.safetensors", "trainer.log", "metrics.csv"} <= set(uploads)
    assert {upload["state"] for upload in uploads.values()} == {"verified"}
    for upload in uploads.values():
        content = fresh_supabase.storage.bytes_of("model-artifacts", upload["object_name"])
        assert hashlib.sha256(content).hexdigest() == upload["sha256"]
    assert "there, read back" in trained.run("artifacts", "list", "job-one")[1]
    assert "all read back" in trained.run("show", "job-one")[1]
    assert len(json.loads(trained.run("show", "job-one", "--json")[1])["uploads"]) == len(uploads)

    code, out, err = trained.run("artifacts", "download", "job-one", "--to", tmp_path / "down")
    assert code == 0, err
    assert verify(Path(out.strip()) / "adapter")

    code, out, err = trained.run("artifacts", "link", "job-one", "--expires", "12h")
    assert code == 0 and "cannot be taken back" in err
    linked = httpx.get(out.strip()).content
    sha256 = uploads["adapter_model.safetensors"]["sha256"]
    assert hashlib.sha256(linked).hexdigest() == sha256

    package = tmp_path / "for-you.zip"
    assert trained.run("artifacts", "zip", "job-one", "--out", package)[0] == 0
    code, out, err = trained.run("artifacts", "unpack", package, "--to", tmp_path / "theirs")
    assert code == 0, err
    assert verify(Path(out.strip()))


def test_a_checkpoint_goes_up_on_request_and_straight_from_the_agent(
    trained: Console, fresh_supabase: SupabaseRig
) -> None:
    code, _, err = trained.run("artifacts", "upload", "job-one", "--checkpoint", "99")
    assert code == 2 and "no checkpoint of step 99" in err
    step = err.strip().removesuffix(".").split(" ")[-1]

    code, out, err = trained.run("artifacts", "upload", "job-one", "--checkpoint", step, "--json")
    assert code == 0, err
    uploads = [u for u in json.loads(out) if u["source"].startswith("agent:checkpoints/")]
    assert {upload["state"] for upload in uploads} == {"verified"}
    assert [u["file_name"] for u in uploads if u["artifact_type"] == "checkpoint"] != []


@pytest.mark.parametrize("expires", ["7", "0d", "-1h", "9999d", "soon"])
def test_a_lifetime_that_is_none_is_refused(console: Console, expires: str) -> None:
    code, _, err = console.run("artifacts", "link", "job-one", "--expires", expires)
    assert code == 2 and "write 30m, 12h or 7d" in err


def test_without_a_project_it_says_what_to_set(console: Console) -> None:
    assert console.start("job-one", "steps=1")[0] == 0
    until(lambda: "completed" in console.run("jobs")[1])
    for command in (["upload"], ["download"], ["link"]):
        code, _, err = console.run("artifacts", *command, "job-one")
        assert code == 2 and "SUPABASE_URL" in err


def test_a_job_that_runs_or_has_no_adapter_has_nothing_to_upload(
    console: Console, fresh_supabase: SupabaseRig
) -> None:
    console.environment.update(fresh_supabase.environment())
    assert console.start("job-one", "steps=500 delay=0.1")[0] == 0
    code, _, err = console.run("artifacts", "upload", "job-one")
    assert code == 2 and "go up once it has ended" in err
    assert console.run("cancel", "job-one")[0] == 0
    until(lambda: "cancelled" in console.run("jobs")[1])
    code, _, err = console.run("artifacts", "upload", "job-one")
    assert code == 2 and "no verified adapter" in err
