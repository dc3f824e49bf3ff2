"""The quantised copy of a model from the hub: made once, and whatever happens on the way."""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import hf_hub_download

from agent.trainer.model_cache import copies
from agent.trainer.model_cache import fill as filling
from agent.trainer.model_cache.download import Patience
from agent.trainer.model_cache.fill import ensure_copy
from agent.trainer.model_cache.trainers_copy import recipe, source_of
from shared.errors import DownloadFailed, InvalidBaseModel, NotEnoughDisk
from shared.events import ModelProgress
from shared.manifest import verify
from shared.model_cache import PROGRESS_FILE, CachePlace, Filled, decode_cache_record
from tests.agent.trainer.model_cache.conftest import (
    CHUNK_BYTES,
    MODEL,
    SMALL_CHUNKS,
    Fill,
    command,
    hub_environment,
)
from tests.agent.trainer.running import wait_until
from tests.fakes.hub import COMMIT, FakeHub

FIRST, SECOND, THIRD = (f"model-0000{number}-of-00006.safetensors" for number in (1, 2, 3))


def weights_asked(hub: FakeHub) -> list[str]:
    """Names of the weights' files whose bytes were asked for."""
    return [
        path.rsplit("/")[-1]
        for path in hub.asked
        if path.startswith("GET ") and path.endswith(".safetensors")
    ]


def stall_at(share: float, file: str, times: int) -> tuple[Callable[[Any, str], bool], list[str]]:
    """A fault: so many answers for `file` end in silence at `share` of what was asked for."""
    ranges: list[str] = []

    def fault(request: Any, path: str) -> bool:
        if request.command != "GET" or not path.endswith(file):
            return False
        ranges.append(request.headers.get("Range", ""))
        if len(ranges) > times:
            return False
        content = request.served.repos[MODEL].files[file]
        begin = int(ranges[-1][6:].split("-")[0]) if ranges[-1] else 0
        request.send_response(206 if ranges[-1] else 200)
        request.send_header("Content-Length", str(len(content) - begin))
        if ranges[-1]:
            end = len(content) - 1
            request.send_header("Content-Range", f"bytes {begin}-{end}/{len(content)}")
        request.end_headers()
        request.wfile.write(content[begin : int(len(content) * share)])
        request.wfile.flush()
        time.sleep(1.5)
        request.close_connection = True
        return True

    return fault, ranges


def test_the_second_job_downloads_nothing(hub: FakeHub, fill: Fill) -> None:
    first = fill()
    assert not first.was_there
    assert verify(first.place.copy)["commit"] == COMMIT
    assert sorted(weights_asked(hub)) == sorted(set(weights_asked(hub)))
    assert first.downloaded_bytes >= sum(
        len(content)
        for name, content in hub.repos[MODEL].files.items()
        if name.endswith(".safetensors")
    )
    hub.asked.clear()
    second = fill()
    assert second.was_there
    assert not any("/resolve/" in path for path in hub.asked)


def test_what_was_downloaded_is_removed_again(hub: FakeHub, fill: Fill) -> None:
    place = fill().place
    assert sorted(path.name for path in place.folder.iterdir()) == ["nf4", "nf4.used"]
    assert not list(place.models.rglob("*.incomplete"))


def test_it_says_how_far_it_is(hub: FakeHub, fill: Fill) -> None:
    said: list[ModelProgress] = []
    fill(said)
    whats = [progress.what for progress in said]
    assert whats == sorted(whats, key=["downloading", "quantising"].index)
    weights = [file for file in hub.repos[MODEL].files if file.endswith(".safetensors")]
    total = sum(len(hub.repos[MODEL].files[name]) for name in weights)
    assert {progress.total_bytes for progress in said} == {total}
    done = [progress.done_bytes for progress in said if progress.what == "downloading"]
    assert done == sorted(done)


