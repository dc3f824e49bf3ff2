"""What a machine or a volume costs in a span of time, by our own ledger.

The same rule as `Machine.cost_usd`: from when it was asked for to its proved end, so that the sum
over days or months is what the whole machine costs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from shared.money.periods import Span
from shared.money.records import KeptVolume
from shared.rental import Machine, MachinePurpose, MachineState

_COUNTED = re.compile(r"(\d+)x (\S+)")
NO_GPU = "CPU"


def paid_span(machine: Machine, now: datetime) -> Span:
    """When it is paid for; empty for one that never was."""
    if machine.state is MachineState.NEVER or machine.rented_at is None:
        return Span(machine.created_at, machine.created_at)
    return Span(machine.created_at, machine.gone_at or now)


def machines_usd(machines: Iterable[Machine], span: Span, now: datetime) -> float:
    """Of all of them, in this span."""
    return sum(
        paid_span(machine, now).within(span).hours * machine.usd_per_hour for machine in machines
    )


def volumes_usd(volumes: Iterable[KeptVolume], span: Span) -> float:
    """Of all of them in this span, each from when it was first seen to when it was last seen."""
    return sum(
        volume.usd_per_hour * Span(volume.first_seen_at, volume.last_seen_at).within(span).hours
        for volume in volumes
    )


def gpus_of(machine: Machine) -> tuple[str, int]:
    """GPU type and how many, by the machine's label: `2x H100_PCIE secure US-KS-2`."""
    if machine.purpose is not MachinePurpose.TRAIN:
        return NO_GPU, 0
    counted = _COUNTED.match(machine.label)
    if counted is not None:
        return counted[2], int(counted[1])
    return machine.label.partition(" ")[0] or machine.label, 1


def gpu_hours(machines: Iterable[Machine], now: datetime) -> float:
    """Hours times GPUs, of all of them."""
    return sum(paid_span(machine, now).hours * gpus_of(machine)[1] for machine in machines)
