from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shared import manifest
from shared.errors import IntegrityError

FILES = {"weights.bin": b"\x00\x01" * 500, "empty.bin": b"", "config.json": b"{}"}


def write_files(partial: Path) -> dict[str, Any]:
    for name, content in FILES.items():
        (partial / name).write_bytes(content)
    return {"step": 3}


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    directory = tmp_path / "runs" / "checkpoint-3"
    manifest.commit(directory, write_files)
    return directory


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_what_is_committed_verifies_and_keeps_its_facts(committed: Path) -> None:
    found = manifest.verify(committed)
    assert found["step"] == 3
    assert set(found["files"]) == set(FILES)
    assert names(committed) == {*FILES, "manifest.json"}
    assert names(committed.parent) == {"checkpoint-3"}


def test_the_hash_of_the_manifest_names_the_content(committed: Path, tmp_path: Path) -> None:
    manifest.commit(tmp_path / "same", write_files)
    assert manifest.manifest_sha256(tmp_path / "same") == manifest.manifest_sha256(committed)
    manifest.commit(tmp_path / "other", lambda partial: {"step": 4})
    assert manifest.manifest_sha256(tmp_path / "other") != manifest.manifest_sha256(committed)


def test_a_committed_directory_is_replaced_whole(committed: Path) -> None:
    def write_one(partial: Path) -> dict[str, Any]:
        (partial / "only.txt").write_text("new")
        return {"step": 4}

    assert manifest.commit(committed, write_one) == manifest.verify(committed)
    assert names(committed) == {"only.txt", "manifest.json"}
    assert names(committed.parent) == {"checkpoint-3"}


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
def test_an_error_in_the_middle_leaves_nothing_new(
    committed: Path, error: type[BaseException]
) -> None:
    def fail(partial: Path) -> dict[str, Any]:
        write_files(partial)
        raise error

    for directory in (committed, committed.with_name("checkpoint-4")):
        with pytest.raises(error):
            manifest.commit(directory, fail)
    assert names(committed.parent) == {"checkpoint-3"}
    assert manifest.verify(committed)["step"] == 3


def test_facts_that_are_no_json_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        manifest.commit(tmp_path / "checkpoint-1", lambda partial: {"step": object()})
    assert names(tmp_path) == set()


@pytest.mark.parametrize("suffix", [manifest.PARTIAL_SUFFIX, manifest.REPLACED_SUFFIX])
def test_what_an_earlier_kill_left_is_swept_away(committed: Path, suffix: str) -> None:
    left = committed.with_name(committed.name + suffix)
    left.mkdir()
    (left / "half.bin").write_bytes(b"half")
    manifest.commit(committed, write_files)
    assert names(committed.parent) == {"checkpoint-3"}
    assert set(manifest.verify(committed)["files"]) == set(FILES)


# --- verifying --------------------------------------------------------------------------------


def flip(path: Path, position: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def test_a_missing_file_is_named(committed: Path) -> None:
    (committed / "empty.bin").unlink()
    with pytest.raises(IntegrityError, match=r"files do not match the manifest: empty\.bin"):
        manifest.verify(committed)


def test_an_extra_file_is_named(committed: Path) -> None:
    (committed / "extra.bin").touch()
    with pytest.raises(IntegrityError, match=r"files do not match the manifest: extra\.bin"):
        manifest.verify(committed)


def test_a_truncated_file_is_named_with_both_sizes(committed: Path) -> None:
    os.truncate(committed / "weights.bin", 999)
    with pytest.raises(IntegrityError, match=r"weights\.bin: is 999 bytes, the manifest says 1000"):
        manifest.verify(committed)


@pytest.mark.parametrize("position", [0, 500, 999])
def test_a_flipped_bit_is_found(committed: Path, position: int) -> None:
    flip(committed / "weights.bin", position)
    with pytest.raises(IntegrityError, match=r"weights\.bin: its content does not match"):
        manifest.verify(committed)


def test_without_a_manifest_nothing_counts(committed: Path) -> None:
    (committed / "manifest.json").unlink()
    for directory in (committed, committed / "weights.bin", committed / "nowhere"):
        with pytest.raises(IntegrityError, match=r"no readable manifest\.json"):
            manifest.verify(directory)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "{}", '{"files": []}', '{"files": {"a": 3}}', '{"files": {"a": {}}}'],
)
def test_a_manifest_of_another_shape_is_refused(committed: Path, text: str) -> None:
    (committed / "manifest.json").write_text(text)
    with pytest.raises(IntegrityError, match=r"manifest\.json: is not a manifest"):
        manifest.verify(committed)


