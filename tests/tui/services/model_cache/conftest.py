"""A tiny model in several files on a hub of our own, and the directories of a user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.hub import FakeHub, FakeRepo, running_hub

MODEL = "org/tiny"

_SPLIT = """
import sys
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoTokenizer
from agent.trainer.models.tiny_llama import ensure_tiny_llama
built = ensure_tiny_llama(Path(sys.argv[1]))
model = AutoModelForCausalLM.from_pretrained(built, dtype="bfloat16")
model.save_pretrained(sys.argv[2], max_shard_size="2500KB")
AutoTokenizer.from_pretrained(built).save_pretrained(sys.argv[2])
"""


@pytest.fixture(scope="session")
def sharded_tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama in several safetensors files, as large models are published."""
    directory = tmp_path_factory.mktemp("sharded")
    arguments = [str(directory / "models"), str(directory / "tiny")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [sys.executable, "-P", "-c", _SPLIT, *arguments], env=environment, check=True, timeout=120
    )
    return directory / "tiny"


@pytest.fixture
def hub(sharded_tiny: Path) -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.repos[MODEL] = FakeRepo.of(sharded_tiny)
    with running_hub(hub):
        yield hub


@pytest.fixture
def environment(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home; every process that is started asks this hub."""
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)
    values = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "hf"),
        "BRIGHTRUN_HOME": str(tmp_path / "home"),
        "OMP_NUM_THREADS": "1",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "home"
