"""RunPod's own Python package drives the fake."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import runpod
from runpod import error

from tests.fakes.runpod.clients import H100, until
from tests.fakes.runpod.server import FakeRunpod, fake_runpod


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRunpod]:
    with fake_runpod(processes=False) as fake:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", fake.url)
        monkeypatch.setattr(runpod, "api_key", fake.api_key)
        yield fake
        assert fake.violations == []


def create(name: str = "job-1", **fields: object) -> str:
    pod = runpod.create_pod(name, "image:1", H100, ports="22/tcp", env={"A": "b"}, **fields)
    return str(pod["id"])


def test_a_pods_life(fake: FakeRunpod) -> None:
    pod_id = create(data_center_id="EU-RO-1", min_memory_in_gb=64, allowed_cuda_versions=["12.8"])
    until(lambda: runpod.get_pod(pod_id)["status"] == "RUNNING")
    assert runpod.get_pod(pod_id)["dataCenterId"] == "EU-RO-1"
    assert [pod["name"] for pod in runpod.get_pods()] == ["job-1"]
    assert runpod.stop_pod(pod_id)["status"] == "EXITED"
    assert runpod.resume_pod(pod_id)["status"] == "PROVISIONING"
    assert runpod.terminate_pod(pod_id) is None
    until(lambda: runpod.get_pod(pod_id) is None)
    assert runpod.get_pods() == []
    methods = {(r.method, r.path.replace(pod_id, "ID")) for r in fake.requests}
    assert ("POST", "/v2/pods/ID/action") in methods
    assert ("DELETE", "/v2/pods/ID") in methods


def test_gpus_and_a_cpu_pod(fake: FakeRunpod) -> None:
    assert H100 in [gpu["id"] for gpu in runpod.get_gpus()]
    assert runpod.get_gpu(H100, 2)["availability"] == "HIGH"
    with pytest.raises(ValueError, match="No GPU found"):
        runpod.get_gpu("NVIDIA Nothing")
    pod = runpod.create_pod("rescue", "image:1", instance_id="cpu3c-2-4")
    assert pod["cpu"] == {"id": "cpu3c", "vcpuCount": 2, "memory": 4}


def test_refusals_arrive_as_its_errors(fake: FakeRunpod, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.catalogue.set_stock(0)
    with pytest.raises(error.QueryError, match="no longer any instances") as refused:
        create()
    assert refused.value.status_code == 400
    monkeypatch.setattr(runpod, "api_key", "wrong")
    with pytest.raises(error.AuthenticationError):
        runpod.get_pods()