@pytest.mark.slow  # Starts the real command, which loads torch.
def test_a_kill_in_mid_download_goes_on_with_the_bytes_that_came(
    hub: FakeHub, fill: Fill, tmp_path: Path
) -> None:
    fault, ranges = stall_at(0.6, SECOND, times=100)
    hub.fault = fault
    place = CachePlace(tmp_path / "models", MODEL, COMMIT)
    begun = place.source / f"{SECOND}.incomplete"
    progress = place.partial / PROGRESS_FILE

    def is_in_the_middle() -> bool:
        has_first = progress.exists() and FIRST in progress.read_text()
        return has_first and begun.exists() and begun.stat().st_size > 1000

    kill_while(is_in_the_middle, hub, tmp_path)
    assert (place.partial / FIRST).exists()
    assert not place.copy.exists()
    came = begun.stat().st_size
    assert came % CHUNK_BYTES == 0
    hub.fault = None
    hub.asked.clear()
    ranges.clear()
    fault, ranges = stall_at(1.0, SECOND, times=0)
    hub.fault = fault
    verify(fill().place.copy)
    assert FIRST not in weights_asked(hub)
    assert ranges == [f"bytes={came}-"]


def kill_while(condition: Callable[[], bool], hub: FakeHub, tmp_path: Path) -> None:
    """Run the real command, and kill it once `condition` holds."""
    arguments = ["fill", "--models", str(tmp_path / "models"), "--model", MODEL]
    environment = hub_environment(hub, tmp_path / "hub")
    with command(*arguments, environment=environment, program=("-c", SMALL_CHUNKS)) as process:
        wait_until(lambda: condition() or process.poll() is not None, timeout_s=150)
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.slow  # Starts the real command, which loads torch.
def test_a_kill_between_two_files_keeps_what_verifies(
    hub: FakeHub, fill: Fill, tmp_path: Path
) -> None:
    place = CachePlace(tmp_path / "models", MODEL, COMMIT)
    fault, _ = stall_at(0.5, THIRD, times=100)
    hub.fault = fault
    progress = place.partial / PROGRESS_FILE
    kill_while(lambda: progress.exists() and SECOND in progress.read_text(), hub, tmp_path)
    hub.fault = None
    hub.asked.clear()
    # Written after the kill: half of a file that was recorded as whole.
    with (place.partial / FIRST).open("r+b") as file:
        file.truncate(1000)
    (place.partial / f"{THIRD}.4711.writing").write_bytes(b"half")
    verify(fill().place.copy)
    assert FIRST in weights_asked(hub)
    assert SECOND not in weights_asked(hub)


def test_a_damaged_file_alone_is_made_anew(hub: FakeHub, fill: Fill) -> None:
    place = fill().place
    before = (place.copy / SECOND).read_bytes()
    (place.copy / SECOND).write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    hub.asked.clear()
    mended = fill()
    assert mended.mended == (SECOND,)
    assert weights_asked(hub) == [SECOND]
    assert (place.copy / SECOND).read_bytes() == before
    verify(place.copy)
    assert not place.partial.exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors.index.json"])
def test_so_is_a_damaged_small_file(hub: FakeHub, fill: Fill, name: str) -> None:
    place = fill().place
    before = (place.copy / name).read_bytes()
    (place.copy / name).write_bytes(b"{}")
    hub.asked.clear()
    assert fill().mended == (name,)
    assert weights_asked(hub) == []
    assert (place.copy / name).read_bytes() == before
    verify(place.copy)


def test_without_its_manifest_all_of_a_copy_is_made_anew(hub: FakeHub, fill: Fill) -> None:
    place = fill().place
    (place.copy / "manifest.json").write_text('{"files": ')
    assert not fill().was_there
    verify(place.copy)


def test_a_stalled_download_goes_on_where_it_stands(hub: FakeHub, fill: Fill) -> None:
    fault, ranges = stall_at(0.6, SECOND, times=1)
    hub.fault = fault
    verify(fill().place.copy)
    size = len(hub.repos[MODEL].files[SECOND])
    came = int(size * 0.6) // CHUNK_BYTES * CHUNK_BYTES
    assert ranges == ["", f"bytes={came}-"]


def test_bytes_that_stop_coming_for_good_end_it_with_what_has_come(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)

    def refuse(request: Any, path: str) -> bool:
        if path.endswith(SECOND):
            request.refuse(503)
            return True
        return False

    hub.fault = refuse
    patience = Patience(first_pause_s=0.01, longest_pause_s=0.05, limit_s=0.2)
    source = source_of(MODEL, None, None)
    with pytest.raises(DownloadFailed, match=r"no more came for 0 s .*503"):
        ensure_copy(tmp_path / "models", source, recipe(), lambda progress: None, patience)
    place = CachePlace(tmp_path / "models", MODEL, COMMIT)
    assert (place.partial / FIRST).exists()
    assert not place.owner.exists()


