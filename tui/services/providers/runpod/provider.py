"""RunPod as a provider of machines: REST v2, by its official package and by httpx.

The package lists, looks at and terminates pods. httpx does what it cannot: order a pod with a CUDA
floor, read the catalogue with stock, logs, volumes and bills. Knows no job.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from importlib.util import find_spec
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from shared.errors import (
    InvalidInput,
    InvalidMachineRequest,
    NoCapacity,
    ProviderRefused,
    ProviderUnreachable,
)
from shared.machine_request import Candidate, Cloud
from tui.services.providers.provider import (
    DataCenter,
    MachineOrder,
    MachineStatus,
    NetworkVolume,
    RentedMachine,
)
from tui.services.providers.runpod import catalogue, log_stream, places, pods
from tui.services.providers.runpod.answer_model import AnswerModel
from tui.services.providers.runpod.answers import NotThere, Request
from tui.services.providers.runpod.api_key import checked_base_url
from tui.services.providers.runpod.gpu_names import RUNPOD_IDS, canonical_gpu_type
from tui.services.providers.runpod.official_client import INSTALL, OfficialClient, RateLimited
from tui.services.providers.runpod.transport import ANSWER_TIMEOUT_S, Transport

VOLUMES = "/v2/network-volumes"
MOST_LOG_LINES = 5000
"""That the API sends of what was printed before (2026-08)."""
SYSTEM_LOG_LINES = 100
FIRST_LINE_WITHIN_S = 5.0
"""Of a system log, and the last one too; the stream goes on for ever, so silence is its end."""
MOST_FAILED_OPENINGS = 6
"""Of a log in a row; then nobody knows what it says."""
MOST_COMPUTES_TRIED = 4
"""At most so many ids, or CPU flavours, are tried for one order."""
DAYS_OF_BILLS = 60
"""The current UTC day and those before it. The usual window of 30 days would cut off a machine that
ran as long as a job may (2026-08)."""


class _BillRecord(AnswerModel):
    podId: str
    totalAmount: float


class _Bill(AnswerModel):
    records: list[_BillRecord]


class RunpodProvider:
    """One account at RunPod."""

    def __init__(
        self,
        api_key: str,
        base_url: str,
        *,
        reconnect_pause_s: float = 1.0,
        quiet_log_s: float = 1.0,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        """Raises:
        InvalidMachineRequest: the official package is not installed, or the address is none.
        """
        if find_spec("runpod") is None:
            raise InvalidMachineRequest(INSTALL)
        base_url = checked_base_url(base_url)
        self._transport = Transport(api_key, base_url, answer_timeout_s=answer_timeout_s)
        self._official = OfficialClient(api_key, base_url)
        self._reconnect_pause_s = reconnect_pause_s
        self._quiet_log_s = quiet_log_s
        self._is_limited = False

    @property
    def name(self) -> str:
        return "runpod"

    async def offers(
        self, gpu_types: Sequence[str], gpu_count: int, clouds: Sequence[Cloud]
    ) -> list[Candidate]:
        wanted = [canonical_gpu_type(each) for each in gpu_types]
        found: list[Candidate] = []
        for cloud in clouds:
            gpus = await self._gpus(gpu_count, cloud)
            found += catalogue.candidates(gpus, wanted, gpu_count, cloud)
        return found

    async def rent(self, order: MachineOrder) -> RentedMachine:
        data_center = await self._place_of(order)
        refusals: list[str] = []
        for compute in (await self._computes(order, data_center))[:MOST_COMPUTES_TRIED]:
            body = pods.pod_request(order, compute, data_center)
            try:
                pod = await self._transport.create(pods.CREATE, body, pods.Pod)
            except NoCapacity as error:
                # Refused for certain, so there is no pod of this name yet.
                refusals.append(str(error))
                continue
            return pod.machine()
        raise NoCapacity(" ".join(refusals))

    async def machines(self) -> list[RentedMachine]:
        try:
            if self._is_limited:
                # The package would ask at once, whatever Retry-After says.
                raise RateLimited("as the last time")
            listed = [_read_pod(each) for each in await self._official.pods()]
        except RateLimited:
            self._is_limited = True
            listed = (await self._transport.get(pods.LIST, pods.PodList)).pods
            self._is_limited = False
        found = [pod.machine() for pod in listed]
        return [each for each in found if each.status is not MachineStatus.TERMINATED]

    async def machine(self, machine_id: str) -> RentedMachine | None:
        try:
            answer = await self._official.pod(machine_id)
        except RateLimited:
            return await self._machine_over_httpx(machine_id)
        return None if answer is None else _read_pod(answer).machine()

    async def end(self, machine_id: str) -> None:
        try:
            await self._official.terminate(machine_id)
        except RateLimited:
            with suppress(NotThere):
                await self._transport.change(Request("DELETE", _pod_path(machine_id)))

    async def log_lines(self, machine_id: str) -> AsyncGenerator[str]:
        resumption = log_stream.Resumption()
        failures = 0
        while True:
            is_quiet = True
            lines = self._one_stream(machine_id, resumption)
            try:
                async with aclosing(lines):
                    async for line in lines:
                        is_quiet = False
                        yield line
                failures = 0
            except ProviderUnreachable:
                failures += 1
                if failures == MOST_FAILED_OPENINGS:
                    raise
            await asyncio.sleep(self._reconnect_pause_s * (1 + failures if is_quiet else 1))

    async def system_log(self, machine_id: str) -> list[str]:
        lines: list[str] = []
        params: dict[str, str | int] = {"source": "system", "tail": SYSTEM_LOG_LINES}
        clock_s = asyncio.get_running_loop().time
        # An image that is pulled again and again has no last line.
        end_s = clock_s() + FIRST_LINE_WITHIN_S
        events = self._events(machine_id, params, headers={})
        async with aclosing(events):
            while len(lines) < SYSTEM_LOG_LINES:
                left_s = end_s - clock_s()
                wait_s = min(left_s, self._quiet_log_s) if lines else left_s
                try:
                    event = await asyncio.wait_for(anext(events), wait_s)
                except (TimeoutError, StopAsyncIteration):
                    break
                lines.append(event.line)
        return lines

    async def volumes(self) -> list[NetworkVolume]:
        answer = await self._transport.get(Request("GET", VOLUMES), places.VolumeList)
        return [each.network_volume() for each in answer.networkVolumes]

    async def create_volume(self, name: str, size_gb: int, data_center: str) -> NetworkVolume:
        known = await self._places()
        found = places.known_data_center(data_center, [each.data_center() for each in known])
        place = next(each for each in known if each.id == found.data_center_id)
        places.check_new_volume(name, size_gb, place)
        body: dict[str, Any] = {"name": name, "size": size_gb, "dataCenter": place.id}
        if places.STANDARD in place.networkVolumeTypes:
            # Its price is published; left to RunPod, it may be the dearer kind.
            body["type"] = places.STANDARD
        volume = await self._transport.create(Request("POST", VOLUMES), body, places.Volume)
        return volume.network_volume()

    async def data_centers(self) -> list[DataCenter]:
        return [each.data_center() for each in await self._places()]

    async def billed_usd(self, machine_id: str) -> float | None:
        bill = await self._transport.get(
            Request("GET", "/v2/billing/pods"),
            _Bill,
            {"podId": machine_id, "bucketSize": "day", "lastN": DAYS_OF_BILLS},
        )
        # The totals would be the whole account's if the filter were ever ignored.
        own = [each.totalAmount for each in bill.records if each.podId == machine_id]
        return math.fsum(own) if own else None

    async def close(self) -> None:
        await self._transport.close()

    async def _gpus(self, gpu_count: int, cloud: Cloud) -> list[catalogue.GpuType]:
        params: Mapping[str, str | int] = {
            "include": "AVAILABILITY",
            "product": "POD",
            "count": gpu_count,
            "cloud": cloud.value.upper(),
        }
        request = Request("GET", "/v2/catalog/gpus")
        return (await self._transport.get(request, catalogue.GpuList, params)).gpus

    async def _places(self) -> list[places.Place]:
        request = Request("GET", "/v2/catalog/datacenters")
        return (await self._transport.get(request, places.PlaceList)).dataCenters

    async def _place_of(self, order: MachineOrder) -> str | None:
        """The data centre to ask for: the volume's, where there is one.

        Raises:
            ProviderRefused: the volume is not there, or not in the data centre that is asked for.
        """
        wanted = order.candidate.data_center if order.candidate else order.data_center
        if order.network_volume_id is None:
            return wanted
        try:
            known = await self.volumes()
            return places.volume_in(order.network_volume_id, wanted, known).data_center
        except InvalidInput as error:
            raise ProviderRefused(str(error)) from error

    async def _computes(self, order: MachineOrder, data_center: str | None) -> list[dict[str, Any]]:
        """What to ask for, the best first; a refused one leaves the next.

        Raises:
            NoCapacity: nothing to ask for.
        """
        if order.candidate is None:
            return await self._smallest_cpus(data_center)
        candidate = order.candidate
        ids: Sequence[str] = RUNPOD_IDS[canonical_gpu_type(candidate.gpu_type)]
        if len(ids) > 1:
            gpus = await self._gpus(candidate.gpu_count, candidate.cloud)
            ids = catalogue.ids_for(candidate, gpus)
        if not ids:
            raise NoCapacity(
                f"RunPod: {candidate.label} is not sold for ${candidate.usd_per_hour:.2f}/h now."
            )
        return [pods.gpu_compute(each, candidate.gpu_count, order.min_cuda) for each in ids]

    async def smallest_usd_per_hour(self, data_center: str) -> float:
        return (await self._cpus(data_center))[0].usd_per_hour

    async def _smallest_cpus(self, data_center: str | None) -> list[dict[str, Any]]:
        cpus = await self._cpus(data_center)
        return [pods.cpu_compute(each.id, each.vcpu_count) for each in cpus]

    async def _cpus(self, data_center: str | None) -> list[catalogue.CpuType]:
        """The cheapest first; at least one."""
        request = Request("GET", "/v2/catalog/cpus")
        params = {"include": "AVAILABILITY", "product": "POD"}
        listed = (await self._transport.get(request, catalogue.CpuList, params)).cpus
        smallest = catalogue.smallest_cpus(listed, data_center)
        if not smallest:
            raise NoCapacity(f"RunPod has no CPU machine in {data_center or 'any place'} now.")
        return smallest

    async def _machine_over_httpx(self, machine_id: str) -> RentedMachine | None:
        try:
            pod = await self._transport.get(Request("GET", _pod_path(machine_id)), pods.Pod)
        except NotThere:
            return None
        return pod.machine()

    async def _one_stream(
        self, machine_id: str, resumption: log_stream.Resumption
    ) -> AsyncGenerator[str]:
        headers = resumption.reconnect()
        params: dict[str, str | int] = {"source": "container", "tail": MOST_LOG_LINES}
        events = self._events(machine_id, params, headers)
        async with aclosing(events):
            async for event in events:
                if resumption.is_new(event):
                    yield event.line

    async def _events(
        self, machine_id: str, params: Mapping[str, str | int], headers: Mapping[str, str]
    ) -> AsyncGenerator[log_stream.LogEvent]:
        request = Request("GET", f"{_pod_path(machine_id)}/logs")
        decoder = log_stream.EventDecoder()
        async with self._transport.events(request, params, headers) as response:
            async for piece in response.aiter_bytes():
                for event in decoder.feed(piece):
                    yield event


def _pod_path(machine_id: str) -> str:
    return f"/v2/pods/{quote(machine_id, safe='')}"


def _read_pod(answer: Mapping[str, Any]) -> pods.Pod:
    """One that cannot be read spoils the whole answer: it must not count as absent.

    Raises:
        ProviderUnreachable: nothing is known.
    """
    try:
        return pods.Pod.model_validate(answer)
    except ValidationError as error:
        raise ProviderUnreachable(f"{pods.LIST}: a pod that cannot be read.") from error
