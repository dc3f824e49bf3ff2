"""Orders into requests, and pods into machines."""

from __future__ import annotations

import shlex
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.machine_request import Candidate, Cloud
from tui.services.providers.provider import MachineOrder, MachineStatus
from tui.services.providers.runpod.pods import (
    Pod,
    cpu_compute,
    gpu_compute,
    pod_request,
    shell_args,
)

H100 = Candidate(gpu_type="H100_PCIE", gpu_count=2, data_center="US-KS-2", usd_per_hour=4.0)
POD: dict[str, Any] = {
    "id": "p1",
    "name": "ours-1",
    "status": "RUNNING",
    "cost": 2.39,
    "gpu": {"id": "NVIDIA H100 PCIe", "count": 2},
    "cloud": "COMMUNITY",
    "dataCenterId": "US-KS-2",
    "cudaVersion": "12.8",
    "ssh": {"proxy": None, "direct": {"host": "1.2.3.4", "port": 41022, "username": "root"}},
    "createdAt": "2026-11-20T10:00:00Z",
    "anything": {"new": True},
}


def _order(**changes: Any) -> MachineOrder:
    fields: dict[str, Any] = {
        "name": "ours-1",
        "candidate": H100,
        "image": "runpod/pytorch:x",
        "command": "sleep 5",
        "env": {"PUBLIC_KEY": "ssh-ed25519 AAAA"},
        "container_disk_gb": 50,
        "min_cuda": "12.8",
    }
    return MachineOrder(**{**fields, **changes})


def test_an_order_says_everything_that_has_no_default_worth_trusting() -> None:
    body = pod_request(
        _order(network_volume_id="v1"), gpu_compute("NVIDIA H100 PCIe", 2, "12.8"), "US-KS-2"
    )

    assert body == {
        "name": "ours-1",
        "image": "runpod/pytorch:x",
        "args": "bash -c 'sleep 5'",
        "cloud": "SECURE",
        "disk": 50,
        "ports": ["22/tcp"],
        "env": {"PUBLIC_KEY": "ssh-ed25519 AAAA"},
        "gpu": {"id": "NVIDIA H100 PCIe", "count": 2, "minCudaVersion": "12.8"},
        "dataCenterIds": ["US-KS-2"],
        "mounts": {"network": [{"volumeId": "v1", "path": "/workspace"}]},
    }


def test_what_is_not_asked_for_is_not_sent() -> None:
    body = pod_request(_order(command="", candidate=None), cpu_compute("cpu5c", 2), None)

    assert body["cpu"] == {"id": "cpu5c", "vcpuCount": 2}
    assert {"gpu", "args", "dataCenterIds", "mounts", "registry"}.isdisjoint(body)
    assert "minCudaVersion" not in gpu_compute("x", 1, None)["gpu"]


def test_a_private_image_is_pulled_with_the_credentials_that_runpod_keeps() -> None:
    body = pod_request(_order(registry="6n2k8v4d"), gpu_compute("x", 1, None), None)

    assert body["registry"] == "6n2k8v4d"


@pytest.mark.parametrize(
    "command",
    [
        "echo plain; echo two",
        'echo "double" \'single\' "it\'s"',
        "x=5; echo $x `echo tick` $((x + 1)) \\\\ back",
        'read -r line\necho "stdin says $line"',
        "echo 'ü – ✓'; exec echo !! 100%",
    ],
)
def test_a_command_arrives_in_bash_as_it_was_written(command: str) -> None:
    def run(argv: list[str]) -> str:
        return subprocess.run(
            argv, input="hello\n", capture_output=True, text=True, check=True, timeout=20
        ).stdout

    assert run(shlex.split(shell_args(command))) == run(["bash", "-c", command])


def test_a_pod_is_read_as_a_machine() -> None:
    machine = Pod.model_validate(POD).machine()

    assert machine.status is MachineStatus.RUNNING
    assert (machine.gpu_id, machine.gpu_count) == ("NVIDIA H100 PCIe", 2)
    assert (machine.ssh_host, machine.ssh_port, machine.ssh_user) == ("1.2.3.4", 41022, "root")
    assert machine.cloud is Cloud.COMMUNITY
    assert machine.created_at == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert (machine.usd_per_hour, machine.cuda, machine.data_center) == (2.39, "12.8", "US-KS-2")


@pytest.mark.parametrize("ssh", [None, {"proxy": None, "direct": None}])
def test_a_pod_without_an_open_port_has_no_address(ssh: object) -> None:
    machine = Pod.model_validate({**POD, "ssh": ssh, "gpu": None}).machine()

    assert (machine.ssh_host, machine.ssh_port, machine.ssh_user) == (None, None, None)
    assert (machine.gpu_id, machine.gpu_count) == (None, 0)


@pytest.mark.parametrize("status", list(MachineStatus))
def test_every_status_has_its_own(status: MachineStatus) -> None:
    pod = Pod.model_validate({**POD, "status": status.value.upper()})

    assert pod.machine().status is status


def test_an_unknown_status_counts_as_up_since_it_may_be_paid_for() -> None:
    assert Pod.model_validate({**POD, "status": "MIGRATING"}).machine().status.is_up


def test_a_machine_order_does_not_print_its_environment() -> None:
    assert "ssh-ed25519" not in repr(_order())
