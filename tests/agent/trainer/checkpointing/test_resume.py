"""Which checkpoint an attempt goes on from, and what it says about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from agent.run_directory import AgentRoot, AttemptDirectory
from agent.trainer.checkpointing import checkpoints
from agent.trainer.checkpointing.resume import find_checkpoint
from agent.trainer.checkpointing.snapshot import Snapshot
from shared import events
from shared.errors import CheckpointRejected
from shared.job_spec import CheckpointReference, DatasetReference, JobSpec, build_job_spec
from shared.manifest import manifest_sha256
from tests.agent.trainer.conftest import MakeAttempt, attempts_in
from tests.agent.trainer.in_process import train_here
from tests.agent.trainer.running import finish_of, next_attempt, read_events

FACTS: dict[str, Any] = {
    "fingerprint": {"base_model": "tiny", "versions": {"torch": "2.13.0", "peft": "0.21.2"}},
    "conditions": {"attention": "sdpa", "processes": 1},
}
TOTAL_STEPS = 9


class Told(list[events.Event]):
    def write(self, event: events.Event) -> None:
        self.append(event)

    @property
    def lines(self) -> list[str]:
        return [item.message for item in self if isinstance(item, events.LogLine)]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def root(tmp_path: Path) -> AgentRoot:
    return AgentRoot(tmp_path)


def attempt_of(root: AgentRoot, number: int = 1, job_id: str = "a-job") -> AttemptDirectory:
    attempt = root.job(job_id).attempt(number)
    attempt.path.mkdir(parents=True, exist_ok=True)
    return attempt


def save(attempt: AttemptDirectory, step: int, **facts: Any) -> Path:
    snapshot = Snapshot(step, {"weight": torch.zeros(2)}, {}, {}, {}, {"global_step": step})
    return checkpoints.save(attempt.checkpoints_path, snapshot, {**FACTS, **facts})


def job(**values: Any) -> JobSpec:
    dataset = DatasetReference(file_name="a.json", sha256="a" * 64, size_bytes=1)
    return build_job_spec(dataset, {"job_id": "a-job", "name": "a job", **values}, where="test")


def find(attempt: AttemptDirectory, told: Told, spec: JobSpec | None = None) -> Path | None:
    return find_checkpoint(attempt, spec or job(), FACTS, TOTAL_STEPS, told)


OTHER_VERSIONS = {
    "fingerprint": {"base_model": "tiny", "versions": {"torch": "2.12.0", "peft": "0.21.2"}}
}


def test_without_any_checkpoint_it_begins_with_the_base_model(root: AgentRoot, told: Told) -> None:
    assert find(attempt_of(root), told) is None
    assert told == []


def test_the_newest_of_all_attempts_is_taken_in_silence(root: AgentRoot, told: Told) -> None:
    save(attempt_of(root, 1), 7)
    newest = save(attempt_of(root, 2), 5)
    assert find(attempt_of(root, 3), told) == newest
    assert told == []


def test_damage_is_passed_over_across_attempts_and_told(root: AgentRoot, told: Told) -> None:
    good = save(attempt_of(root, 1), 3)
    for step in (4, 5):
        (save(attempt_of(root, 2), step) / "optimizer.safetensors").unlink()
    assert find(attempt_of(root, 3), told) == good
    refused = [item for item in told if isinstance(item, events.CheckpointRefused)]
    assert [Path(item.path).name for item in refused] == ["step-00000005", "step-00000004"]
    assert all("optimizer.safetensors" in item.reason for item in refused)


def test_what_a_kill_left_half_written_is_cleared_and_told(root: AgentRoot, told: Told) -> None:
    good = save(attempt_of(root, 1), 3)
    good.with_name("step-00000004.partial").mkdir()
    assert find(attempt_of(root, 2), told) == good
    assert told.lines == [
        "removed what was half written when the trainer was killed: "
        "step-00000004.partial of attempt 1"
    ]
    assert [entry.name for entry in good.parent.iterdir()] == [good.name]


def test_a_sound_checkpoint_of_another_run_stops_the_job_with_the_difference(
    root: AgentRoot, told: Told
) -> None:
    directory = save(attempt_of(root, 1), 3, **OTHER_VERSIONS)
    with pytest.raises(CheckpointRejected, match=r"versions\.torch: 2\.12\.0 there, 2\.13\.0 here"):
        find(attempt_of(root, 2), told)
    assert directory.exists()


def test_with_force_it_goes_on_and_the_difference_is_in_the_log(
    root: AgentRoot, told: Told
) -> None:
    directory = save(attempt_of(root, 1), 3, **OTHER_VERSIONS)
    assert find(attempt_of(root, 2), told, job(force_resume=True)) == directory
    (line,) = told.lines
    assert "versions.torch: 2.12.0 there, 2.13.0 here" in line


def test_other_sums_are_told_and_no_reason_to_stop(root: AgentRoot, told: Told) -> None:
    directory = save(attempt_of(root, 1), 3, conditions={"attention": "sdpa", "processes": 2})
    assert find(attempt_of(root, 2), told) == directory
    (line,) = told.lines
    assert line.endswith("goes on, but not bit for bit: processes: 2 there, 1 here")


def test_a_checkpoint_beyond_the_last_step_is_refused(root: AgentRoot, told: Told) -> None:
    save(attempt_of(root, 1), TOTAL_STEPS)
    assert find(attempt_of(root, 2), told) is not None
    save(attempt_of(root, 2), TOTAL_STEPS + 1)
    with pytest.raises(CheckpointRejected, match="is of step 10, and this run has 9"):
        find(attempt_of(root, 3), told)


def reference_to(directory: Path, job_id: str) -> CheckpointReference:
    step = int(directory.name.removeprefix("step-"))
    return CheckpointReference(job_id=job_id, step=step, manifest_sha256=manifest_sha256(directory))


def test_a_job_begins_at_the_checkpoint_of_another_one_until_it_has_its_own(
    root: AgentRoot, told: Told
) -> None:
    theirs = save(attempt_of(root, 2, "another-job"), 4)
    spec = job(resume_from=reference_to(theirs, "another-job"))
    assert find(attempt_of(root, 1), told, spec) == theirs
    own = save(attempt_of(root, 1), 5)
    assert find(attempt_of(root, 2), told, spec) == own


def test_a_checkpoint_that_was_asked_for_and_is_gone_stops_the_job(
    root: AgentRoot, told: Told
) -> None:
    theirs = save(attempt_of(root, 2, "another-job"), 4)
    spec = job(resume_from=reference_to(theirs, "another-job"))
    (theirs / "manifest.json").unlink()
    with pytest.raises(CheckpointRejected, match=r"step 4 of job another-job .* not on this host"):
        find(attempt_of(root, 1), told, spec)


# --- the trainer itself ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def make(
    tmp_path_factory: pytest.TempPathFactory, models_directory: Path, short_dataset: Path
) -> MakeAttempt:
    return attempts_in(tmp_path_factory.mktemp("resume"), models_directory, short_dataset)


@pytest.fixture(scope="module")
def trained(make: MakeAttempt) -> AttemptDirectory:
    """A job that has gone to its end, with its last three checkpoints."""
    attempt = make("trained")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert train_here(attempt, monkeypatch) is None
    return attempt


pytestmark = [
    # Raised inside transformers and peft, about each other.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def test_a_job_that_begins_at_the_checkpoint_of_another_one_ends_with_the_same_adapter(
    trained: AttemptDirectory, make: MakeAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, second, *_ = sorted(trained.checkpoints_path.glob("step-*"), reverse=True)
    attempt = make("resumed", resume_from=reference_to(second, "trained"))
    assert train_here(attempt, monkeypatch) is None
    (resumed,) = [item for item in read_events(attempt) if isinstance(item, events.Resumed)]
    assert resumed.path == str(second)
    ours = attempt.adapter_path / "adapter_model.safetensors"
    theirs = trained.adapter_path / "adapter_model.safetensors"
    assert ours.read_bytes() == theirs.read_bytes()
    assert newest.exists() and second.exists()
    assert not [item for item in read_events(attempt) if isinstance(item, events.Evaluation)][1:]


def test_a_trainer_refuses_the_checkpoint_of_another_template_and_says_how_to_go_on(
    trained: AttemptDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = max(trained.checkpoints_path.glob("step-*"))
    path = newest / "manifest.json"
    honest = path.read_text()
    stated = json.loads(honest)
    stated["fingerprint"]["chat_template_sha256"] = "0" * 64
    path.write_text(json.dumps(stated))
    attempt = next_attempt(trained)
    assert train_here(attempt, monkeypatch) == 3
    assert finish_of(attempt).stop_reason == "checkpoint_mismatch"
    first, diff, advice = finish_of(attempt).detail.splitlines()
    assert first == f"{newest} belongs to another run:"
    assert diff.startswith("  chat_template_sha256: 000000000000... there, ")
    assert "brightrun resume JOB --force" in advice
