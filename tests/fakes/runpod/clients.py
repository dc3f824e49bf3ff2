"""What tests of the fake, and of others against it, send: orders of pods, and an HTTP client."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.fakes.runpod.server import FakeRunpod

H100 = "NVIDIA H100 PCIe"


def client(fake: FakeRunpod, key: str | None = None, timeout_s: float = 20) -> httpx.Client:
    """Speaks with the account's key, or another one."""
    headers = {"Authorization": f"Bearer {key or fake.api_key}"}
    return httpx.Client(base_url=fake.url, headers=headers, timeout=timeout_s)


def gpu_order(name: str = "job-1", **fields: Any) -> dict[str, Any]:
    """The body of a POST /v2/pods for one H100."""
    order = {"name": name, "image": "image:1", "gpu": {"id": H100, "count": 1}}
    return {**order, "ports": ["22/tcp"], **fields}


def until(condition: Callable[[], object], timeout_s: float = 10) -> None:
    """Wait for it, and fail when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.01)
