"""The real script in the real bash, against an HTTP server on loopback."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.pod_start import PodStart, render_start_command, render_start_script
from tests.fakes.pod_api import PodApi, serve_pod_api

COMMANDS = frozenset(
    ("bash", "ln", "sed", "mkdir", "base64", "stat", "sleep", "cat", "mv", "rm", "tr", "grep")
) | {"curl", "python3"}
KEY = 'rpa_canary"\\key'


@pytest.fixture
def api() -> Iterator[PodApi]:
    with serve_pod_api() as served:
        yield served


class Container:
    """One container: its command runs in a process group of its own and is killed as a whole."""

    def __init__(self, path: Path, api: PodApi) -> None:
        self.path = path
        self.output = path / "output"
        image_start = path / "start image.sh"
        image_start.write_text("echo the image has started as $$\nexec sleep 600\n")
        self.start = PodStart(
            rental=2,
            base=str(path / "the volume's base"),
            start_script=str(image_start),
            run_directory=str(path / "run $(x)"),
            silence_limit_s=600,
            lifetime_s=600,
            tick_s=0.1,
            pause_s=0.1,
        )
        self.environment = {
            "PATH": os.environ["PATH"],
            "RUNPOD_POD_ID": "pod1",
            "RUNPOD_API_KEY": KEY,
            "RUNPOD_API_BASE_URL": f"{api.url}/v2/",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def run_directory(self) -> Path:
        return Path(self.start.run_directory)

    @property
    def root(self) -> Path:
        return Path(self.start.base) / "agent"

    def run(self, **changes: object) -> subprocess.Popen[bytes]:
        self.start = replace(self.start, **changes)  # type: ignore[arg-type]
        # As a provider's shell reads it.
        command = "exec bash -c " + shlex.quote(render_start_command(self.start))
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def kill(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def said(self, text: str) -> Callable[[], bool]:
        return lambda: text in self.output.read_text()

    def path_without(self, *names: str) -> str:
        """A directory with all commands that the script needs, but for these."""
        place = self.path / "bin"
        place.mkdir()
        for name in sorted(COMMANDS - set(names)):
            # A python that is a script of some version manager needs its own environment.
            found = str(Path(sys.executable).resolve()) if name == "python3" else shutil.which(name)
            assert found is not None
            (place / name).symlink_to(found)
        return str(place)


@pytest.fixture
def container(tmp_path: Path, api: PodApi) -> Iterator[Container]:
    made = Container(tmp_path, api)
    yield made
    made.kill()


def until(condition: Callable[[], bool], timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition has not come about"
        time.sleep(0.02)


def test_the_images_own_start_is_the_main_process(container: Container) -> None:
    process = container.run()
    until(container.said(f"the image has started as {process.pid}\n"))


def test_what_the_pod_is_lies_private_in_the_run_directory_alone(
    container: Container, api: PodApi
) -> None:
    container.run()
    path = container.run_directory / "pod.json"
    until(container.said("the image has started"))
    told = {"rental": 2, "pod_id": "pod1", "api_key": KEY, "api": api.url}
    assert json.loads(path.read_bytes()) == told
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for file in Path(container.start.base).rglob("*"):
        assert file.is_dir() or b"canary" not in file.read_bytes()
    assert "canary" not in container.output.read_text()


def test_the_machine_that_may_write_is_named_on_the_volume(container: Container) -> None:
    container.run()
    until((container.root / "machine.json").exists)
    told = json.loads((container.root / "machine.json").read_bytes())
    assert told == {"rental": 2, "run_directory": container.start.run_directory}


def test_a_machine_takes_over_from_an_earlier_one(container: Container) -> None:
    container.root.mkdir(parents=True)
    (container.root / "machine.json").write_text('{"rental": 1, "run_directory": "/x"}')
    container.run()
    until(lambda: b'"rental": 2' in (container.root / "machine.json").read_bytes())


def test_a_machine_that_another_has_taken_over_from_ends_and_overwrites_nothing(
    container: Container, api: PodApi
) -> None:
    container.root.mkdir(parents=True)
    (container.root / "machine.json").write_text('{"rental": 10, "run_directory": "/x"}')
    container.run()
    until(lambda: len(api.requests) > 0)
    assert api.asked[0] == "DELETE /v2/pods/pod1"
    assert "machine 10 has taken over from machine 2" in container.output.read_text()
    assert b'"rental": 10' in (container.root / "machine.json").read_bytes()


def test_one_that_is_taken_over_from_while_it_runs_ends(container: Container, api: PodApi) -> None:
    container.run()
    until((container.root / "machine.json").exists)
    (container.root / "machine.json").write_text('{"rental": 3}')
    until(lambda: api.asked[:1] == ["DELETE /v2/pods/pod1"])


def test_jobs_of_one_volume_have_a_fence_each_and_share_what_is_large(
    container: Container, api: PodApi
) -> None:
    volume = container.path / "volume"
    for job, rental in (("job-one", 3), ("job-two", 1)):
        base = volume / "jobs" / job
        container.run(rental=rental, base=str(base), shared=str(volume))
        until((base / "agent" / "machine.json").exists)
    (volume / "hub" / "weights").write_text("141 GB")
    assert (volume / "jobs" / "job-two" / "hub" / "weights").read_text() == "141 GB"
    (volume / "jobs" / "job-one" / "models" / "copy").write_text("39.5 GB")
    assert (volume / "jobs" / "job-two" / "models" / "copy").read_text() == "39.5 GB"
    (volume / "jobs" / "job-one" / "install.lock").touch()
    assert (volume / "install.lock").is_file()
    moved = volume.rename(container.path / "mounted elsewhere")
    assert (moved / "jobs" / "job-one" / "hub" / "weights").is_file()
    assert api.requests == []


def test_silence_ends_the_pod_with_its_own_key(container: Container, api: PodApi) -> None:
    container.run(silence_limit_s=1)
    until(container.said("terminate: accepted (204)"))
    assert api.requests[0] == ("DELETE", "/v2/pods/pod1", f"Bearer {KEY}", b"")
    # An answer is no proof: as long as the pod lives it goes on asking.
    until(lambda: len(api.requests) >= 2)


def test_a_heartbeat_keeps_the_pod(container: Container, api: PodApi) -> None:
    container.run(silence_limit_s=2)
    until((container.run_directory / "began").exists)
    for number in range(16):
        (container.run_directory / "heartbeat").touch()
        # A clock that jumps to and fro changes nothing.
        jump = 600 * (-1) ** number
        os.utime(container.run_directory / "heartbeat", (time.time() + jump,) * 2)
        time.sleep(0.2)
    assert api.requests == []
    until(lambda: len(api.requests) > 0)


def test_time_in_which_the_pod_was_frozen_is_no_silence(container: Container, api: PodApi) -> None:
    process = container.run(silence_limit_s=2)
    until((container.run_directory / "began").exists)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(3)
    os.killpg(process.pid, signal.SIGCONT)
    (container.run_directory / "heartbeat").touch()
    time.sleep(1)
    assert api.requests == []


def test_its_life_is_over_at_last_whoever_touches_the_heartbeat(
    container: Container, api: PodApi
) -> None:
    container.run(lifetime_s=2)

    def ended() -> bool:
        if container.run_directory.exists():
            (container.run_directory / "heartbeat").touch()
        return api.asked[:1] == ["DELETE /v2/pods/pod1"]

    until(ended)
    assert "it has run for 2 s" in container.output.read_text()


def test_a_container_that_starts_again_goes_on_with_the_life_it_had(container: Container) -> None:
    container.run()
    until(lambda: (container.root / "began-2").exists())
    first = (container.run_directory / "began").read_text()
    container.kill()
    shutil.rmtree(container.run_directory)  # A tmpfs goes with its container.
    time.sleep(1.1)
    container.run()
    until((container.root / "machine.json").exists)
    began = container.run_directory / "began"
    until(lambda: began.exists() and began.read_text() == first)


@pytest.mark.parametrize("missing", ["python3", "curl"])
def test_where_termination_is_refused_the_pod_is_stopped(
    container: Container, api: PodApi, missing: str
) -> None:
    container.environment["PATH"] = container.path_without(missing)
    api.answers["DELETE"] = 403
    container.run(silence_limit_s=1)
    until(container.said("stop: accepted (200)"))
    assert api.asked[:2] == [
        "DELETE /v2/pods/pod1",
        'POST /v2/pods/pod1/action {"action":"stop"}',
    ]
    assert {authorization for _, _, authorization, _ in api.requests} == {f"Bearer {KEY}"}
    assert "terminate: refused (403)" in container.output.read_text()


def test_where_everything_is_refused_it_says_so_and_tries_for_ever(
    container: Container, api: PodApi
) -> None:
    api.answers = {"DELETE": 401, "POST": 401}
    container.run(silence_limit_s=1)
    until(lambda: api.asked.count("DELETE /v2/pods/pod1") >= 2)
    assert "stop: refused (401); trying again in 0.1 s" in container.output.read_text()


def test_without_any_client_it_says_what_is_missing(container: Container) -> None:
    container.environment["PATH"] = container.path_without("curl", "python3")
    container.run(silence_limit_s=1)
    until(container.said("neither curl nor python3 is here"))


def test_an_api_that_is_not_there_is_tried_again(container: Container) -> None:
    container.environment["RUNPOD_API_BASE_URL"] = "http://127.0.0.1:9"
    container.run(silence_limit_s=1)
    until(lambda: container.output.read_text().count("terminate: refused") >= 2)


def test_the_dead_man_watches_where_the_image_has_no_start(
    container: Container, api: PodApi
) -> None:
    process = container.run(start_script="/nowhere/start.sh", silence_limit_s=2)
    until(container.said("/nowhere/start.sh is not there"))
    until(lambda: len(api.requests) > 0)
    assert process.poll() is None


def test_an_agent_that_does_not_run_is_started(container: Container) -> None:
    container.root.mkdir(parents=True)
    starter = container.root / "start-agent"
    starter.write_text('#!/bin/sh\necho started >> "$(dirname "$0")/starts"\n')
    starter.chmod(0o700)
    container.run()
    starts = container.root / "starts"
    until(lambda: starts.exists() and len(starts.read_text().splitlines()) >= 2)


def test_an_agent_that_runs_is_left_alone(container: Container) -> None:
    container.root.mkdir(parents=True)
    starter = container.root / "start-agent"
    starter.write_text('#!/bin/sh\necho started >> "$(dirname "$0")/starts"\n')
    starter.chmod(0o700)
    pretended = subprocess.Popen(["bash", "-c", "exec -a 'agent.cli serve' sleep 600"])
    try:
        (container.root / "agent.json").write_text(f'{{"socket":"s","pid":{pretended.pid}}}')
        container.run()
        until((container.root / "machine.json").exists)
        time.sleep(0.5)
        assert not (container.root / "starts").exists()
        pretended.kill()
        pretended.wait()
        until((container.root / "starts").exists)
    finally:
        pretended.kill()
        pretended.wait()


def test_no_command_line_shows_the_key(container: Container, api: PodApi) -> None:
    container.environment["PATH"] = container.path_without("curl")
    spy = container.path / "bin" / "curl"
    shown = container.path / "shown"
    spy.write_text(
        f'#!/bin/bash\nprintf "%s " "$@" >> {shlex.quote(str(shown))}\n'
        f'exec {shutil.which("curl")} "$@"\n'
    )
    spy.chmod(0o700)
    container.run(silence_limit_s=1)
    until(lambda: len(api.requests) > 0)
    assert "canary" not in shown.read_text()


def test_the_command_holds_no_quote_that_a_provider_could_trip_over() -> None:
    start = PodStart(1, "/workspace/brightrun", "/start.sh", "/dev/shm/brightrun/m", 900, 90_000)
    command = render_start_command(start)
    assert not set(command) & set("'\"\\$`\n")
    assert len(command) < 8000


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_the_script_is_clean() -> None:
    start = PodStart(1, "/workspace/brightrun", "/start.sh", "/dev/shm/brightrun/m", 900, 90_000)
    checked = subprocess.run(
        ["shellcheck", "-s", "bash", "-"],
        input=render_start_script(start).encode(),
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout.decode()
