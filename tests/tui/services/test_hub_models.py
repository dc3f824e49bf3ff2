"""What is wrong with a model of the hub is found before a machine is rented for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from shared.errors import InvalidBaseModel
from tests.fakes.hub import COMMIT, FakeHub, FakeRepo, HubRequest, ask_hub, running_hub
from tui.services.hub_models import require_hub_model

CONFIG = b'{"model_type": "llama"}'
SHARDS = {
    "model-00001-of-00002.safetensors": b"a" * 300,
    "model-00002-of-00002.safetensors": b"b" * 200,
    "model.safetensors.index.json": b"{}",
}
OTHERS = {"original/consolidated.safetensors": b"c" * 500, "adapter_model.safetensors": b"d" * 9}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    hub = FakeHub()
    branches = {"main": COMMIT, "v1": "1" * 40}
    hub.repos["org/model"] = FakeRepo({"config.json": CONFIG, **SHARDS, **OTHERS}, branches)
    hub.repos["org/gated"] = FakeRepo({"config.json": CONFIG, **SHARDS}, is_gated=True)
    hub.repos["org/pickled"] = FakeRepo({"config.json": CONFIG, "pytorch_model.bin": b"x"})
    hub.repos["org/gguf"] = FakeRepo({"config.json": CONFIG, "model-Q4_K_M.gguf": b"x"})
    hub.repos["org/data"] = FakeRepo({"README.md": b"x"})
    hub.readers, hub.strangers = {"hf_reader"}, {"hf_stranger"}
    with running_hub(hub):
        ask_hub(monkeypatch, hub.endpoint, tmp_path)
        yield hub


def refusal(model: str, revision: str | None = None) -> str:
    with pytest.raises(InvalidBaseModel) as raised:
        require_hub_model(model, revision)
    return str(raised.value)


@pytest.mark.parametrize(
    ("revision", "commit"),
    [(None, COMMIT), ("main", COMMIT), ("v1", "1" * 40), ("1" * 40, "1" * 40)],
)
def test_a_revision_is_resolved_to_its_commit_with_the_sizes_of_what_is_loaded(
    hub: FakeHub, revision: str | None, commit: str
) -> None:
    found = require_hub_model("org/model", revision)
    assert found is not None and found.commit == commit
    assert (found.weight_bytes, found.largest_shard_bytes) == (500, 300)
    assert [each for each in hub.asked if each.startswith("GET") and "/resolve/" in each] == []


def test_a_wrong_revision(hub: FakeHub) -> None:
    told = refusal("org/model", "v9")
    assert told.startswith("org/model has no revision v9: name a branch, a tag or a commit of http")
    assert told.endswith("Nothing was rented.")


def test_a_gated_model_without_a_token(hub: FakeHub) -> None:
    told = refusal("org/gated")
    assert told.startswith("org/gated is gated: set HF_TOKEN to the token of an account that has")
    assert f"licence at {hub.endpoint}/org/gated" in told


def test_a_gated_model_with_a_token_that_has_no_access(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_stranger")
    told = refusal("org/gated")
    assert told.startswith("org/gated is gated, and the account of your HF_TOKEN has no access")
    assert "hf_stranger" not in told


def test_a_gated_model_with_a_token_that_has_access(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    found = require_hub_model("org/gated", None)
    assert found is not None and found.commit == COMMIT


def test_a_token_that_the_hub_does_not_know(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    told = refusal("org/model")
    assert told.startswith("the hub does not accept the token in HF_TOKEN: make a new one at http")
    assert "hf_old" not in told


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("org/missing", "the hub has no org/missing, or shows it only with the right HF_TOKEN"),
        ("org/pickled", "org/pickled has no weights in safetensors, only pickled (.bin) ones"),
        ("org/gguf", "org/gguf has no weights in safetensors, only GGUF ones"),
        ("org/data", "org/data has no config.json: it is no model that transformers can load"),
    ],
)
def test_what_is_not_there_or_cannot_be_read(hub: FakeHub, model: str, told: str) -> None:
    assert refusal(model).startswith(told)


@pytest.mark.parametrize("model", ["tiny", "/models/llama", "org/model"])
def test_a_hub_that_is_not_there_says_nothing_against_a_model(
    monkeypatch: pytest.MonkeyPatch, hub: FakeHub, model: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert require_hub_model(model, None) is None
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    ask_hub(monkeypatch, "http://127.0.0.1:9", Path("/nowhere"))
    assert require_hub_model(model, None) is None


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_is_overloaded_says_nothing_against_a_model(hub: FakeHub, status: int) -> None:
    def refuse(request: HubRequest, path: str) -> bool:
        request.refuse(status)
        return True

    hub.fault = refuse
    assert require_hub_model("org/model", None) is None
