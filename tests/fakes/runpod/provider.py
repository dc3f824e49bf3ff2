"""The provider itself: pods and volumes, their lives, and the money. Knows no HTTP."""

from __future__ import annotations

import contextlib
import random
import shutil
import string
import subprocess
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.runpod import image
from tests.fakes.runpod.billing import BillingMeter
from tests.fakes.runpod.catalogue import DATA_CENTRES, Catalogue
from tests.fakes.runpod.clock import FakeClock
from tests.fakes.runpod.container import Container
from tests.fakes.runpod.faults import Faults
from tests.fakes.runpod.image import Machine
from tests.fakes.runpod.placement import Place, check_rules, find_place
from tests.fakes.runpod.pod import ACTIONS, Pod, make_container
from tests.fakes.runpod.problem import Refusal
from tests.fakes.runpod.settings import Settings

_TICK_S = 0.02
_STOPPED_USD_PER_HOUR = 0.01
_VOLUME_USD_PER_GB_HOUR = 0.07 / 720


@dataclass
class Provider:
    """All state; public methods may be called from any thread."""

    directory: Path
    user: str | None
    """Pods run as this user; None: pods are only records, and run nothing."""
    seed: int = 0
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self._random = random.Random(self.seed)
        self._revoked = False
        self.clock = FakeClock()
        self.billing = BillingMeter(self.clock)
        self.catalogue = Catalogue()
        self.faults = Faults(self.seed)
        self.api_key: str | None = self._id("rpa_", 32)
        self.paid_in_usd = 1000.0
        self.all_pods: dict[str, Pod] = {}
        self.volumes: dict[str, dict[str, Any]] = {}
        self.violations: list[str] = []
        self.mount_root = self.directory / "mnt"
        self.mount_root.mkdir(parents=True, exist_ok=True)
        self.start_script = image.write_start_script(self.directory / "image")
        self._next_machines: list[Machine] = []
        self._closing: list[tuple[Pod, float]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="runpod-provider", daemon=True)

    # What tests do.

    @property
    def mount_path(self) -> Path:
        """Where a volume may be mounted: any directory below `mount_root`, such as this."""
        return self.mount_root / "workspace"

    @property
    def pods(self) -> list[Pod]:
        """Pods that were not terminated."""
        with self.lock:
            return [pod for pod in self.all_pods.values() if not pod.ended]

    def pod(self, id_or_name: str) -> Pod:
        """One pod, the ended ones included; the latest of that name."""
        with self.lock:
            for pod in reversed(self.all_pods.values()):
                if id_or_name in (pod.id, pod.name):
                    return pod
        raise KeyError(id_or_name)

    def volume_directory(self, volume_id: str) -> Path:
        """What is on a network volume."""
        return self.directory / "volumes" / volume_id

    def disk(self, pod_id: str) -> Path:
        """A pod's home directory, as this machine sees it."""
        return self.directory / "pods" / pod_id / "home"

    def next_machine(self, **fields: Any) -> None:
        """The next pod's machine differs so from the order (see `Machine`); calls queue up."""
        with self.lock:
            self._next_machines.append(Machine(**fields))

    def kill_pod(self, pod_id: str) -> None:
        """The host dies: no process is left, and the provider has not noticed."""
        pod = self.pod(pod_id)
        with self.lock:
            pod.dead = True
        if pod.container:
            pod.container.kill()

    def signal_pod(self, pod_id: str, number: int, name: str = "") -> list[int]:
        """Send a signal to all of the pod's processes, or to those whose command line has `name`;
        returns their pids."""
        container = self.pod(pod_id).container
        return container.signal(number, name) if container else []

    def lose_pod(self, pod_id: str, how: str = "exited", dies: bool = True) -> None:
        """The host dies, and the provider says `exited`, `error` or nothing any more: `gone`.

        Unless it `dies`, its processes are still there, and nobody is told.
        """
        if dies:
            self.kill_pod(pod_id)
        pod = self.pod(pod_id)
        with self.lock:
            if how == "gone":
                self._ended(pod)
                pod.forgotten = True
            else:
                pod.become({"exited": "EXITED", "error": "ERROR"}[how])
                self._set_price(pod)

    def restart_container(self, pod_id: str) -> None:
        """All processes die, and the container starts again: another port, the same disk."""
        pod = self.pod(pod_id)
        if pod.container:
            pod.container.kill()
        with self.lock:
            pod.dead = False
            pod.become("STARTING")

    def lose_gpu(self, pod_id: str) -> None:
        """The pod's nvidia-smi fails from now on."""
        image.lose_gpu(self._tools(pod_id))

    def pod_pids(self, pod_id: str) -> list[int]:
        """The pod's processes, as this machine counts them."""
        container = self.pod(pod_id).container
        return container.pids() if container else []

    def billed_usd(self, name_prefix: str = "") -> float:
        """What pods with such names have cost."""
        return self.billing.billed_usd(name_prefix)

    def max_billing_at_once(self, name_prefix: str = "") -> int:
        """The most pods with such names that were billed in one moment."""
        return self.billing.max_billing_at_once(name_prefix)

    def billing_now(self, name_prefix: str = "") -> list[str]:
        """Names of pods that cost money now."""
        return self.billing.billing_now(name_prefix)

    def balance_usd(self) -> float:
        """What is left on the account."""
        return self.paid_in_usd - self.billing.billed_usd() - self.billing.volumes_usd()

    def set_balance(self, usd: float) -> None:
        """Leave this on the account."""
        self.paid_in_usd += usd - self.balance_usd()

    def revoke_key(self) -> None:
        """The account's key is answered 401 from now on; `api_key` still has the old one."""
        self._revoked = True

    def restore_key(self) -> None:
        """The account's key works again."""
        self._revoked = False

    # What the API does.

    def caller(self, key: str) -> Pod | None:
        """The pod that the key is limited to; None for the account's own key.

        Raises:
            Refusal: 401.
        """
        if key == self.api_key and not self._revoked:
            return None
        for pod in self.pods:
            if key == pod.api_key:
                return pod
        raise Refusal(401, "invalid bearer token" if key else "missing bearer token")

    def create(self, order: dict[str, Any], machine: Machine | None = None) -> Pod:
        """POST /v2/pods."""
        with self.lock:
            check_rules(order)
            self._check_mount(order)
            self._check_balance()
            place = find_place(order, self.catalogue, self.volumes)
            if machine is None:
                machine = self._next_machines.pop(0) if self._next_machines else Machine()
            self.catalogue.take(place.offer_id, place.data_centre, place.cloud, place.count)
            pod = self._new_pod(order, place, machine)
            self.all_pods[pod.id] = pod
            self._set_price(pod)
            pod.write("system", f"create container {order.get('image', '')}")
            if self.user is not None:
                pod.container = self._container(pod, self.user)
            return pod

    def _new_pod(self, order: dict[str, Any], place: Place, machine: Machine) -> Pod:
        return Pod(
            id=self._id("", 14),
            order=order,
            data_centre=place.data_centre,
            cloud=place.cloud,
            usd_per_hour=round(place.usd_per_hour * machine.price_factor, 4),
            api_key=self._id("rpa_pod_", 32),
            created_at_s=self.clock.now_s(),
            cuda_version=machine.cuda_version or place.cuda_version,
            memory_gb=place.memory_gb,
            machine=machine,
            clock=self.clock,
        )

    def act(self, pod: Pod, action: str) -> None:
        """POST /v2/pods/{id}/action; Refusal 409 where the status does not allow it."""
        with self.lock:
            if action not in ACTIONS[pod.status]:
                raise Refusal(409, f"cannot {action} a pod that is {pod.status}")
            if action == "terminate":
                self._ended(pod)
                self._end_processes(pod)
            elif action == "stop":
                pod.become("EXITED")
                self._set_price(pod)
                self._end_processes(pod)
            elif action == "restart":
                self._end_processes(pod)
                pod.become("STARTING")
            else:
                self._check_balance()
                if pod.container and not self._is_closing(pod):
                    self._wipe(pod.container.disk)  # ephemeral, by the API's own words
                pod.dead = False
                pod.become("PROVISIONING")
                self._set_price(pod)

    def create_volume(self, order: dict[str, Any]) -> dict[str, Any]:
        """POST /v2/network-volumes."""
        with self.lock:
            if order["dataCenter"] not in DATA_CENTRES:
                raise Refusal(400, f"data center {order['dataCenter']} does not exist")
            volume = {"type": "STANDARD", **order, "id": self._id("", 10)}
            self.volumes[volume["id"]] = volume
            directory = self.volume_directory(volume["id"])
            directory.mkdir(parents=True)
            if self.user is not None:
                shutil.chown(directory, self.user)
            price = volume["size"] * _VOLUME_USD_PER_GB_HOUR
            self.billing.set_price(volume["id"], volume["name"], "volume", price)
            return volume

    def delete_volume(self, id: str) -> None:
        """DELETE /v2/network-volumes/{id}."""
        with self.lock:
            if any(pod.volume_id == id for pod in self.pods):
                raise Refusal(400, "the network volume is in use by a pod")
            del self.volumes[id]
            self.billing.stop(id)
            shutil.rmtree(self.volume_directory(id), ignore_errors=True)

    # What goes on by itself.

    def start(self) -> None:
        """Let time pass."""
        self._thread.start()

    def close(self) -> None:
        """End every pod."""
        self._end.set()
        self._thread.join(timeout=10)
        for pod in self.all_pods.values():
            if pod.container:
                pod.container.kill()

    def _run(self) -> None:
        # Containers are launched by this thread only: they end with the thread that made them.
        while not self._end.wait(_TICK_S):
            try:
                self._tick()
            except Exception:  # the outermost loop of this thread
                self.violations.append(f"the fake itself failed: {traceback.format_exc()}")

    def _tick(self) -> None:
        with self.lock:
            for pod in list(self.all_pods.values()):
                if not pod.ended and not pod.dead:
                    self._advance(pod)
                if not pod.forgotten:
                    pod.read_output()
            self._close_what_was_asked_to_end()
            if self.pods and self.balance_usd() <= 0:
                self._out_of_money()

    def _advance(self, pod: Pod) -> None:
        passed_s = time.monotonic() - pod.since
        if pod.status == "PROVISIONING" and passed_s >= self.settings.provisioning_s:
            pod.become("STARTING")
            pod.write("system", f"pulling image {pod.order.get('image', '')}")
        elif pod.status == "STARTING":
            if pod.machine.pull_loop and passed_s >= self.settings.pull_fails_every_s:
                pod.write("system", "error pulling image: failed to register layer: retrying")
                pod.since = time.monotonic()
            elif pod.machine.never_running or pod.machine.pull_loop:
                return
            elif passed_s >= self.settings.starting_s + pod.machine.delay_s:
                self._launch(pod)
        elif pod.status == "RUNNING" and pod.container:
            self._keep_running(pod, pod.container)

    def _launch(self, pod: Pod) -> None:
        if self._is_closing(pod):
            return  # the old container has not ended yet
        if pod.container:
            pod.container.launch()
        pod.started_at_s = self.clock.now_s()
        pod.become("RUNNING")
        pod.write("system", "start container")

    def _keep_running(self, pod: Pod, container: Container) -> None:
        if container.running:
            pod.since = time.monotonic()
        elif time.monotonic() - pod.since >= self.settings.restart_after_s:
            pod.write("system", "container exited, starting it again")
            self._launch(pod)

    def _is_closing(self, pod: Pod) -> bool:
        return any(each is pod for each, _ in self._closing)

    def _end_processes(self, pod: Pod) -> None:
        if pod.container:
            pod.container.terminate()
            self._closing.append((pod, time.monotonic() + self.settings.grace_s))

    def _close_what_was_asked_to_end(self) -> None:
        for pod, deadline in list(self._closing):
            assert pod.container
            if time.monotonic() >= deadline or pod.container.has_nothing_to_end():
                pod.container.kill()
                self._closing.remove((pod, deadline))
        for pod in self.all_pods.values():
            if pod.ended and not pod.forgotten and not self._is_closing(pod):
                pod.forgotten = True
                if pod.container:
                    self._wipe(pod.container.disk)

    def _ended(self, pod: Pod) -> None:
        pod.become("TERMINATED")
        self.billing.stop(pod.id)
        offer = pod.order["gpu"]["id"] if "gpu" in pod.order else pod.order["cpu"]["id"]
        self.catalogue.take(offer, pod.data_centre, pod.cloud, -(pod.gpu_count or 1))

    def _set_price(self, pod: Pod) -> None:
        kind = "gpu" if "gpu" in pod.order else "cpu"
        if pod.status == "EXITED":
            self.billing.set_price(pod.id, pod.name, "disk", _STOPPED_USD_PER_HOUR)
        else:
            self.billing.set_price(pod.id, pod.name, kind, pod.usd_per_hour)

    def _check_balance(self) -> None:
        if self.balance_usd() <= 0:
            raise Refusal(402, "insufficient balance: add funds to deploy")

    def _out_of_money(self) -> None:
        for pod in self.pods:
            if pod.volume_id is None:
                self.act(pod, "terminate")
            elif "stop" in ACTIONS[pod.status]:
                self.act(pod, "stop")

    def _check_mount(self, order: dict[str, Any]) -> None:
        for mount in order.get("mounts", {}).get("network", []):
            if self.user is not None and self.mount_root not in Path(mount["path"]).parents:
                raise Refusal(400, f"this fake mounts volumes only below {self.mount_root}")

    def _container(self, pod: Pod, user: str) -> Container:
        gpus = []
        if "gpu" in pod.order:
            gpus = [self.catalogue.gpus[pod.order["gpu"]["id"]]] * pod.gpu_count
        volume = self.volume_directory(pod.volume_id) if pod.volume_id else None
        if volume is None and self.settings.image_workspace:
            volume = self.disk(pod.id) / "workspace"
            volume.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", self.settings.image_workspace, volume], check=True)
        tools = image.install_machine(self._tools(pod.id), gpus, pod.machine)
        return make_container(self.directory, user, pod, self.start_script, tools, volume)

    def _tools(self, pod_id: str) -> Path:
        return self.directory / "pods" / pod_id / "tools"

    def _wipe(self, disk: Path) -> None:
        with contextlib.suppress(OSError):
            shutil.rmtree(disk)

    def _id(self, prefix: str, length: int) -> str:
        return prefix + "".join(
            self._random.choices(string.ascii_lowercase + string.digits, k=length)
        )
