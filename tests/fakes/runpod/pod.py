"""One pod: what was ordered, what state it is in, its log, and how the API shows it."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.runpod.clock import FakeClock, rfc3339
from tests.fakes.runpod.container import Container
from tests.fakes.runpod.image import Machine

ACTIONS = {
    "PROVISIONING": ["stop", "terminate"],
    "STARTING": ["stop", "terminate"],
    "RUNNING": ["stop", "restart", "terminate"],
    "EXITED": ["start", "terminate"],
    "ERROR": ["start", "terminate"],
    "TERMINATED": [],
}
_LOG_LINES = 20_000


@dataclass(frozen=True)
class LogLine:
    """A line of a pod's log; `number` counts up within the pod."""

    number: int
    at_s: float
    source: str
    line: str


@dataclass
class Pod:
    """The provider's record of a pod."""

    id: str
    order: dict[str, Any]
    """The request body."""
    data_centre: str
    cloud: str
    usd_per_hour: float
    api_key: str
    """The pod's own."""
    created_at_s: float
    cuda_version: str | None
    machine: Machine
    clock: FakeClock
    memory_gb: int = 0
    """Of a CPU pod."""
    container: Container | None = None
    """None where the fake runs no processes."""
    status: str = "PROVISIONING"
    since: float = field(default_factory=time.monotonic)
    """When the status began, by the machine's own clock."""
    started_at_s: float | None = None
    dead: bool = False
    """Its host is lost: nothing is started again."""
    forgotten: bool = False
    """GET answers 404."""
    log: list[LogLine] = field(default_factory=list)
    _read_bytes: int = 0
    _lines: int = 0

    @property
    def name(self) -> str:
        return str(self.order["name"])

    @property
    def ended(self) -> bool:
        return self.status == "TERMINATED"

    @property
    def volume_id(self) -> str | None:
        """The network volume that it mounts."""
        networks = self.order.get("mounts", {}).get("network") or [{}]
        found: str | None = networks[0].get("volumeId")
        return found

    @property
    def gpu_count(self) -> int:
        """0 for a CPU pod."""
        return int(self.order["gpu"].get("count", 1)) if "gpu" in self.order else 0

    def become(self, status: str) -> None:
        """Change the status."""
        self.status = status
        self.since = time.monotonic()

    def write(self, source: str, line: str) -> None:
        """Add a line to the log."""
        self._lines += 1
        self.log.append(LogLine(self._lines, self.clock.now_s(), source, line))
        del self.log[:-_LOG_LINES]

    def read_output(self) -> None:
        """Take what the container has printed since; whole lines only."""
        if self.container is None or not self.machine.shows_host_keys:
            return
        with self.container.log.open("rb") as file:
            file.seek(self._read_bytes)
            whole, newline, _ = file.read().rpartition(b"\n")
        if newline:
            self._read_bytes += len(whole) + 1
            for line in whole.decode(errors="replace").split("\n"):
                self.write("container", line)

    def shown(self) -> dict[str, Any]:
        """The pod as GET answers it."""
        order = self.order
        running = self.status == "RUNNING"
        shown: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "image": order.get("image", ""),
            "args": order.get("args", ""),
            "disk": order.get("disk", 20),
            "ports": order.get("ports", []),
            "env": order.get("env", {}),
            "registry": order.get("registry"),
            "status": self.status,
            "actions": ACTIONS[self.status],
            "mounts": order.get("mounts", {}),
            "cloud": self.cloud,
            "dataCenterId": self.data_centre,
            "cudaVersion": self.cuda_version,
            "ssh": {"proxy": None, "direct": self._direct() if running else None},
            "template": None,
            "cost": 0.0 if self.status in ("EXITED", "TERMINATED") else self.usd_per_hour,
            "locked": False,
            "globalNetworking": {"enabled": False},
            "runtime": self._runtime() if running else None,
            "createdAt": rfc3339(self.clock.utc(self.created_at_s)),
            "startedAt": (
                None if self.started_at_s is None else rfc3339(self.clock.utc(self.started_at_s))
            ),
        }
        if "gpu" in order:
            shown["gpu"] = {"id": order["gpu"]["id"], "count": self.gpu_count}
        else:
            shown["cpu"] = {**order["cpu"], "memory": self.memory_gb}
        return shown

    @property
    def _port(self) -> int | None:
        if "22/tcp" not in self.order.get("ports", []):
            return None
        return self.container.port if self.container else 22_000

    def _direct(self) -> dict[str, Any] | None:
        if (port := self._port) is None:
            return None
        user = self.container.user if self.container else "root"
        command = f"ssh {user}@127.0.0.1 -p {port}"
        return {"host": "127.0.0.1", "port": port, "username": user, "command": command}

    def _runtime(self) -> dict[str, Any]:
        port = self._port
        ports = [{"private": 22, "public": port, "type": "tcp", "ip": "127.0.0.1"}] if port else []
        uptime_s = int(self.clock.now_s() - (self.started_at_s or 0))
        utilisation = [{"util": 0, "memoryUtil": 0}] * self.gpu_count
        return {"uptime": uptime_s, "gpus": utilisation, "ports": ports}


def make_container(
    directory: Path, user: str, pod: Pod, start_script: Path, tools: Path, volume: Path | None
) -> Container:
    """What the pod will run; makes its directory below `directory`, and where it mounts."""
    base = directory / "pods" / pod.id
    base.mkdir(parents=True, exist_ok=True)
    (base / "log").touch()
    mount = None
    if volume is not None:
        networks = pod.order.get("mounts", {}).get("network")
        mount = (volume, Path(networks[0]["path"]) if networks else directory / "mnt" / "workspace")
        mount[1].mkdir(parents=True, exist_ok=True)
    return Container(
        user=user,
        home=directory / "home",
        disk=base / "home",
        log=base / "log",
        tools=tools,
        start_script=start_script,
        args=pod.order.get("args", ""),
        environment=_environment(pod),
        mount=mount,
    )


def _environment(pod: Pod) -> dict[str, str]:
    """The order's, and what the real provider sets."""
    return {
        **pod.order.get("env", {}),
        **pod.machine.environment,
        "SSH_ENVIRONMENT": shlex.join(f"{k}={v}" for k, v in pod.machine.environment.items()),
        "RUNPOD_POD_ID": pod.id,
        "RUNPOD_API_KEY": pod.api_key,
        "RUNPOD_DC_ID": pod.data_centre,
        "RUNPOD_GPU_COUNT": str(pod.gpu_count),
        "RUNPOD_PUBLIC_IP": "127.0.0.1",
        **({"RUNPOD_VOLUME_ID": pod.volume_id} if pod.volume_id else {}),
    }
