from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from shared.errors import AdapterRejected, InvalidInput, ProtocolError
from tests.tui.fake_agent import TOKEN, FakeAgent
from tui.services.agent_client import AgentAddress, AgentClient
from tui.services.artifacts import fetch_adapter

WEIGHTS = bytes(range(256)) * 400


@pytest.fixture
def adapter(agent: FakeAgent) -> FakeAgent:
    """An agent that offers a small adapter."""
    agent.files = _adapter({"adapter_config.json": b"{}", "adapter_model.safetensors": WEIGHTS})
    return agent


def _adapter(files: dict[str, bytes]) -> dict[str, bytes]:
    described = {
        name: {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    manifest = json.dumps({"files": described}).encode()
    return {
        f"adapter/{name}": content for name, content in {**files, "manifest.json": manifest}.items()
    }


async def fetch(agent: FakeAgent, destination: Path, manifest_sha256: str | None = None) -> Path:
    async with agent.running(), AgentClient(AgentAddress(agent.socket_path, TOKEN)) as client:
        return await fetch_adapter(client, "job-one", destination, manifest_sha256=manifest_sha256)


def partial(destination: Path, name: str = "adapter_model.safetensors.part") -> Path:
    path = destination / "job-one.partial" / "adapter" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


async def test_an_adapter_arrives_whole_and_under_its_name(
    adapter: FakeAgent, tmp_path: Path
) -> None:
    digest = hashlib.sha256(adapter.files["adapter/manifest.json"]).hexdigest()

    directory = await fetch(adapter, tmp_path / "out", digest)

    assert directory == tmp_path / "out" / "job-one"
    found = {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }
    assert found == adapter.files
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["job-one"]


async def test_a_download_that_was_cut_off_goes_on_where_it_stopped(
    adapter: FakeAgent, tmp_path: Path
) -> None:
    partial(tmp_path).write_bytes(WEIGHTS[:1000])

    directory = await fetch(adapter, tmp_path)

    assert adapter.ranges == [None, "bytes=1000-", None]
    assert (directory / "adapter" / "adapter_model.safetensors").read_bytes() == WEIGHTS


async def test_files_that_are_complete_are_not_fetched_again(
    adapter: FakeAgent, tmp_path: Path
) -> None:
    partial(tmp_path, "adapter_model.safetensors").write_bytes(WEIGHTS)

    await fetch(adapter, tmp_path)

    assert len(adapter.ranges) == 2


async def test_an_agent_that_ignores_the_range_sends_the_file_from_its_beginning(
    adapter: FakeAgent, tmp_path: Path
) -> None:
    adapter.ignores_range = True
    partial(tmp_path).write_bytes(WEIGHTS[:1000])

    directory = await fetch(adapter, tmp_path)

    assert (directory / "adapter" / "adapter_model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("left", [b"other bytes", WEIGHTS[1:] + b"x", WEIGHTS + b"and more"])
async def test_what_is_left_of_another_adapter_is_fetched_anew(
    adapter: FakeAgent, tmp_path: Path, left: bytes
) -> None:
    partial(tmp_path).write_bytes(left)

    directory = await fetch(adapter, tmp_path)

    assert (directory / "adapter" / "adapter_model.safetensors").read_bytes() == WEIGHTS


async def test_bytes_that_do_not_match_their_hash_are_refused(
    adapter: FakeAgent, tmp_path: Path
) -> None:
    adapter.listed = {"adapter/adapter_model.safetensors": {"sha256": "0" * 64}}

    with pytest.raises(AdapterRejected, match="adapter_model"):
        await fetch(adapter, tmp_path)

    assert not (tmp_path / "job-one").exists()
    assert not partial(tmp_path).exists()


async def test_more_bytes_than_announced_are_refused(adapter: FakeAgent, tmp_path: Path) -> None:
    adapter.listed = {"adapter/adapter_model.safetensors": {"size_bytes": 10}}

    with pytest.raises(AdapterRejected):
        await fetch(adapter, tmp_path)


async def test_a_manifest_that_tells_of_other_files_is_refused(
    adapter: FakeAgent, tmp_path: Path
) -> None:
    adapter.files["adapter/extra.bin"] = b"not in the manifest"

    with pytest.raises(AdapterRejected, match=r"extra\.bin"):
        await fetch(adapter, tmp_path)

    assert list(tmp_path.glob("job-one*")) == []


async def test_an_adapter_other_than_the_journals_is_refused(
    adapter: FakeAgent, tmp_path: Path
) -> None:
    with pytest.raises(AdapterRejected, match="journal"):
        await fetch(adapter, tmp_path, "f" * 64)


@pytest.mark.parametrize(
    "path",
    [
        "../outside",
        "adapter/../../outside",
        "/etc/outside",
        "adapter//outside",
        "./outside",
        "~/outside",
        "adapter\\..\\outside",
        "adapter/\x1b]0;title\x07",
    ],
)
async def test_a_path_that_leaves_the_directory_is_refused(
    adapter: FakeAgent, tmp_path: Path, path: str
) -> None:
    adapter.files[path] = b"gotcha"

    with pytest.raises(AdapterRejected, match="leave the directory"):
        await fetch(adapter, tmp_path / "out")

    assert adapter.ranges == []
    assert not (tmp_path / "out").exists()


async def test_a_list_without_a_manifest_is_refused(adapter: FakeAgent, tmp_path: Path) -> None:
    del adapter.files["adapter/manifest.json"]

    with pytest.raises(ProtocolError):
        await fetch(adapter, tmp_path)


async def test_an_adapter_that_is_here_is_left_as_it_is(adapter: FakeAgent, tmp_path: Path) -> None:
    directory = await fetch(adapter, tmp_path)
    adapter.ranges.clear()

    assert await fetch(adapter, tmp_path) == directory
    assert adapter.ranges == []

    (directory / "adapter" / "adapter_config.json").write_bytes(b"[]")
    with pytest.raises(InvalidInput, match="is there already"):
        await fetch(adapter, tmp_path)


async def test_a_place_that_cannot_be_written_is_named(adapter: FakeAgent, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(InvalidInput, match="--to"):
        await fetch(adapter, tmp_path / "file")
