"""A hub on loopback that serves the tiny model in several files, to this process and to others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants

from agent.trainer.model_cache.fill import Ready, ensure_copy
from agent.trainer.model_cache.trainers_copy import recipe, source_of
from agent.trainer.models.tiny_llama import build_model, build_tokenizer
from shared.events import ModelProgress
from tests.fakes.hub import FakeHub, FakeRepo, running_hub

MODEL = "org/tiny"
CHUNK_BYTES = 65_536
"""What the hub's client writes at once: 10 MB, where files have gigabytes."""

SMALL_CHUNKS = f"""
import sys
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = {CHUNK_BYTES}
from agent.trainer.model_cache.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="session")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model in six files of weights; for reading only."""
    directory = tmp_path_factory.mktemp("sharded")
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(directory)
    build_model(tokenizer).save_pretrained(directory, max_shard_size="2MB")
    assert len(list(directory.glob("*.safetensors"))) >= 4
    return directory


@pytest.fixture
def hub(sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """`org/tiny`, which this process asks as well as any that has `hub_environment`."""
    with running_hub(FakeHub()) as hub:
        hub.repos[MODEL] = FakeRepo.of(sharded)
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub" / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK_BYTES)
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 5)
        yield hub


def hub_environment(hub: FakeHub, home: Path) -> dict[str, str]:
    """For a process that asks this hub."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return {**kept, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}


@contextmanager
def command(
    *arguments: str,
    environment: dict[str, str] | None = None,
    program: Sequence[str] = ("-m", "agent.trainer.model_cache"),
) -> Iterator[subprocess.Popen[str]]:
    """`python -m agent.trainer.model_cache`, killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-P", *program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment or dict(os.environ),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


Fill = Callable[..., Ready]


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """`fill()`: the copy of `org/tiny` below `tmp_path/models`, made in this process."""

    def run(said: list[ModelProgress] | None = None, revision: str | None = None) -> Ready:
        source = source_of(MODEL, revision, None)
        say = (lambda progress: None) if said is None else said.append
        return ensure_copy(tmp_path / "models", source, recipe(), say)

    return run


@pytest.fixture
def filled(tmp_path: Path, sharded: Path) -> Ready:
    """A complete copy of the model in a directory."""
    directory = tmp_path / "source"
    shutil.copytree(sharded, directory)
    source = source_of("tiny", None, directory)
    return ensure_copy(tmp_path / "models", source, recipe(), lambda progress: None)
