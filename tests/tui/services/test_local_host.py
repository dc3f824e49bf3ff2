from __future__ import annotations

import stat
from pathlib import Path

import pytest

from shared.errors import AgentUnreachable, InvalidDataset, ProtocolError
from shared.job_spec import DatasetReference
from tests.tui.fake_agent import FakeAgent
from tui.services.hosts.local import LocalHost


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "train.JSON"
    path.write_bytes(b'{"conversations": []}')
    return path


async def test_a_dataset_is_stored_under_its_content_and_for_this_user_only(
    tmp_path: Path, dataset: Path
) -> None:
    reference = DatasetReference.of(dataset)

    await LocalHost(tmp_path / "root").put_dataset(dataset, reference)

    stored = tmp_path / "root" / "datasets" / f"{reference.sha256}.json"
    assert stored.read_bytes() == dataset.read_bytes()
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) & 0o077 == 0


async def test_a_dataset_that_changed_since_it_was_checked_is_refused(
    tmp_path: Path, dataset: Path
) -> None:
    reference = DatasetReference.of(dataset)
    dataset.write_bytes(b'{"conversations": [1]}')
    host = LocalHost(tmp_path / "root")

    with pytest.raises(InvalidDataset, match="has changed"):
        await host.put_dataset(dataset, reference)

    assert list((tmp_path / "root" / "datasets").iterdir()) == []


async def test_a_dataset_that_is_there_is_kept_and_a_damaged_one_replaced(
    tmp_path: Path, dataset: Path
) -> None:
    reference, host = DatasetReference.of(dataset), LocalHost(tmp_path / "root")
    await host.put_dataset(dataset, reference)
    stored = host.root / "datasets" / reference.stored_name
    before = stored.stat().st_ino

    await host.put_dataset(dataset, reference)
    assert stored.stat().st_ino == before

    stored.write_bytes(b"half")
    await host.put_dataset(dataset, reference)
    assert stored.read_bytes() == dataset.read_bytes()


async def test_an_agent_that_answers_is_not_started_again(agent: FakeAgent) -> None:
    async with agent.running():
        health = await LocalHost(agent.root).ensure_agent()

    assert health.root == str(agent.root)


async def test_a_root_without_an_agent_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(AgentUnreachable, match="no agent runs"):
        LocalHost(tmp_path / "nothing").client()


async def test_an_address_file_that_makes_no_sense_is_a_protocol_error(tmp_path: Path) -> None:
    (tmp_path / "agent.json").write_text("{}")

    with pytest.raises(ProtocolError, match=r"agent\.json"):
        LocalHost(tmp_path).client()
