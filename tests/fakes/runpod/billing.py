"""The billing meter: who was billed from when to when at what price."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.runpod.clock import FakeClock, rfc3339

_ROUND_USD = 9


@dataclass
class Period:
    """A time at one price; `end_s` is None while it goes on."""

    id: str
    name: str
    kind: str
    """gpu, cpu, disk (a stopped pod) or volume."""
    usd_per_hour: float
    start_s: float
    end_s: float | None = None

    def usd(self, start_s: float, end_s: float) -> float:
        """What falls between the two times."""
        last = end_s if self.end_s is None else min(end_s, self.end_s)
        return max(0.0, last - max(start_s, self.start_s)) / 3600 * self.usd_per_hour


class BillingMeter:
    """All periods since the fake started."""

    def __init__(self, clock: FakeClock) -> None:
        self.periods: list[Period] = []
        self._clock = clock

    def set_price(self, id: str, name: str, kind: str, usd_per_hour: float) -> None:
        """Bill this from now on; a period at another price ends."""
        now_s = self._clock.now_s()
        self.stop(id, now_s)
        self.periods.append(Period(id, name, kind, usd_per_hour, now_s))

    def stop(self, id: str, now_s: float | None = None) -> None:
        """Bill it no longer."""
        for period in self.periods:
            if period.id == id and period.end_s is None:
                period.end_s = self._clock.now_s() if now_s is None else now_s

    def pods(self, name_prefix: str = "") -> list[Period]:
        """Periods of pods, stopped ones included."""
        return [p for p in self.periods if p.kind != "volume" and p.name.startswith(name_prefix)]

    def billed_usd(self, name_prefix: str = "") -> float:
        """What pods with such names have cost until now."""
        return self._sum(self.pods(name_prefix))

    def volumes_usd(self) -> float:
        """What volumes have cost until now."""
        return self._sum([p for p in self.periods if p.kind == "volume"])

    def billing_now(self, name_prefix: str = "") -> list[str]:
        """Names of the pods that cost money at this moment."""
        return [period.name for period in self.pods(name_prefix) if period.end_s is None]

    def max_billing_at_once(self, name_prefix: str = "") -> int:
        """The largest number of pods that were billed in one moment."""
        changes = []
        for period in self.pods(name_prefix):
            changes.append((period.start_s, 1))
            if period.end_s is not None:
                changes.append((period.end_s, -1))
        most = now = 0
        for _, change in sorted(changes):
            now += change
            most = max(most, now)
        return most

    def _sum(self, periods: Iterable[Period]) -> float:
        now_s = self._clock.now_s()
        return sum(period.usd(0, now_s) for period in periods)

    def report(self, start: datetime, end: datetime, size: str, pod_id: str | None) -> Any:
        """The answer of GET /v2/billing/pods for a window that is aligned to its buckets."""
        records: list[dict[str, Any]] = [
            {"startTime": rfc3339(a), "endTime": rfc3339(b), "podId": id, **amounts}
            for a, b in buckets(start, end, size)
            for id in dict.fromkeys(p.id for p in self.pods() if pod_id in (None, p.id))
            if (amounts := self._amounts(id, a, b))["totalAmount"] > 0
        ]
        keys = ("totalAmount", "gpuAmount", "cpuAmount", "diskAmount")
        query = {"startTime": rfc3339(start), "endTime": rfc3339(end), "bucketSize": size}
        return {
            "records": records,
            "metadata": {
                "query": {**query, "podId": pod_id},
                "recordCount": len(records),
                "uniquePodCount": len({record["podId"] for record in records}),
                "totals": {key: sum(float(record[key]) for record in records) for key in keys},
            },
        }

    def _amounts(self, id: str, start: datetime, end: datetime) -> dict[str, float]:
        start_s = self._clock.seconds_at(start)
        end_s = min(self._clock.seconds_at(end), self._clock.now_s())
        amounts = {"gpu": 0.0, "cpu": 0.0, "disk": 0.0}
        for period in self.pods():
            if period.id == id:
                amounts[period.kind] += period.usd(start_s, end_s)
        total = {"totalAmount": round(sum(amounts.values()), _ROUND_USD)}
        return total | {f"{kind}Amount": round(usd, _ROUND_USD) for kind, usd in amounts.items()}


def buckets(start: datetime, end: datetime, size: str) -> Iterator[tuple[datetime, datetime]]:
    """The buckets that cover the window."""
    at = bucket_start(start, size)
    while at < end:
        following = next_bucket(at, size)
        yield at, following
        at = following


def bucket_start(when: datetime, size: str) -> datetime:
    """The beginning of the hour, day, week, month or year."""
    when = when.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if size == "hour":
        return when
    when = when.replace(hour=0)
    if size == "week":
        return when - timedelta(days=when.weekday())
    if size == "month":
        return when.replace(day=1)
    return when.replace(month=1, day=1) if size == "year" else when


def next_bucket(start: datetime, size: str) -> datetime:
    """Where the bucket that starts here ends."""
    if size == "hour":
        return start + timedelta(hours=1)
    days = {"day": 1, "week": 7, "month": 32, "year": 367}[size]
    return bucket_start(start + timedelta(days=days), size)
