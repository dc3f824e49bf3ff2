"""The fake's answers, refusals and faults over HTTP; its pods run nothing here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.runpod.clients import H100, client, gpu_order, until
from tests.fakes.runpod.control import Control
from tests.fakes.runpod.problem import NO_CAPACITY
from tests.fakes.runpod.schema import SPECS, ApiSchema
from tests.fakes.runpod.server import FakeRunpod, fake_runpod

needs_the_document = pytest.mark.skipif(
    not (SPECS / "runpod-openapi-v2.json").exists(), reason=f"no API document in {SPECS}"
)


@pytest.fixture
def fake() -> Iterator[FakeRunpod]:
    with fake_runpod(processes=False) as fake:
        yield fake


@pytest.fixture
def api(fake: FakeRunpod) -> Iterator[httpx.Client]:
    with client(fake) as api:
        yield api


def create(api: httpx.Client, **fields: object) -> str:
    answer = api.post("/v2/pods", json=gpu_order(**fields))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def status(api: httpx.Client, pod_id: str) -> str:
    return str(api.get(f"/v2/pods/{pod_id}").json().get("status"))


def detail(answer: httpx.Response, code: int) -> str:
    assert answer.status_code == code, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == code
    return str(answer.json()["detail"])


def test_a_pod_goes_from_provisioning_to_running_to_absent(
    fake: FakeRunpod, api: httpx.Client
) -> None:
    pod_id = create(api, env={"A": "b"})
    first = api.get(f"/v2/pods/{pod_id}").json()
    assert first["status"] in ("PROVISIONING", "STARTING")
    assert first["ssh"]["direct"] is None
    assert first["cost"] == 2.39
    until(lambda: status(api, pod_id) == "RUNNING")
    assert api.get(f"/v2/pods/{pod_id}").json()["ssh"]["direct"]["host"] == "127.0.0.1"
    assert [pod["id"] for pod in api.get("/v2/pods").json()["pods"]] == [pod_id]
    assert api.delete(f"/v2/pods/{pod_id}").status_code == 204
    until(lambda: api.get(f"/v2/pods/{pod_id}").status_code == 404)
    assert api.get("/v2/pods").json()["pods"] == []
    assert fake.violations == []


def test_an_ended_pod_may_stay_listed(fake: FakeRunpod, api: httpx.Client) -> None:
    fake.settings.terminated_stays_listed = True
    pod_id = create(api)
    api.delete(f"/v2/pods/{pod_id}")
    until(lambda: api.get(f"/v2/pods/{pod_id}").status_code == 404)
    assert [pod["status"] for pod in api.get("/v2/pods").json()["pods"]] == ["TERMINATED"]


def test_actions_follow_the_status(fake: FakeRunpod, api: httpx.Client) -> None:
    pod_id = create(api)
    act = f"/v2/pods/{pod_id}/action"
    assert "cannot start" in detail(api.post(act, json={"action": "start"}), 409)
    until(lambda: status(api, pod_id) == "RUNNING")
    stopped = api.post(act, json={"action": "stop"}).json()
    assert (stopped["status"], stopped["cost"]) == ("EXITED", 0.0)
    assert api.post(act, json={"action": "start"}).status_code == 200
    until(lambda: status(api, pod_id) == "RUNNING")
    assert api.post(act, json={"action": "restart"}).json()["status"] == "STARTING"
    assert api.post(act, json={"action": "terminate"}).status_code == 204


def test_an_unknown_field_is_refused_by_name_and_recorded(
    fake: FakeRunpod, api: httpx.Client
) -> None:
    answer = api.post("/v2/pods", json=gpu_order(interruptible=True))
    detail(answer, 422)
    assert any("interruptible" in error for error in answer.json()["errors"])
    assert any("interruptible" in violation for violation in fake.violations)
    assert fake.pods == []


@needs_the_document
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v2/pods", {"name": "x", "image": "i", "gpu": {"id": H100, "count": 0}}),
        ("POST", "/v2/pods", {"image": "i", "gpu": {"id": H100}}),
        ("POST", "/v2/network-volumes", {"name": "v", "size": 5, "dataCenter": "US-KS-2"}),
        ("GET", "/v2/catalog/gpus?include=AVAILABILITY&product=POD&count=many", None),
        ("GET", "/v2/pods?status=RUNNING", None),
    ],
)
def test_what_the_document_forbids_is_refused(
    fake: FakeRunpod, api: httpx.Client, method: str, path: str, body: object
) -> None:
    detail(api.request(method, path, json=body), 422)
    assert len(fake.violations) == 1


@needs_the_document
def test_a_call_that_does_not_exist_is_recorded(fake: FakeRunpod, api: httpx.Client) -> None:
    detail(api.post("/graphql", json={}), 404)
    assert fake.violations == ["POST /graphql: no such call: POST /graphql"]


@needs_the_document
def test_answers_are_checked_too() -> None:
    schema = ApiSchema()
    assert schema.errors_of_answer("GET", "/v2/pods", 200, {"pods": [{"id": "x"}]})
    assert schema.errors_of_answer("GET", "/v2/pods", 200, {"pods": []}) == []
    assert schema.errors_of_answer("GET", "/v2/pods", 404, {"title": "x"})


def test_keys_are_checked(fake: FakeRunpod, api: httpx.Client) -> None:
    with client(fake, "wrong") as other:
        detail(other.get("/v2/pods"), 401)
    fake.revoke_key()
    detail(api.get("/v2/pods"), 401)
    fake.restore_key()
    assert api.get("/v2/pods").status_code == 200


@pytest.mark.parametrize(
    ("may", "of_delete", "of_stop"),
    [("terminate", 204, 200), ("stop", 403, 200), ("nothing", 403, 403)],
)
def test_a_pods_own_key_reaches_that_pod_alone(
    fake: FakeRunpod, api: httpx.Client, may: str, of_delete: int, of_stop: int
) -> None:
    fake.settings.pod_key_may = may
    pod_id, other_id = create(api), create(api, name="other")
    with client(fake, fake.pod(pod_id).api_key) as own:
        detail(own.get("/v2/pods"), 403)
        detail(own.delete(f"/v2/pods/{other_id}"), 403)
        stop = own.post(f"/v2/pods/{pod_id}/action", json={"action": "stop"})
        assert stop.status_code == of_stop
        assert own.delete(f"/v2/pods/{pod_id}").status_code == of_delete


def test_capacity_is_refused_in_prose(fake: FakeRunpod, api: httpx.Client) -> None:
    fake.catalogue.set_stock(0, H100)
    assert detail(api.post("/v2/pods", json=gpu_order()), 400) == NO_CAPACITY
    fake.catalogue.set_stock(1, H100, "EU-RO-1", "SECURE")
    elsewhere = gpu_order(dataCenterIds=["US-KS-2", "NO-WHERE-1"])
    assert detail(api.post("/v2/pods", json=elsewhere), 400) == NO_CAPACITY
    pod_id = create(api)
    assert fake.pod(pod_id).data_centre == "EU-RO-1"
    assert detail(api.post("/v2/pods", json=gpu_order("second")), 400) == NO_CAPACITY
    api.delete(f"/v2/pods/{pod_id}")
    create(api, name="third")


def test_a_cuda_floor_is_compared_by_number(fake: FakeRunpod, api: httpx.Client) -> None:
    def order(floor: str) -> dict[str, object]:
        return gpu_order(gpu={"id": H100, "count": 1, "minCudaVersion": floor})

    assert detail(api.post("/v2/pods", json=order("12.11")), 400) == NO_CAPACITY
    assert api.post("/v2/pods", json=order("12.4")).status_code == 201


def test_a_volume_decides_the_data_centre(fake: FakeRunpod, api: httpx.Client) -> None:
    order = {"name": "v", "size": 10, "dataCenter": "CA-MTL-1"}
    volume = api.post("/v2/network-volumes", json=order).json()
    assert api.get("/v2/network-volumes").json()["networkVolumes"] == [volume]
    mounts = {"network": [{"volumeId": volume["id"], "path": str(fake.mount_path)}]}
    pod_id = create(api, mounts=mounts)
    assert fake.pod(pod_id).data_centre == "CA-MTL-1"
    wrong = gpu_order(mounts=mounts, dataCenterIds=["US-KS-2"])
    assert detail(api.post("/v2/pods", json=wrong), 400) == NO_CAPACITY
    community = gpu_order(mounts=mounts, cloud="COMMUNITY")
    assert "secure" in detail(api.post("/v2/pods", json=community), 400)
    detail(api.delete(f"/v2/network-volumes/{volume['id']}"), 400)
    api.delete(f"/v2/pods/{pod_id}")
    assert api.delete(f"/v2/network-volumes/{volume['id']}").status_code == 204
    detail(api.get(f"/v2/network-volumes/{volume['id']}"), 404)
    assert fake.violations == []


def test_a_cpu_pod_has_a_price_per_vcpu(fake: FakeRunpod, api: httpx.Client) -> None:
    order = {"name": "rescue", "image": "i", "cpu": {"id": "cpu3g", "vcpuCount": 4}}
    pod = api.post("/v2/pods", json=order).json()
    assert (pod["cpu"]["memory"], pod["cost"]) == (16, 0.16)
    order["cpu"] = {"id": "cpu3g", "vcpuCount": 6}
    detail(api.post("/v2/pods", json=order), 400)


def test_the_catalogue_shows_price_and_stock(fake: FakeRunpod, api: httpx.Client) -> None:
    fake.catalogue.set_price(H100, 7.99, "SECURE")
    fake.catalogue.set_stock(0, H100)
    fake.catalogue.set_stock(2, H100, "US-TX-3", "SECURE")
    asked = {"include": "AVAILABILITY", "product": "POD", "count": 2, "cloud": "SECURE"}
    gpu = api.get(f"/v2/catalog/gpus/{H100}", params=asked).json()
    assert gpu["price"] == {"secure": 7.99, "community": 1.99}
    assert gpu["availability"] == "LOW"
    assert [place["id"] for place in gpu["dataCenters"]] == ["US-TX-3"]
    gpu = api.get(f"/v2/catalog/gpus/{H100}", params={**asked, "count": 3}).json()
    assert gpu["availability"] == "NONE"
    assert len(api.get("/v2/catalog/gpus", params=asked).json()["gpus"]) == 5
    assert "product" in detail(api.get("/v2/catalog/gpus?include=AVAILABILITY"), 400)
    assert len(api.get("/v2/catalog/cpus").json()["cpus"]) == 3
    places = api.get("/v2/catalog/datacenters?include=GPU_AVAILABILITY").json()["dataCenters"]
    assert [H100 in str(place) for place in places] == [False, True, False, False]
    assert fake.violations == []


def test_money_is_metered_by_the_fakes_clock(fake: FakeRunpod, api: httpx.Client) -> None:
    pod_id = create(api, name="a-1")
    fake.clock.advance(1800)
    api.delete(f"/v2/pods/{pod_id}")
    create(api, name="a-2")
    create(api, name="b-1")
    fake.clock.advance(3600)
    assert fake.billed_usd("a-1") == pytest.approx(2.39 / 2, abs=0.01)
    assert fake.billed_usd("a-") == pytest.approx(2.39 * 1.5, abs=0.01)
    assert fake.max_billing_at_once("a-") == 1
    assert fake.max_billing_at_once() == 2
    assert fake.billing_now("a-") == ["a-2"]
    report = api.get("/v2/billing/pods", params={"podId": pod_id, "bucketSize": "hour"}).json()
    assert report["metadata"]["uniquePodCount"] == 1
    total = report["metadata"]["totals"]["gpuAmount"]
    assert total == pytest.approx(fake.billed_usd("a-1"))
    everything = api.get("/v2/billing/pods").json()["metadata"]["totals"]["totalAmount"]
    assert everything == pytest.approx(fake.billed_usd(), rel=0.01)
    assert fake.violations == []


def test_without_money_pods_without_a_volume_end(fake: FakeRunpod, api: httpx.Client) -> None:
    volume = {"name": "v", "size": 10, "dataCenter": "US-KS-2"}
    volume_id = api.post("/v2/network-volumes", json=volume).json()["id"]
    mounts = {"network": [{"volumeId": volume_id, "path": str(fake.mount_path)}]}
    kept, lost = create(api, name="kept", mounts=mounts), create(api, name="lost")
    fake.set_balance(1.0)
    fake.clock.advance(3600)
    until(lambda: status(api, kept) == "EXITED")
    until(lambda: api.get(f"/v2/pods/{lost}").status_code == 404)
    assert "balance" in detail(api.post("/v2/pods", json=gpu_order("new")), 402)


def test_a_fault_can_do_it_and_then_say_that_it_failed(fake: FakeRunpod, api: httpx.Client) -> None:
    fake.faults.add(method="POST", path=r"/v2/pods$", after_doing=True, status=500)
    detail(api.post("/v2/pods", json=gpu_order("made")), 500)
    assert [pod.name for pod in fake.pods] == ["made"]
    fake.faults.add(method="POST", path=r"/v2/pods$", after_doing=True, reset=True)
    with pytest.raises(httpx.ReadError):
        api.post("/v2/pods", json=gpu_order("made too"))
    fake.faults.add(method="POST", path=r"/v2/pods$", after_doing=True, hang=True)
    with client(fake, timeout_s=0.3) as hasty, pytest.raises(httpx.ReadTimeout):
        hasty.post("/v2/pods", json=gpu_order("made as well"))
    fake.faults.add(method="POST", path=r"/v2/pods$", reset=True)
    with pytest.raises(httpx.ReadError):
        api.post("/v2/pods", json=gpu_order("not made"))
    assert [pod.name for pod in fake.pods] == ["made", "made too", "made as well"]
    assert [r.status for r in fake.calls("POST", "/v2/pods$")] == [500, 0, 0, 0]


def test_faults_can_be_counted_skipped_and_seeded(fake: FakeRunpod, api: httpx.Client) -> None:
    limited = {"status": 429, "retry_after_s": 7}
    fault = fake.faults.add(method="GET", path="/v2/pods$", times=2, skip=1, **limited)
    answers = [api.get("/v2/pods") for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 429, 429, 200]
    assert answers[1].headers["retry-after"] == "7"
    assert fault.met == 2
    fake.faults.add(times=None, probability=0.5, status=503)
    codes = [api.get("/v2/pods").status_code for _ in range(40)]
    assert 5 < codes.count(503) < 35
    fake.faults.clear()
    assert api.get("/v2/pods").status_code == 200


def test_listings_and_terminations_can_lie(fake: FakeRunpod, api: httpx.Client) -> None:
    pod_id = create(api, name="hidden")
    create(api, name="seen")
    fake.faults.add(method="GET", path="/v2/pods$", omit="^hidden$")
    assert [pod["name"] for pod in api.get("/v2/pods").json()["pods"]] == ["seen"]
    assert len(api.get("/v2/pods").json()["pods"]) == 2
    fake.faults.add(method="DELETE", status=204)
    assert api.delete(f"/v2/pods/{pod_id}").status_code == 204
    assert "hidden" in fake.billing_now()
    fake.faults.add(method="GET", path=r"/v2/pods/\w+$", status=404)
    assert [api.get(f"/v2/pods/{pod_id}").status_code for _ in range(2)] == [404, 200]


def test_a_pods_machine_can_be_another_than_ordered(fake: FakeRunpod, api: httpx.Client) -> None:
    fake.next_machine(price_factor=2.0)
    dear = create(api, name="dear")
    assert api.get(f"/v2/pods/{dear}").json()["cost"] == 4.78
    fake.faults.add(method="POST", pod={"pull_loop": True})
    stuck = create(api, name="stuck")
    fake.settings.pull_fails_every_s = 0.02
    pulls = lambda: [ln for ln in fake.pod(stuck).log if "error pulling" in ln.line]  # noqa: E731
    until(lambda: len(pulls()) > 2)
    assert status(api, stuck) == "STARTING"


def test_a_lost_pod_is_exited_in_error_or_gone(fake: FakeRunpod, api: httpx.Client) -> None:
    ids = {how: create(api, name=how) for how in ("exited", "error", "gone")}
    for how, pod_id in ids.items():
        fake.lose_pod(pod_id, how)
    assert status(api, ids["exited"]) == "EXITED"
    assert status(api, ids["error"]) == "ERROR"
    assert api.get(f"/v2/pods/{ids['gone']}").status_code == 404
    assert fake.billing_now() == ["exited", "error"]


def test_a_quota_answers_429_with_the_time_to_wait(fake: FakeRunpod, api: httpx.Client) -> None:
    fake.settings.quota_per_minute = 2
    assert [api.get("/v2/pods").status_code for _ in range(3)] == [200, 200, 429]
    fake.clock.advance(60)
    assert api.get("/v2/pods").status_code == 200


def test_the_log_is_streamed_from_where_it_is_asked(fake: FakeRunpod, api: httpx.Client) -> None:
    pod_id = create(api)
    pod = fake.pod(pod_id)
    until(lambda: pod.status == "RUNNING")
    pod.write("container", "one")
    pod.write("container", "two")
    path = f"/v2/pods/{pod_id}/logs?source=container"
    found = []
    with api.stream("GET", f"{path}&tail=1") as answer:
        for text in answer.iter_lines():
            if text.startswith("data:"):
                found.append(json.loads(text.removeprefix("data:"))["line"])
                pod.write("container", "three")
            elif text.startswith("id:"):
                last = text.removeprefix("id:").strip()
            if len(found) == 2:
                break
    assert found == ["two", "three"]
    with api.stream("GET", path, headers={"Last-Event-ID": last}) as answer:
        data = next(text for text in answer.iter_lines() if text.startswith("data:"))
    assert re.search('"three"', data)
    assert fake.violations == []


def test_another_process_controls_it_over_http(fake: FakeRunpod, api: httpx.Client) -> None:
    control = Control(fake.url)
    control.add_fault(method="GET", path="/v2/pods$", status=503)
    assert api.get("/v2/pods").status_code == 503
    pod_id = create(api, name="a")
    control.advance(seconds=3600)
    assert control.billed_usd(name_prefix="a") == pytest.approx(2.39, abs=0.01)
    control.settings(grace_s=0.1)
    assert fake.settings.grace_s == 0.1
    control.lose_pod(pod_id=pod_id, how="gone")
    assert control.billing_now() == []
    assert control.state()["pods"][0]["status"] == "TERMINATED"
    assert [r["status"] for r in control.requests()] == [503, 201]
    with pytest.raises(AssertionError, match="no such command"):
        control.nonsense()
