"""A job that trains from a quantised copy is the same job."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest

from agent.run_directory import AttemptDirectory
from agent.trainer.adapters.verify import verify_adapter
from agent.trainer.event_writer import EventWriter
from agent.trainer.model_cache import trainers_copy
from agent.trainer.model_cache.trainers_copy import choose, chosen
from agent.trainer.models.base_model import load_quantized
from shared import events
from shared.errors import DownloadFailed
from shared.manifest import verify
from shared.model_cache import CachePlace
from tests.agent.trainer.conftest import MakeAttempt, attempts_in
from tests.agent.trainer.in_process import train_here
from tests.agent.trainer.model_cache.conftest import MODEL
from tests.agent.trainer.running import metrics_by_step, read_events
from tests.fakes.hub import COMMIT, FakeHub

pytestmark = pytest.mark.filterwarnings("ignore")  # Inside transformers and peft, on each other.


@pytest.fixture(scope="module")
def from_copy(
    tmp_path_factory: pytest.TempPathFactory, models_directory: Path, short_dataset: Path
) -> AttemptDirectory:
    """The job of `trained` once more, from a copy; for reading only."""
    make = attempts_in(tmp_path_factory.mktemp("from-copy"), models_directory, short_dataset)
    attempt = make("trained-job", model_cache="on")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert train_here(attempt, patch) is None
    return attempt


def test_the_losses_are_bit_for_bit_those_without_a_copy(
    trained: AttemptDirectory, from_copy: AttemptDirectory
) -> None:
    theirs, ours = metrics_by_step(trained), metrics_by_step(from_copy)
    assert ours
    assert {step: item.loss for step, item in ours.items()} == {
        step: item.loss for step, item in theirs.items()
    }
    weights = "adapter_model.safetensors"
    assert (from_copy.adapter_path / weights).read_bytes() == (
        trained.adapter_path / weights
    ).read_bytes()


def test_checkpoints_of_both_are_the_same_run(
    trained: AttemptDirectory, from_copy: AttemptDirectory
) -> None:
    fingerprints = [
        verify(max(attempt.checkpoints_path.glob("step-*")))["fingerprint"]
        for attempt in (trained, from_copy)
    ]
    assert fingerprints[0] == fingerprints[1]


def test_the_adapter_names_the_model_and_never_the_copy(from_copy: AttemptDirectory) -> None:
    assert verify(from_copy.adapter_path)["base_model"] == "tiny"
    config = json.loads((from_copy.adapter_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    written = [path for path in from_copy.adapter_path.iterdir() if path.suffix in (".json", ".md")]
    assert not [
        path for path in written if "nf4.partial" in path.read_text() or "/nf4" in path.read_text()
    ]


def test_the_adapter_verifies_against_the_copy_and_without_it(
    from_copy: AttemptDirectory, tmp_path: Path
) -> None:
    attempt = AttemptDirectory(Path(shutil.copytree(from_copy.path, tmp_path / "attempts" / "1")))
    for _ in range(2):
        verify_adapter(attempt, EventWriter(attempt.trainer_events_path))
        told = read_events(attempt)[-1]
        assert isinstance(told, events.AdapterVerified)
        assert told.logit_difference == 0
        attempt.base_model_path.unlink(missing_ok=True)


def test_it_is_told_where_the_model_comes_from(from_copy: AttemptDirectory) -> None:
    told = read_events(from_copy)
    whats = [event.what for event in told if isinstance(event, events.ModelProgress)]
    assert whats[0] == "quantising"
    assert whats[-1] == "loading"
    [facts] = [event for event in told if isinstance(event, events.RunFacts)]
    assert facts.quantized_copy.startswith("local-")
    assert any(
        isinstance(event, events.LogLine) and "is kept for the next job" in event.message
        for event in told
    )


def choose_for(attempt: AttemptDirectory) -> CachePlace | None:
    """What the trainer chooses, before anything is loaded."""
    spec = attempt.read_spec()
    choose(attempt, spec, EventWriter(attempt.trainer_events_path))
    copy = chosen(attempt, spec).copy
    if copy is None:
        return None
    assert copy.is_dir()
    return CachePlace(spec.models_directory, spec.job.base_model, copy.parent.name)


@pytest.mark.parametrize("values", [{}, {"model_cache": "off"}])
def test_of_models_of_ours_none_is_kept_unasked(make_attempt: MakeAttempt, values) -> None:
    assert choose_for(make_attempt(**values)) is None


def test_nor_of_small_ones_of_the_hub(hub: FakeHub, make_attempt: MakeAttempt) -> None:
    assert choose_for(make_attempt(base_model=MODEL)) is None
    assert not any("/resolve/" in path for path in hub.asked)


def test_of_large_ones_it_is(
    hub: FakeHub, make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainers_copy, "SMALLEST_AUTO_BYTES", 1_000_000)
    attempt = make_attempt(base_model=MODEL)
    place = choose_for(attempt)
    assert place is not None
    assert place.commit == COMMIT
    stages = [e.activity for e in read_events(attempt) if isinstance(e, events.StageEntered)]
    assert stages == ["downloading model"]
    location = chosen(attempt, attempt.read_spec())
    assert load_quantized(location).name_or_path == MODEL


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_without_an_answer_of_the_hub_the_copy_serves(
    hub: FakeHub, make_attempt: MakeAttempt, tmp_path: Path, revision: str | None
) -> None:
    values = {"base_model": MODEL, "model_cache": "on", "base_model_revision": revision}
    place = choose_for(make_attempt("job-one", **values))
    assert place is not None
    hub.fault = refuse_all
    attempt = make_attempt("job-two", **values)
    assert choose_for(attempt) == place
    [line] = [event for event in read_events(attempt) if isinstance(event, events.LogLine)]
    assert COMMIT in line.message
    other = make_attempt("job-three", **{**values, "base_model_revision": "v2"})
    with pytest.raises(DownloadFailed):
        choose_for(other)
    shutil.rmtree(place.folder.parent)


def refuse_all(request, path: str) -> bool:
    """The hub is out of order."""
    request.refuse(503)
    return True
