"""What the GPUs do while a trainer runs: sampled beside it, told in its journal.

`GpuGauges` asks nvidia-smi in a task of its own, so that nobody ever waits for a driver that hangs.
`GpuTeller` decides, from values alone, which samples an attempt's journal gets, and says once when
the GPUs idle. Neither stops or slows anything, and neither is a sign of life of the trainer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from agent.machine import GPU_TROUBLE_FRESH_S, ask_readings
from shared.clean_text import clean_line
from shared.errors import ProtocolError
from shared.events import Event, GpuReading, GpuSample, LogLine, utc_now
from shared.job_state import IDLE_BELOW_PERCENT, JobState, are_idle

INTERVAL_S = 15.0
UNCHANGED_S = 60.0
"""So often a sample is written even if it says what the last one said."""
IDLE_WARNING_S = 180.0
"""Longer than a checkpoint or a slow batch of a 70B model keeps its GPUs waiting."""

_LONGEST_TROUBLE = 200
_NOTABLE = {"utilisation_percent": 10, "temperature_c": 5, "power_w": 50}
"""From this difference on a sample says something new."""
_NOTABLE_MEMORY = 50
"""The same for memory: one part in so many."""


@dataclass(frozen=True, slots=True)
class Look:
    """One answer of nvidia-smi, or why there is none."""

    at: datetime
    gpus: tuple[GpuReading, ...] = ()
    """Empty where there are none."""
    trouble: str = ""


class GpuGauges:
    """Samples this machine's GPUs as long as somebody asks for the latest look."""

    def __init__(
        self,
        interval_s: float = INTERVAL_S,
        *,
        ask: Callable[[], Awaitable[tuple[GpuReading, ...]]] = ask_readings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_s = interval_s
        self._ask = ask
        self._clock = clock
        self._due_s = 0.0
        self._good_until_s = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._latest: Look | None = None

    def latest(self) -> Look | None:
        """The last look, unless nobody has asked for long; begins a newer one once that is due."""
        is_asking = self._asking is not None and not self._asking.done()
        if self._interval_s and not is_asking and self._clock() >= self._due_s:
            self._due_s = self._clock() + self._interval_s
            self._asking = asyncio.create_task(self._look())
        return self._latest if self._clock() < self._good_until_s else None

    async def close(self) -> None:
        """End what is being asked."""
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking

    async def _look(self) -> None:
        try:
            self._latest = Look(gpus=await self._ask(), at=utc_now())
        except ProtocolError as error:
            trouble = clean_line(str(error))[:_LONGEST_TROUBLE]
            self._latest = Look(utc_now(), trouble=trouble)
            self._due_s = self._clock() + max(self._interval_s, GPU_TROUBLE_FRESH_S)
        self._good_until_s = self._clock() + 2 * self._interval_s


class GpuTeller:
    """What of the looks one attempt's journal is told."""

    def __init__(self, state: JobState) -> None:
        """`state` is the job's so far: what an earlier agent has told is not told again."""
        self._looked_at: datetime | None = None
        self._told: Look | None = None
        self._has_told_trouble = False
        self._warned_of = state.gpu_idle_since if _is_long_idle(state, state.gpus_at) else None

    def events(self, look: Look | None, state: JobState, usd_per_hour: float) -> list[Event]:
        """What is to be written after this look; `state` is the job's up to now."""
        if look is None or look.at == self._looked_at:
            return []
        self._looked_at = look.at
        if look.trouble:
            return self._trouble(look.trouble)
        if not look.gpus:
            return []
        told: list[Event] = []
        if self._told is None or _says_more(look, self._told):
            self._told = look
            told.append(GpuSample(gpus=look.gpus))
        if are_idle(look.gpus) and _is_long_idle(state, look.at):
            told += self._idle_warning(state, look, usd_per_hour)
        return told

    def _trouble(self, trouble: str) -> list[Event]:
        if self._has_told_trouble:
            return []
        self._has_told_trouble = True
        message = f"The GPUs cannot be watched: {trouble} The training goes on."
        return [LogLine(level="warning", message=message)]

    def _idle_warning(self, state: JobState, look: Look, usd_per_hour: float) -> list[Event]:
        since = state.gpu_idle_since
        if since is None or since == self._warned_of:
            return []
        self._warned_of = since
        who = "The GPU idles" if len(look.gpus) == 1 else f"All {len(look.gpus)} GPUs idle"
        minutes = (look.at - since).total_seconds() / 60
        price = f", at {usd_per_hour:.2f} USD an hour" if usd_per_hour else ""
        message = (
            f"{who} (below {IDLE_BELOW_PERCENT} %) for {minutes:.0f} min while the job "
            f"trains{price}. The log says what it waits for."
        )
        return [LogLine(level="warning", message=message)]


def _is_long_idle(state: JobState, now: datetime | None) -> bool:
    since = state.gpu_idle_since
    if since is None or now is None:
        return False
    return (now - since).total_seconds() >= IDLE_WARNING_S


def _says_more(look: Look, told: Look) -> bool:
    if (look.at - told.at).total_seconds() >= UNCHANGED_S - INTERVAL_S / 2:
        return True
    return _differ(look.gpus, told.gpus)


def _differ(now: Sequence[GpuReading], before: Sequence[GpuReading]) -> bool:
    if len(now) != len(before):
        return True
    return any(_is_notable(*pair) for pair in zip(now, before, strict=True))


def _is_notable(now: GpuReading, before: GpuReading) -> bool:
    if now.held_back_by != before.held_back_by or are_idle([now]) != are_idle([before]):
        return True
    memory = (now.memory_total_mib or 0) // _NOTABLE_MEMORY
    limits = {**_NOTABLE, "memory_used_mib": max(memory, 1)}
    return any(
        _has_moved(getattr(now, name), getattr(before, name), limit)
        for name, limit in limits.items()
    )


def _has_moved(now: int | None, before: int | None, limit: int) -> bool:
    if now is None or before is None:
        return (now is None) != (before is None)
    return abs(now - before) >= limit
