"""Pods as RunPod writes them, from our order and to our machine; knows no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field

from shared.machine_request import Cloud
from tui.services.providers.provider import MachineOrder, MachineStatus, RentedMachine
from tui.services.providers.runpod.answer_model import AnswerModel
from tui.services.providers.runpod.answers import Request

SSH_PORT = "22/tcp"
_NEEDS_QUOTING = frozenset("'\"\\$`!\n")


class _SshEndpoint(AnswerModel):
    host: str
    port: int
    username: str


class _Ssh(AnswerModel):
    direct: _SshEndpoint | None = None


class _Gpu(AnswerModel):
    id: str
    count: int = 1


class Pod(AnswerModel):
    """What is read of a pod; the rest of it may change without harm."""

    id: str = Field(min_length=1)
    name: str
    status: str
    cost: float = 0.0
    """USD an hour; RunPod says 0 of a pod that is stopped."""
    gpu: _Gpu | None = None
    cloud: str = "SECURE"
    dataCenterId: str | None = None
    cudaVersion: str | None = None
    ssh: _Ssh | None = None
    createdAt: datetime | None = None

    def machine(self) -> RentedMachine:
        """In the words of every provider."""
        direct = self.ssh.direct if self.ssh else None
        return RentedMachine(
            machine_id=self.id,
            name=self.name,
            status=_status(self.status),
            usd_per_hour=self.cost,
            gpu_id=self.gpu.id if self.gpu else None,
            gpu_count=self.gpu.count if self.gpu else 0,
            cloud=Cloud.SECURE if self.cloud.upper() == "SECURE" else Cloud.COMMUNITY,
            data_center=self.dataCenterId,
            ssh_host=direct.host if direct else None,
            ssh_port=direct.port if direct else None,
            ssh_user=direct.username if direct else None,
            created_at=self.createdAt,
            cuda=self.cudaVersion,
        )


class PodList(AnswerModel):
    pods: list[Pod]


CREATE = Request("POST", "/v2/pods", orders_pod=True)
LIST = Request("GET", "/v2/pods")


def pod_request(
    order: MachineOrder, compute: Mapping[str, Any], data_center: str | None
) -> dict[str, Any]:
    """The body of POST /v2/pods; `compute` is its `gpu` or `cpu`."""
    cloud = order.candidate.cloud if order.candidate else Cloud.SECURE
    body: dict[str, Any] = {
        "name": order.name,
        "image": order.image,
        "cloud": cloud.value.upper(),
        "disk": order.container_disk_gb,
        "ports": [SSH_PORT],
        "env": dict(order.env),
        **compute,
    }
    if order.command:
        body["args"] = shell_args(order.command)
    if order.registry is not None:
        body["registry"] = order.registry
    if data_center is not None:
        body["dataCenterIds"] = [data_center]
    if order.network_volume_id is not None:
        mount = {"volumeId": order.network_volume_id, "path": order.mount_path}
        body["mounts"] = {"network": [mount]}
    return body


def gpu_compute(runpod_id: str, count: int, min_cuda: str | None) -> dict[str, Any]:
    """The `gpu` of a request, with the floor for the host's driver."""
    gpu: dict[str, Any] = {"id": runpod_id, "count": count}
    if min_cuda is not None:
        gpu["minCudaVersion"] = min_cuda
    return {"gpu": gpu}


def cpu_compute(flavor: str, vcpu_count: int) -> dict[str, Any]:
    """The `cpu` of a request; memory follows from it."""
    return {"cpu": {"id": flavor, "vcpuCount": vcpu_count}}


def shell_args(command: str) -> str:
    """`args` that run `command` in bash, whatever quotes it has.

    RunPod splits `args` like a shell and appends them to the image's entrypoint. How it treats
    quotes inside of quotes is not documented (SkyPilot avoids them too), so such a command travels
    as base64; bash reads it from a pipe of its own, and its standard input stays what it was.
    """
    if not _NEEDS_QUOTING.intersection(command):
        return f"bash -c '{command}'"
    encoded = base64.b64encode(command.encode()).decode("ascii")
    return f"bash -c 'exec bash <(echo {encoded} | base64 -d)'"


def _status(word: str) -> MachineStatus:
    """A word that we do not know is taken for a machine on its way: it is paid for."""
    try:
        return MachineStatus(word.lower())
    except ValueError:
        return MachineStatus.STARTING