def test_too_many_requests_are_waited_out(hub: FakeHub, fill: Fill) -> None:
    refused: list[float] = []

    def fault(request: Any, path: str) -> bool:
        if request.command == "GET" and path.endswith(FIRST) and len(refused) < 2:
            refused.append(time.monotonic())
            request.refuse(429, headers={"Retry-After": "0"})
            return True
        return False

    hub.fault = fault
    verify(fill().place.copy)
    assert len(refused) == 2


def test_bytes_that_are_not_the_hubs_are_fetched_again(hub: FakeHub, fill: Fill) -> None:
    wrong: list[str] = []

    def fault(request: Any, path: str) -> bool:
        if request.command == "GET" and path.endswith(FIRST) and not wrong:
            wrong.append(path)
            request.send(200, bytes(len(hub.repos[MODEL].files[FIRST])), {})
            return True
        return False

    hub.fault = fault
    verify(fill().place.copy)
    assert weights_asked(hub).count(FIRST) == 2


def test_a_gated_model_says_what_helps(hub: FakeHub, fill: Fill) -> None:
    hub.repos[MODEL].is_gated = True
    with pytest.raises(InvalidBaseModel, match=r"is gated: set HF_TOKEN"):
        fill()


def test_so_does_a_token_that_is_none(
    hub: FakeHub, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    with pytest.raises(InvalidBaseModel, match="HF_TOKEN") as caught:
        fill()
    assert "hf_canary" not in str(caught.value)


def test_a_revision_that_is_none_is_named(hub: FakeHub, fill: Fill) -> None:
    with pytest.raises(InvalidBaseModel, match="has no revision v9"):
        fill(revision="v9")


def test_a_full_disk_is_found_before_the_download(
    hub: FakeHub, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr(filling.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(NotEnoughDisk, match=r"needs .* more and 1\.0 MB are free"):
        fill()
    assert weights_asked(hub) == []


def test_so_is_one_that_fills_on_the_way(hub: FakeHub, fill: Fill, tmp_path: Path) -> None:
    """For real: no file may grow beyond a megabyte, which is what a quota says, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(NotEnoughDisk, match="models cache prune"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    place = CachePlace(tmp_path / "models", MODEL, COMMIT)
    assert not place.copy.exists()
    assert not place.source.exists()
    assert not place.owner.exists()
    verify(fill().place.copy)


def test_two_at_once_make_one_copy(hub: FakeHub, fill: Fill) -> None:
    ready: list[Any] = []
    threads = [threading.Thread(target=lambda: ready.append(fill())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(item.was_there for item in ready) == [False, True]
    assert len(weights_asked(hub)) == len(set(weights_asked(hub)))


def test_a_model_in_the_hubs_own_cache_is_not_downloaded_again(hub: FakeHub, fill: Fill) -> None:
    files = list(hub.repos[MODEL].files)
    paths = [Path(hf_hub_download(MODEL, name)) for name in files]
    hub.asked.clear()
    verify(fill().place.copy)
    assert weights_asked(hub) == []
    assert all(path.exists() for path in paths)


def test_one_that_is_damaged_there_is(hub: FakeHub, fill: Fill) -> None:
    path = Path(hf_hub_download(MODEL, FIRST))
    path.write_bytes(bytes(path.stat().st_size))
    hub.asked.clear()
    verify(fill().place.copy)
    assert FIRST in weights_asked(hub)


@pytest.mark.slow  # Starts the real command, which loads torch.
def test_the_command_tells_its_progress_and_its_result(hub: FakeHub, tmp_path: Path) -> None:
    arguments = ["fill", "--models", str(tmp_path / "models"), "--model", MODEL, "--json"]
    with command(*arguments, environment=hub_environment(hub, tmp_path / "hub")) as process:
        output, errors = process.communicate(timeout=150)
    assert process.returncode == 0, errors
    records = [decode_cache_record(line) for line in output.splitlines()]
    assert isinstance(records[0], ModelProgress)
    assert isinstance(records[-1], Filled)
    assert records[-1].model.is_complete
    assert records[-1].model.revision == COMMIT
    [entry] = copies.list_copies(tmp_path / "models")
    assert entry.base_model == MODEL
