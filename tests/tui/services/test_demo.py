from __future__ import annotations

from pathlib import Path

import pytest

from shared.dataset.sample import SAMPLE_JSON
from shared.errors import InvalidDataset
from shared.store.store import Store
from tests.tui.fake_agent import FakeAgent
from tui.config import Config
from tui.demo import DemoOptions
from tui.services.demo import start_demo
from tui.services.hosts.hosts import Hosts
from tui.services.mirror import Mirror
from tui.services.session import Session


@pytest.fixture
def session(store: Store, agent: FakeAgent) -> Session:
    config = Config(agent.root, agent.root)
    hosts = Hosts(config, store.rentals)
    return Session(config, store, hosts, Mirror(store, hosts.get))


async def test_the_demo_trains_the_sample_on_the_tiny_model(
    session: Session, agent: FakeAgent
) -> None:
    async with agent.running():
        job = await start_demo(session, DemoOptions())

    assert SAMPLE_JSON.is_file()
    assert job.job_id in agent.started
    assert (job.spec.base_model, job.spec.dataset.file_name) == ("tiny", SAMPLE_JSON.name)
    assert job.spec.hyperparameters.learning_rate == 5e-3


async def test_a_file_that_cannot_be_trained_starts_nothing(
    session: Session, agent: FakeAgent, tmp_path: Path
) -> None:
    path = tmp_path / "empty.json"
    path.write_text('{"training_file_metadata": {}, "conversations": []}')
    async with agent.running():
        with pytest.raises(InvalidDataset, match="nothing in this file can be trained"):
            await start_demo(session, DemoOptions(path))

    assert agent.started == {}
