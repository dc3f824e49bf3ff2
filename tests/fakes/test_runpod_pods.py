"""The fake's pods as real containers: SSH, logs, nvidia-smi, volumes, and what is left of them."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import httpx
import pytest

from tests.fakes.runpod.clients import client, gpu_order, until
from tests.fakes.runpod.control import Control
from tests.fakes.runpod.server import FakeRunpod, fake_runpod
from tests.remote.remote_box import needs_a_box
from tests.remote.sshd import make_key

pytestmark = needs_a_box


@pytest.fixture(scope="module")
def one_fake() -> Iterator[FakeRunpod]:
    with fake_runpod() as fake:
        yield fake


@pytest.fixture
def fake(one_fake: FakeRunpod) -> Iterator[FakeRunpod]:
    yield one_fake
    for pod in one_fake.pods:
        one_fake.lose_pod(pod.id, "gone")
    assert one_fake.violations == []


@pytest.fixture
def api(fake: FakeRunpod) -> Iterator[httpx.Client]:
    with client(fake) as api:
        yield api


class Box:
    """A pod that runs, and the way in."""

    def __init__(self, fake: FakeRunpod, api: httpx.Client, path: Path, **fields: object) -> None:
        self.fake, self.api, self.key = fake, api, path / "id"
        if not self.key.exists():
            make_key(self.key)
        order = gpu_order(**fields)
        public_key = self.key.with_suffix(".pub").read_text()
        order["env"] = {"PUBLIC_KEY": public_key, **order.get("env", {})}
        answer = api.post("/v2/pods", json=order)
        assert answer.status_code == 201, answer.text
        self.id = str(answer.json()["id"])
        self.wait()

    def wait(self) -> None:
        until(lambda: self.shown()["status"] == "RUNNING")

    def shown(self) -> dict[str, object]:
        found: dict[str, object] = self.api.get(f"/v2/pods/{self.id}").json()
        return found

    def printed(self, text: str) -> str:
        """The first line of the container's output that holds the text."""
        lines = self.fake.pod(self.id).log
        until(lambda: any(text in line.line for line in lines if line.source == "container"))
        return next(line.line for line in lines if text in line.line)

    async def ssh(self, command: str) -> str:
        """Log in with the pod's key, and to the host key that the log shows only."""
        self.printed("ready to use")
        fingerprint = self.printed("(ED25519)").split()[1]
        seen: list[str] = []

        class Pinned(asyncssh.SSHClient):
            def validate_host_public_key(
                self, host: str, addr: str, port: int, key: asyncssh.SSHKey
            ) -> bool:
                seen.append(key.get_fingerprint())
                return seen[-1] == fingerprint

        direct = self.shown()["ssh"]["direct"]  # type: ignore[index]
        until(lambda: answers(direct["port"]))
        async with asyncssh.connect(
            direct["host"],
            direct["port"],
            username=direct["username"],
            client_keys=[str(self.key)],
            known_hosts=([], [], []),
            server_host_key_algs=["ssh-ed25519"],
            client_factory=Pinned,
            config=None,
        ) as connection:
            result = await connection.run(command, check=True)
        assert seen == [fingerprint]
        return str(result.stdout)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


async def test_the_pods_key_logs_in_to_the_host_key_of_the_log(
    fake: FakeRunpod, api: httpx.Client, tmp_path: Path
) -> None:
    box = Box(fake, api, tmp_path, env={"SECRET": "of PID 1"})
    found = await box.ssh("pwd; echo ${SECRET-none}; nvidia-smi -q -x; nvidia-smi; tty -s || id -u")
    home, secret, report = found.split("\n")[:3]
    assert home == str(fake.directory / "home")
    assert secret == "none"  # the pod's environment is not that of SSH sessions
    assert "<product_name>NVIDIA H100 PCIe</product_name>" in report
    assert "0" not in found.split("\n")[3:]


async def test_a_stranger_is_not_let_in(
    fake: FakeRunpod, api: httpx.Client, tmp_path: Path
) -> None:
    box = Box(fake, api, tmp_path)
    box.printed("ready to use")
    box.key.unlink()
    make_key(box.key)
    with pytest.raises(asyncssh.PermissionDenied):
        await box.ssh("true")


async def test_the_machine_can_be_another_than_ordered(
    fake: FakeRunpod, api: httpx.Client, tmp_path: Path
) -> None:
    fake.next_machine(gpu_name="NVIDIA A40", gpu_count=2, driver_version="470.1", memory_mib=46068)
    box = Box(fake, api, tmp_path)
    report = await box.ssh("nvidia-smi -q -x")
    assert report.count("<product_name>NVIDIA A40<") == 2
    assert "<driver_version>470.1<" in report
    assert "46068 MiB" in report
    fake.lose_gpu(box.id)
    assert "GPU is lost" in await box.ssh("nvidia-smi -q -x || true")
    fake.next_machine(gpu_count=0)
    none = Box(fake, api, tmp_path, name="none")
    assert "No devices" in await none.ssh("nvidia-smi -q -x || true")


def test_sshd_may_never_open(fake: FakeRunpod, api: httpx.Client, tmp_path: Path) -> None:
    fake.next_machine(sshd="silent")
    box = Box(fake, api, tmp_path)
    box.printed("ready to use")
    port = box.shown()["ssh"]["direct"]["port"]  # type: ignore[index]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}")