def test_a_manifest_with_a_flipped_bit_is_refused_or_says_another_hash(committed: Path) -> None:
    path = committed / "manifest.json"
    name = manifest.manifest_sha256(committed)
    for position in range(path.stat().st_size):
        flip(path, position, bit=position % 8)
        with suppress(IntegrityError):  # a fact may be flipped and the manifest still hold
            manifest.verify(committed)
        assert manifest.manifest_sha256(committed) != name
        flip(path, position, bit=position % 8)
    manifest.verify(committed)


# --- one file ---------------------------------------------------------------------------------


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    manifest.write_atomic(path, "old")
    with path.open() as reader:
        manifest.write_atomic(path, "new ½")
        assert reader.read() == "old"
    assert path.read_text(encoding="utf-8") == "new ½"
    assert names(tmp_path) == {"state.json"}


# --- killed, and out of space -----------------------------------------------------------------

COMMIT_FOR_EVER = """
import itertools, os, sys
from pathlib import Path
from shared.manifest import commit

folder = Path(sys.argv[1])

def write_files(partial):
    for name in ("a", "b", "c", "d"):
        (partial / name).write_bytes(os.urandom(20_000))
    return {}

for number in itertools.count():
    commit(folder / f"checkpoint-{os.getpid()}-{number}", write_files)
    commit(folder / "latest", write_files)
    print(number, flush=True)
"""

KILL_AT_EACH_ACTION = """
import itertools, os, signal, sys
from pathlib import Path
from shared.manifest import commit

def write_files(partial):
    for name in ("a", "b"):
        (partial / name).write_text(str(os.getpid()))
    return {}

def commit_twice_but_die(folder, last_action):
    actions = itertools.count()

    def on_action(name, arguments):  # opening, renaming, removing ... anything that is audited
        if name.startswith(("open", "os.", "shutil.")) and next(actions) == last_action:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(on_action)
    commit(folder / "latest", write_files)
    commit(folder / "latest", write_files)

for last_action in itertools.count():
    folder = Path(sys.argv[1]) / str(last_action)
    folder.mkdir()
    pid = os.fork()
    if pid == 0:
        commit_twice_but_die(folder, last_action)
        os._exit(0)
    if os.waitpid(pid, 0)[1] == 0:
        print(last_action)
        break
"""

FILL_THE_DISK = """
import resource, sys
from pathlib import Path
from shared.manifest import commit, write_atomic

folder = Path(sys.argv[1])

def write_files(size_bytes):
    def write(partial):
        (partial / "weights.bin").write_bytes(bytes(size_bytes))
        return {"size_bytes": size_bytes}
    return write

commit(folder / "latest", write_files(1_000))
write_atomic(folder / "state.json", "old")
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for attempt in (
    lambda: commit(folder / "latest", write_files(1_000_000)),
    lambda: write_atomic(folder / "state.json", "new" * 50_000),
):
    try:
        attempt()
    except OSError as error:
        print(type(error).__name__)
"""


def complete(folder: Path) -> list[Path]:
    """The directories that claim to be whole."""
    unfinished = (manifest.PARTIAL_SUFFIX, manifest.REPLACED_SUFFIX)
    return [path for path in folder.iterdir() if path.suffix not in unfinished]


def test_a_kill_at_any_moment_leaves_only_directories_that_verify(tmp_path: Path) -> None:
    moments = random.Random(20_261_122)
    for _ in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", COMMIT_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE
        )
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"0\n"
            time.sleep(moments.uniform(0, 0.06))  # the moment of the kill is what is tried
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
        for directory in complete(tmp_path):
            assert set(manifest.verify(directory)["files"]) == {"a", "b", "c", "d"}
    assert len(complete(tmp_path)) >= 12


def test_a_kill_at_any_action_leaves_a_directory_that_verifies_or_none(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", KILL_AT_EACH_ACTION, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert child.stderr == ""
    action_count = int(child.stdout)
    assert action_count > 20
    for folder in tmp_path.iterdir():
        for directory in complete(folder):
            assert set(manifest.verify(directory)["files"]) == {"a", "b"}
    assert manifest.verify(tmp_path / str(action_count) / "latest")


def test_a_disk_that_is_full_leaves_what_was_committed(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (child.stderr, child.stdout) == ("", "OSError\nOSError\n")
    assert manifest.verify(tmp_path / "latest")["size_bytes"] == 1_000
    assert (tmp_path / "state.json").read_text() == "old"
    assert not (tmp_path / "latest.partial").exists()
