"""The whole road on this machine, from dataset to adapter, and what may go wrong on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import events
from shared.dataset.sample import SAMPLE_JSON
from shared.events import decode_trainer_record
from shared.manifest import verify
from tests.end_to_end.road import Road, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    document = json.loads(SAMPLE_JSON.read_text(encoding="utf-8"))
    document["conversations"].sort(key=lambda item: len(json.dumps(item)))
    document["conversations"] = document["conversations"][:7]
    path = tmp_path_factory.mktemp("road")
    dataset = path / "short.json"
    dataset.write_text(json.dumps(document), encoding="utf-8")
    made = Road(path, dataset)
    yield made
    made.end_agent()


@pytest.fixture(scope="module")
def finished(road: Road) -> str:
    """A job that nothing happened to."""
    code, out, err = road.start("untroubled", "--watch")
    assert code == 0, f"{out}\n{err}"
    return "untroubled"


def metrics(road: Road, job_id: str, attempts: int = 1) -> dict[int, tuple[object, ...]]:
    """The numbers of each step, of the latest attempt that took it."""
    return {
        event.step: (event.loss, event.grad_norm, event.learning_rate, event.tokens)
        for number in range(1, attempts + 1)
        for event in (record.event for record in road.journal(job_id, number))
        if isinstance(event, events.Metrics)
    }


def adapter_bytes(road: Road, job_id: str, attempt: int = 1) -> bytes:
    path = road.attempt(job_id, attempt).adapter_path / "adapter_model.safetensors"
    return path.read_bytes()


def has_step(road: Road, job_id: str, step: int) -> bool:
    return step in metrics(road, job_id)


def test_the_loss_falls_and_a_fresh_process_has_loaded_the_adapter(
    road: Road, finished: str
) -> None:
    losses = [numbers[0] for _, numbers in sorted(metrics(road, finished).items())]
    assert losses[-1] < losses[0] - 0.2  # type: ignore[operator]
    happened = [record.event for record in road.journal(finished)]
    held_out = [event.loss for event in happened if isinstance(event, events.Evaluation)]
    assert len(held_out) == 2
    assert held_out[1] < held_out[0]  # type: ignore[operator]
    (verified,) = (event for event in happened if isinstance(event, events.AdapterVerified))
    assert verified.generated_tokens > 0
    shown = road.show(finished)
    assert shown["status"] == "completed"


def test_the_adapter_comes_home_with_every_hash_intact(
    road: Road, finished: str, tmp_path: Path
) -> None:
    code, out, err = road.run("fetch", finished, "--to", tmp_path)
    assert code == 0, err
    fetched = Path(out.strip()) / "adapter"
    assert verify(fetched)["base_model"] == "tiny"
    assert (fetched / "adapter_model.safetensors").read_bytes() == adapter_bytes(road, finished)


def test_the_same_start_again_changes_nothing(road: Road, finished: str) -> None:
    before = road.journal(finished)
    code, out, err = road.start(finished)
    assert code == 0, err
    assert "nothing was changed" in out
    assert road.journal(finished) == before


@pytest.mark.timeout(240)
def test_a_killed_trainer_is_resumed_by_the_agent_to_the_same_bits(
    road: Road, finished: str
) -> None:
    assert road.start("trainer-killed")[0] == 0
    wait_until(lambda: has_step(road, "trainer-killed", 3))
    os.kill(road.trainer("trainer-killed").pid, signal.SIGKILL)
    code, out, err = road.run("watch", "trainer-killed")
    assert code == 0, f"{out}\n{err}"
    assert isinstance(road.journal("trainer-killed", 1)[-1].event, events.AttemptEnded)
    assert metrics(road, "trainer-killed", attempts=2) == metrics(road, finished)
    assert adapter_bytes(road, "trainer-killed", attempt=2) == adapter_bytes(road, finished)


@pytest.mark.timeout(240)
def test_a_killed_agent_is_replaced_and_the_trainer_adopted(road: Road, finished: str) -> None:
    assert road.start("agent-killed")[0] == 0
    wait_until(lambda: has_step(road, "agent-killed", 2))
    trainer, agent_pid = road.trainer("agent-killed"), road.agent_pid()
    os.kill(agent_pid, signal.SIGKILL)
    # The trainer goes on alone, and its events wait in its file.
    trainer_file = road.attempt("agent-killed").trainer_events_path
    size = trainer_file.stat().st_size
    wait_until(lambda: trainer_file.stat().st_size > size)

    code, out, err = road.run("watch", "agent-killed")
    assert code == 0, f"{out}\n{err}"
    assert road.agent_pid() != agent_pid
    assert road.trainer("agent-killed") == trainer
    assert not road.attempt("agent-killed", 2).path.exists()
    records = road.journal("agent-killed")
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    adopted = [r.event for r in records if isinstance(r.event, events.TrainerAdopted)]
    assert [event.trainer_pid for event in adopted] == [trainer.pid]
    written = [decode_trainer_record(line).event for line in trainer_file.read_bytes().splitlines()]
    copied = [r.event for r in records if not isinstance(r.event, AGENT_EVENTS)]
    assert copied == written
    assert metrics(road, "agent-killed") == metrics(road, finished)
    assert adapter_bytes(road, "agent-killed") == adapter_bytes(road, finished)


AGENT_EVENTS = (
    events.AttemptStarted,
    events.TrainerStarted,
    events.TrainerAdopted,
    events.CancelRequested,
    events.AttemptEnded,
)


@pytest.mark.timeout(240)
def test_killing_the_watcher_does_not_touch_the_job_and_cancel_ends_it(road: Road) -> None:
    assert road.start("watched", "--set", "num_epochs=20")[0] == 0
    watcher = road.brightrun("watch", "watched")
    wait_until(lambda: has_step(road, "watched", 2))
    watcher.kill()
    watcher.communicate()
    trainer = road.trainer("watched")
    wait_until(lambda: has_step(road, "watched", 4))
    assert road.trainer("watched") == trainer

    assert road.run("cancel", "watched", "--reason", "seen enough")[0] == 0
    code, out, _ = road.run("watch", "watched")
    assert code == 3, out
    assert not Path(f"/proc/{trainer.pid}").exists()
    assert road.show("watched")["status"] == "cancelled"


def test_a_dry_run_stops_after_the_first_step(road: Road) -> None:
    code, out, err = road.start("rehearsal", "--dry-run", "--watch")
    assert code == 0, f"{out}\n{err}"
    assert list(metrics(road, "rehearsal")) == [1]
    assert road.run("fetch", "rehearsal")[0] != 0


def test_a_job_file_runs_with_no_console_anywhere(
    road: Road, finished: str, tmp_path: Path
) -> None:
    job_file = tmp_path / "job.toml"
    job_file.write_text(
        f'job_id = "headless"\nname = "no console"\ndataset = "{road.dataset}"\n'
        "[hyperparameters]\nnum_epochs = 1\nbatch_size = 1\n"
        "gradient_accumulation_steps = 2\nlearning_rate = 5e-3\n"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "agent.cli", "run", job_file, "--root", tmp_path / "root"],
        env=road.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    adapter = tmp_path / "root" / "jobs" / "headless" / "attempts" / "1" / "adapter"
    verify(adapter)
    assert (adapter / "adapter_model.safetensors").read_bytes() == adapter_bytes(road, finished)
