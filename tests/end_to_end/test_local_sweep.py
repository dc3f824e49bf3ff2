"""A sweep of four real tiny trainings on this machine, whose command is killed on the way."""

from __future__ import annotations

import csv
import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.dataset.sample import SAMPLE_JSON
from shared.events import Metrics
from tests.end_to_end.road import SETTINGS, Road, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def road(tmp_path: Path) -> Iterator[Road]:
    document = json.loads(SAMPLE_JSON.read_text(encoding="utf-8"))
    document["conversations"].sort(key=lambda item: len(json.dumps(item)))
    document["conversations"] = document["conversations"][:5]
    dataset = tmp_path / "short.json"
    dataset.write_text(json.dumps(document), encoding="utf-8")
    made = Road(tmp_path, dataset)
    yield made
    made.end_agent()


def steps(road: Road, job_id: str) -> int:
    return sum(isinstance(record.event, Metrics) for record in road.journal(job_id))


@pytest.mark.timeout(1200)
def test_four_real_jobs_are_trained_one_after_the_other_and_compared(
    road: Road, tmp_path: Path
) -> None:
    fixed = [f"--set={name}={value}" for name, value in SETTINGS.items() if name != "learning_rate"]
    grid = ("--vary", "learning_rate=1e-3,5e-3", "--vary", "lora_r=4,8")
    typed = ("sweep", "--dataset", road.dataset, *grid, *fixed, "--sweep-id", "grid")
    killed = road.brightrun(*typed)
    wait_until(lambda: steps(road, "grid-01") >= 1)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()

    code, out, err = road.run(*typed, timeout_s=1000)

    assert code == 0, f"{out}\n{err}"
    assert "grid had been started before; nothing was changed." in out
    begun = {n: road.journal(f"grid-0{n}")[0].time for n in (1, 2, 3, 4)}
    ended = {n: road.journal(f"grid-0{n}")[-1].time for n in (1, 2, 3, 4)}
    assert all(ended[n] <= begun[n + 1] for n in (1, 2, 3)), "one after the other"
    report = tmp_path / "out.csv"
    code, out, err = road.run("sweep", "show", "grid", "--json", "--csv", report)
    assert code == 0, err
    jobs = json.loads(out)["jobs"]
    assert {job["status"] for job in jobs} == {"completed"}
    assert {(job["lr"], job["r"]) for job in jobs} == {
        ("1e-3", "4"),
        ("1e-3", "8"),
        ("5e-3", "4"),
        ("5e-3", "8"),
    }
    held_out = [job["eval_loss"] for job in jobs]
    assert held_out == sorted(held_out)
    assert jobs[0]["best"] and jobs[0]["lr"] == "5e-3"
    assert all(job["eval_loss"] < job["eval_loss_before"] for job in jobs)
    assert len({job["eval_loss_before"] for job in jobs}) == 1, "the same split and the same seed"
    assert [row["job_id"] for row in csv.DictReader(io.StringIO(report.read_text()))] == [
        job["job_id"] for job in jobs
    ]
    code, out, err = road.run("sweep", "show", "grid", "--curves")
    assert code == 0, err
    assert "loss smoothed (0.6) against step" in out and "held-out loss against step" in out
