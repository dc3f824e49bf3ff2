"""REST v2 over the provider: which call does what, and who may make it. Knows no sockets."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.runpod.billing import bucket_start, next_bucket
from tests.fakes.runpod.catalogue import DATA_CENTRES
from tests.fakes.runpod.image import Machine
from tests.fakes.runpod.pod import LogLine, Pod
from tests.fakes.runpod.problem import Refusal
from tests.fakes.runpod.provider import Provider
from tests.fakes.runpod.schema import ApiSchema, unknown_fields

_ONLY_WITH_INCLUDE = ("product", "count", "cloud", "countryCodes", "cudaVersions", "minCudaVersion")


@dataclass(frozen=True)
class Call:
    """A request, decoded."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None


@dataclass(frozen=True)
class Answer:
    """What goes back; `log` instead of a body is a stream of a pod's log."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    log: LogStream | None = None


@dataclass(frozen=True)
class LogStream:
    """From which line of which pod, and of which source."""

    pod: Pod
    source: str | None
    after: int
    """Lines with a higher number."""

    def lines(self, after: int) -> list[LogLine]:
        """What is there now."""
        return [
            line
            for line in list(self.pod.log)
            if line.number > after and self.source in (None, line.source)
        ]


class Api:
    """Answers calls."""

    def __init__(self, provider: Provider, schema: ApiSchema) -> None:
        self._provider = provider
        self._schema = schema
        self._calls_of_a_minute: deque[float] = deque()

    def answer(self, call: Call, machine: Machine | None = None) -> Answer:
        """Do what is asked; every refusal is an answer. `machine` is for a pod that is made."""
        try:
            caller = self._caller(call)
            self._check_quota()
            self._check_form(call)
            answer = self._do(call, caller, machine)
        except Refusal as refusal:
            answer = refused(refusal)
        errors = self._schema.errors_of_answer(call.method, call.path, answer.status, answer.body)
        if answer.log is None and call.path.startswith("/v2/") and answer.status != 404:
            self._provider.violations += [f"the fake's own answer: {error}" for error in errors]
        return answer

    def _caller(self, call: Call) -> Pod | None:
        scheme, _, key = call.headers.get("authorization", "").partition(" ")
        return self._provider.caller(key if scheme.lower() == "bearer" else "")

    def _check_quota(self) -> None:
        quota, now_s = self._provider.settings.quota_per_minute, self._provider.clock.now_s()
        if quota is None:
            return
        while self._calls_of_a_minute and self._calls_of_a_minute[0] <= now_s - 60:
            self._calls_of_a_minute.popleft()
        if len(self._calls_of_a_minute) >= quota:
            wait_s = int(self._calls_of_a_minute[0] + 60 - now_s) + 1
            raise Refusal(429, "rate limit exceeded for the minute window", (), wait_s)
        self._calls_of_a_minute.append(now_s)

    def _check_form(self, call: Call) -> None:
        """What a client sends against the document is recorded, and refused as the API would."""
        errors = self._schema.errors_of_call(call.method, call.path, call.query, call.body)
        if (call.method, call.path) == ("POST", "/v2/pods") and isinstance(call.body, dict):
            unknown = unknown_fields(call.body)
            errors += [f"{name}: unknown field" for name in unknown]
        if errors:
            said = f"{call.method} {call.path}: {'; '.join(errors)}"
            self._provider.violations.append(said)
            if errors[0].startswith("no such call"):
                raise Refusal(404, "no such path")
            raise Refusal(422, "Request validation failed.", errors)

    def _do(self, call: Call, caller: Pod | None, machine: Machine | None) -> Answer:
        parts = call.path.strip("/").split("/")
        if parts[0] != "v2" or len(parts) < 2:
            raise Refusal(404, "no such path")
        if parts[1] == "pods" and len(parts) > 2:
            return self._pod_call(call, parts, caller)
        if caller is not None:
            raise Refusal(403, "this key is limited to its own pod")
        routes: dict[str, Callable[[Call, list[str], Machine | None], Answer]] = {
            "pods": self._pods,
            "catalog": self._catalogue,
            "network-volumes": self._volumes,
            "billing": self._billing,
        }
        if parts[1] not in routes:
            raise Refusal(404, "the fake does not serve this path")
        return routes[parts[1]](call, parts, machine)

    def _pods(self, call: Call, parts: list[str], machine: Machine | None) -> Answer:
        if call.method == "POST":
            return Answer(201, self._provider.create(call.body, machine).shown())
        _allow(call, "GET")
        stay = self._provider.settings.terminated_stays_listed
        with self._provider.lock:
            pods = [
                pod.shown()
                for pod in self._provider.all_pods.values()
                if not pod.forgotten or (pod.ended and stay)
            ]
        return Answer(200, {"pods": pods})

    def _pod_call(self, call: Call, parts: list[str], caller: Pod | None) -> Answer:
        if caller is not None and caller.id != parts[2]:
            raise Refusal(403, "this key is limited to its own pod")
        with self._provider.lock:
            pod = self._provider.all_pods.get(parts[2])
            if pod is None or pod.forgotten:
                raise Refusal(404, "pod not found")
            if len(parts) == 3 and call.method == "DELETE":
                return self._act(pod, "terminate", caller)
            if len(parts) == 3:
                _allow(call, "GET")
                return Answer(200, pod.shown())
            if parts[3] == "action":
                _allow(call, "POST")
                return self._act(pod, call.body["action"], caller)
            if parts[3] == "logs":
                _allow(call, "GET")
                return self._log(pod, call)
        raise Refusal(404, "no such path")

    def _act(self, pod: Pod, action: str, caller: Pod | None) -> Answer:
        stopping = ("start", "stop", "restart")
        allowed = {"terminate": (*stopping, "terminate"), "stop": stopping, "nothing": ()}
        may = allowed[self._provider.settings.pod_key_may]
        if caller is not None and action not in may:
            raise Refusal(403, "access denied")
        if not (action == "terminate" and pod.ended):
            self._provider.act(pod, action)
        return Answer(204) if action == "terminate" else Answer(200, pod.shown())

    def _log(self, pod: Pod, call: Call) -> Answer:
        source = call.query.get("source")
        lines = [line for line in pod.log if source in (None, line.source)]
        cursor = call.headers.get("last-event-id") or call.query.get("since")
        after = 0
        if cursor:
            stamp, _, number = cursor.partition("/")
            since_s = self._provider.clock.seconds_at(datetime.fromisoformat(stamp))
            after = max((ln.number for ln in lines if ln.at_s < since_s - 1e-6), default=0)
            after = max(after, int(number or 0))
        elif (tail := int(call.query.get("tail", 100))) < len(lines):
            after = lines[-tail - 1].number
        return Answer(200, log=LogStream(pod, source, after))

    def _catalogue(self, call: Call, parts: list[str], _: Machine | None) -> Answer:
        _allow(call, "GET")
        catalogue, kind = self._provider.catalogue, parts[2] if len(parts) > 2 else ""
        query = _catalogue_query(call.query) if kind != "datacenters" else {}
        offers: dict[str, Any]
        if kind == "gpus":
            offers = {id: catalogue.gpu_entry(gpu, query) for id, gpu in catalogue.gpus.items()}
        elif kind == "cpus":
            offers = {id: catalogue.cpu_entry(cpu, query) for id, cpu in catalogue.cpus.items()}
        elif kind == "datacenters":
            include = call.query.get("include", "").split(",")
            offers = {id: catalogue.data_centre_entry(id, include) for id in DATA_CENTRES}
        else:
            raise Refusal(404, "no such path")
        if len(parts) == 3:
            named = {"gpus": "gpus", "cpus": "cpus", "datacenters": "dataCenters"}[kind]
            return Answer(200, {named: list(offers.values())})
        if parts[3] not in offers:
            raise Refusal(404, f"{parts[3]} not found")
        return Answer(200, offers[parts[3]])

    def _volumes(self, call: Call, parts: list[str], _: Machine | None) -> Answer:
        volumes = self._provider.volumes
        if len(parts) == 2 and call.method == "POST":
            return Answer(201, self._provider.create_volume(call.body))
        if len(parts) == 2:
            _allow(call, "GET")
            return Answer(200, {"networkVolumes": list(volumes.values())})
        if parts[2] not in volumes:
            raise Refusal(404, "network volume not found")
        if call.method == "DELETE":
            self._provider.delete_volume(parts[2])
            return Answer(204)
        _allow(call, "GET")
        return Answer(200, volumes[parts[2]])

    def _billing(self, call: Call, parts: list[str], _: Machine | None) -> Answer:
        _allow(call, "GET")
        if parts[2:] != ["pods"]:
            raise Refusal(404, "the fake does not serve this path")
        query, now = call.query, self._provider.clock.utc()
        size = query.get("bucketSize", "day")
        if "lastN" in query:
            if "startTime" in query or "endTime" in query:
                raise Refusal(400, "lastN and startTime/endTime are mutually exclusive")
            start = bucket_start(now, size)
            for _count in range(int(query["lastN"]) - 1):
                start = bucket_start(start - timedelta(seconds=1), size)
        else:
            default = now - timedelta(days=30)
            start = bucket_start(_time(query.get("startTime"), default), size)
        end = _time(query.get("endTime"), now)
        if bucket_start(end, size) != end:
            end = next_bucket(bucket_start(end, size), size)
        report = self._provider.billing.report(start, end, size, query.get("podId"))
        return Answer(200, report)


def refused(refusal: Refusal) -> Answer:
    """A refusal as an answer."""
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    return Answer(refusal.status, refusal.body, headers)


def decode_body(raw: bytes) -> Any:
    """Raises Refusal 400 for what is no JSON."""
    try:
        return json.loads(raw) if raw else None
    except ValueError as error:
        raise Refusal(400, "malformed JSON") from error


def _allow(call: Call, method: str) -> None:
    if call.method != method:
        raise Refusal(405, "The requested method is not allowed for this path.")


def _catalogue_query(query: dict[str, str]) -> dict[str, Any]:
    if "include" not in query:
        if wrong := [name for name in _ONLY_WITH_INCLUDE if name in query]:
            raise Refusal(400, f"{wrong[0]} is valid only with include=AVAILABILITY")
        return {}
    if "product" not in query:
        raise Refusal(400, "include=AVAILABILITY requires product")
    decoded: dict[str, Any] = dict(query)
    for name in ("countryCodes", "cudaVersions"):
        if name in query:
            decoded[name] = query[name].split(",")
    if "count" in query:
        decoded["count"] = int(query["count"])
    return decoded


def _time(text: str | None, default: datetime) -> datetime:
    if text is None:
        return default
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)
