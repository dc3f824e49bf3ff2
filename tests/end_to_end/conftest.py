"""The provider that all tests of rented machines share: installing an agent once is enough."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.rented import Rented, make_template, rented
from tests.fakes.runpod.provider import Settings
from tests.fakes.runpod.server import FakeRunpod, fake_runpod


@pytest.fixture(scope="session")
def rented_template() -> Iterator[tuple[FakeRunpod, Path]]:
    """A fake provider, and a volume on which the agent is installed."""
    # Not pytest's directory: the pods' user cannot look into it.
    with tempfile.TemporaryDirectory(prefix="rented-") as made:
        directory = Path(made)
        directory.chmod(0o755)
        with fake_runpod(directory=directory / "fake") as fake:
            template = directory / "template"
            with rented(directory / "user", fake, template) as user:
                asyncio.run(make_template(user))
            yield fake, template


@pytest.fixture
def user(rented_template: tuple[FakeRunpod, Path], tmp_path: Path) -> Iterator[Rented]:
    """A user of that provider, whose earlier faults are forgotten."""
    fake, template = rented_template
    fake.faults.clear()
    fake.restore_key()
    fake.set_balance(1000.0)
    fake.catalogue.restock()
    for name, value in vars(Settings()).items():
        setattr(fake.settings, name, value)
    with rented(tmp_path / "user", fake, template) as made:
        yield made
    for pod in fake.pods:
        fake.act(pod, "terminate")


@pytest.fixture
def on_paper(tmp_path: Path) -> Iterator[Rented]:
    """A user of a provider whose pods are records: they come up, and nothing runs on them."""
    with (
        fake_runpod(processes=False) as fake,
        rented(tmp_path / "user", fake, tmp_path / "no-template") as made,
    ):
        yield made
