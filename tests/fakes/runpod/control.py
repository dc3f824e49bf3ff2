"""The control API: another process scripts faults and reads the meter, one POST per method.

`Control(url)` is its client: `Control(url).kill_pod(pod_id="...")`. Answers are JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import httpx

from tests.fakes.runpod.api import Answer

if TYPE_CHECKING:
    from tests.fakes.runpod.server import FakeRunpod

CONTROL = "/_control/"

_METHODS = {
    *("kill_pod", "lose_pod", "restart_container", "lose_gpu", "next_machine", "pod_pids"),
    "signal_pod",
    *("billed_usd", "max_billing_at_once", "billing_now", "balance_usd", "set_balance"),
    *("revoke_key", "restore_key"),
}


class Control:
    """What `FakeRunpod` can do, from another process."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> Any:
            answer = httpx.post(f"{self._url}{CONTROL}{name}", json=arguments, timeout=30)
            assert answer.status_code == 200, f"{name}: {answer.text}"
            return answer.json() if answer.content else None

        return call


def command(fake: FakeRunpod, path: str, raw: bytes) -> Answer:
    """Do what the control call says; 400 says what is wrong with it."""
    name = path.removeprefix(CONTROL)
    try:
        arguments = json.loads(raw) if raw else {}
        return Answer(200, _do(fake, name, arguments))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        return Answer(400, {"title": "Bad Request", "status": 400, "detail": repr(error)})


def _do(fake: FakeRunpod, name: str, arguments: dict[str, Any]) -> Any:
    if name in _METHODS:
        return getattr(fake, name)(**arguments)
    if name in ("set_stock", "set_price"):
        return getattr(fake.catalogue, name)(**arguments)
    if name in ("advance", "run_at", "now_s"):
        return getattr(fake.clock, name)(**arguments)
    if name == "add_fault":
        return asdict(fake.faults.add(**arguments))
    if name == "clear_faults":
        return fake.faults.clear()
    if name == "settings":
        for key, value in arguments.items():
            getattr(fake.settings, key)
            setattr(fake.settings, key, value)
        return asdict(fake.settings)
    if name == "requests":
        return [asdict(request) for request in fake.requests]
    if name == "violations":
        return fake.violations
    if name == "state":
        return _state(fake)
    raise LookupError(f"no such command: {name}")


def _state(fake: FakeRunpod) -> dict[str, Any]:
    return {
        "url": fake.url,
        "api_key": fake.api_key,
        "directory": str(fake.directory),
        "start_script": str(fake.start_script),
        "mount_root": str(fake.mount_root),
        "user": fake.user,
        "pods": [
            {
                "id": pod.id,
                "name": pod.name,
                "status": pod.status,
                "data_centre": pod.data_centre,
                "volume_id": pod.volume_id,
                "disk": str(fake.disk(pod.id)),
            }
            for pod in fake.all_pods.values()
        ],
    }