def test_its_own_command_runs_in_place_of_the_images(
    fake: FakeRunpod, api: httpx.Client, tmp_path: Path
) -> None:
    script = f"echo I am $RUNPOD_POD_ID with ${{#RUNPOD_API_KEY}}; exec {fake.start_script}"
    box = Box(fake, api, tmp_path, args=f"bash -c {shlex.quote(script)}")
    box.printed(f"I am {box.id} with 40")
    box.printed("ready to use")


def test_a_command_that_needs_a_shell_of_its_own_is_recorded(
    fake: FakeRunpod, api: httpx.Client
) -> None:
    answer = api.post("/v2/pods", json=gpu_order(args="echo one && echo two"))
    assert answer.status_code == 201
    assert "needs a shell" in fake.violations.pop()


async def test_a_volume_outlives_the_pod_and_its_disk_does_not(
    fake: FakeRunpod, api: httpx.Client, tmp_path: Path
) -> None:
    order = {"name": "v", "size": 10, "dataCenter": "EU-RO-1"}
    volume_id = api.post("/v2/network-volumes", json=order).json()["id"]
    path = fake.mount_path
    mounts = {"network": [{"volumeId": volume_id, "path": str(path)}]}
    first = Box(fake, api, tmp_path, mounts=mounts)
    await first.ssh(f"echo kept > {path}/file; echo lost > file; echo shared > /dev/shm/file")
    second = Box(fake, api, tmp_path, name="second", mounts=mounts)
    assert await second.ssh(f"cat {path}/file; cat file /dev/shm/file || true") == "kept\n"
    assert (fake.volume_directory(volume_id) / "file").read_text() == "kept\n"
    assert not (path / "file").exists()  # mounted in the pods alone
    api.delete(f"/v2/pods/{first.id}")
    until(lambda: not fake.disk(first.id).exists())
    outside = gpu_order(mounts={"network": [{"volumeId": volume_id, "path": "/srv"}]})
    assert api.post("/v2/pods", json=outside).status_code == 400


async def test_a_killed_pod_leaves_no_process(
    fake: FakeRunpod, api: httpx.Client, tmp_path: Path
) -> None:
    box = Box(fake, api, tmp_path)
    await box.ssh("setsid sh -c 'trap \"\" TERM; sleep 321 & wait' > /dev/null 2>&1 &")
    until(lambda: len(fake.pod_pids(box.id)) >= 4)
    pids = fake.pod_pids(box.id)
    fake.kill_pod(box.id)
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert box.shown()["status"] == "RUNNING"  # the provider has not noticed
    fake.restart_container(box.id)
    until(lambda: len(fake.pod_pids(box.id)) > 1)


async def test_termination_is_sigterm_and_after_the_grace_sigkill(
    fake: FakeRunpod, api: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box(fake, api, tmp_path)
    stubborn = "trap 'touch asked' TERM; touch trapped; while :; do sleep 0.05; done"
    await box.ssh(f"setsid bash -c {shlex.quote(stubborn)} > /dev/null 2>&1 &")
    until(lambda: (fake.disk(box.id) / "trapped").exists())
    pids = fake.pod_pids(box.id)
    monkeypatch.setattr(fake.settings, "grace_s", 2.0)
    assert api.delete(f"/v2/pods/{box.id}").status_code == 204
    assert box.shown()["status"] == "TERMINATED"
    until((fake.disk(box.id) / "asked").exists)
    assert Path(f"/proc/{pids[0]}").exists()
    until(lambda: api.get(f"/v2/pods/{box.id}").status_code == 404)
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


async def test_a_container_that_ends_is_started_again_on_another_port(
    fake: FakeRunpod, api: httpx.Client, tmp_path: Path
) -> None:
    box = Box(fake, api, tmp_path)
    await box.ssh("echo still here > file")
    before = box.shown()["ssh"]
    key = box.printed("(ED25519)")
    os.kill(fake.pod_pids(box.id)[0], signal.SIGKILL)
    until(lambda: box.shown()["ssh"] != before)
    assert box.id in [pod.id for pod in fake.pods]
    until(lambda: sum(key == line.line for line in fake.pod(box.id).log) == 2)
    until(lambda: sum("ready to use" in line.line for line in fake.pod(box.id).log) == 2)
    assert await box.ssh("cat file") == "still here\n"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_fake_of_its_own_process_leaves_nothing(how: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.runpod"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    with process.stdout:
        told = json.loads(process.stdout.readline())
    control = Control(told["url"])
    state = control.state()
    headers = {"Authorization": f"Bearer {told['api_key']}"}
    order = gpu_order(env={"PUBLIC_KEY": "ssh-ed25519 none"})
    answer = httpx.post(f"{told['url']}/v2/pods", json=order, headers=headers)
    pod_id = answer.json()["id"]
    until(lambda: len(control.pod_pids(pod_id=pod_id)) > 1)
    pids = control.pod_pids(pod_id=pod_id)
    process.send_signal(how)
    process.wait(timeout=20)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    if how == signal.SIGKILL:  # nobody was left to remove the user
        subprocess.run(["userdel", "--force", state["user"]], capture_output=True, check=True)
        subprocess.run(["rm", "-r", state["directory"]], check=True)
    assert not Path(state["directory"]).exists()
