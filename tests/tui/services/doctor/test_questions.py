"""The program that runs on the other machine, run here as it is run there."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import nvidia_smi
from tests.remote.sshd import free_port
from tui.services.doctor.answers import Answers, program, read_answers

CANARY = "canary-password"


def ask(directory: Path, *arguments: str, **environ: str) -> tuple[Answers, str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), **environ}
    done = subprocess.run(
        [sys.executable, "-", *arguments],
        input=program(),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return read_answers(done.stdout), done.stdout + done.stderr


@pytest.fixture
def index() -> Iterator[int]:
    """A package index that wants a password; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(401 if self.path == "/simple/pip/" else 500)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_disk_memory_and_time_are_told_of_a_place_that_is_not_there_yet(tmp_path: Path) -> None:
    before = time.time()
    told, _ = ask(tmp_path, "not/there/yet")

    assert told.disk_path == str(tmp_path)
    assert 0 < (told.disk_free_bytes or 0) <= (told.disk_total_bytes or 0)
    assert 0 < (told.memory_available_bytes or 0) <= (told.memory_total_bytes or 0)
    assert before <= told.time <= time.time()
    assert (told.index, told.is_writable) == ("", True)
    assert list(tmp_path.iterdir()) == []


def test_the_report_of_nvidia_smi_comes_whole(tmp_path: Path) -> None:
    script = nvidia_smi.printing(nvidia_smi.TWO_H100)
    directory = nvidia_smi.install(tmp_path / "bin", script)

    told, _ = ask(tmp_path, ".", PATH=f"{directory}:{os.environ['PATH']}")

    assert (told.gpu_report or "").strip() == nvidia_smi.TWO_H100.strip()


@pytest.mark.parametrize(
    ("script", "trouble"),
    [
        ("echo 'NVIDIA-SMI has failed' >&2; exit 9", "nvidia-smi said: NVIDIA-SMI has failed"),
        ("exec yes nonsense", "nvidia-smi said: nonsense"),
    ],
)
def test_an_nvidia_smi_that_fails_is_told(tmp_path: Path, script: str, trouble: str) -> None:
    directory = nvidia_smi.install(tmp_path / "bin", script)

    told, _ = ask(tmp_path, ".", PATH=f"{directory}:{os.environ['PATH']}")

    assert told.gpu_trouble.startswith(trouble)


def test_an_index_that_wants_a_password_is_there_and_the_password_stays(
    tmp_path: Path, index: int
) -> None:
    url = f"http://someone:{CANARY}@127.0.0.1:{index}/simple/"
    told, everything = ask(tmp_path, ".", "--index", PIP_INDEX_URL=url)

    assert (told.index, told.index_trouble) == ("127.0.0.1", "")
    assert CANARY not in everything


def test_an_index_out_of_order_or_out_of_reach_is_told(tmp_path: Path, index: int) -> None:
    for port, trouble in ((index, "answers 500"), (free_port(), "Connection refused")):
        told, _ = ask(tmp_path, ".", "--index", PIP_INDEX_URL=f"http://127.0.0.1:{port}/other")
        assert told.index_trouble == trouble
